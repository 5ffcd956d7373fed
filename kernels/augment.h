// How one pixel of a batch comes out of a decoded picture, one source for every device: affine map,
// crop, mirror, spread of gray, shift of hue, lightness and saturation. All in 8 bits between the
// stages, as in MXNet's image record iterator. Internal linkage: the cpu device compiles this once
// per instruction set.
#pragma once

#include <cmath>

#include "kernels/kernels.h"

namespace pneuma::augmentation {

PN_HOST_DEVICE static inline float clamped(float v, float high) {
  return v < 0.f ? 0.f : v > high ? high : v;
}
// The nearest whole number, of two the even one, as OpenCV rounds. REQUIRES |v| < 2^22: the sum has
// no bits for a fraction.
PN_HOST_DEVICE static inline float rounded(float v) { return (v + 0x1.8p23f) - 0x1.8p23f; }

// The picture at (row, column), or the border's level outside of it.
PN_HOST_DEVICE static inline float level(const uint8_t* pixels, const AugmentItem& k, int64_t row,
                                         int64_t column, int32_t channel) {
  if (row < 0 || row >= k.height || column < 0 || column >= k.width) return float(k.border);
  return float(pixels[k.offset + (row * k.width + column) * k.channels + channel]);
}

// Bilinear at a place between pixels, rounded to a level.
PN_HOST_DEVICE static inline float between(const uint8_t* pixels, const AugmentItem& k, float row,
                                           float column, int32_t channel) {
  // Far outside there is nothing but border; the bound keeps the conversion to an integer defined.
  if (!(row > -2.f && row < float(k.height) + 1.f && column > -2.f &&
        column < float(k.width) + 1.f))
    return float(k.border);
  const float top = std::floor(row), left = std::floor(column);
  const float down = row - top, right = column - left;
  const int64_t r = int64_t(top), c = int64_t(left);
  const float upper =
      level(pixels, k, r, c, channel) * (1.f - right) + level(pixels, k, r, c + 1, channel) * right;
  const float lower = level(pixels, k, r + 1, c, channel) * (1.f - right) +
                      level(pixels, k, r + 1, c + 1, channel) * right;
  return rounded(upper * (1.f - down) + lower * down);
}

// Adds to hue (0..180), lightness and saturation (0..255), each clamped to its range. The hexcone
// of Foley, van Dam et al., "Computer Graphics", 13.3, in the ranges of OpenCV's 8-bit HLS. Half of
// all lightnesses lie on a tie, so it matters that OpenCV works on levels / 255 in f32.
PN_HOST_DEVICE static inline void shift_colour(const AugmentItem& k, float rgb[3]) {
  constexpr float kUnit = 1.f / 255.f;
  const float r = rgb[0] * kUnit, g = rgb[1] * kUnit, b = rgb[2] * kUnit;
  const float high = r > g ? (r > b ? r : b) : (g > b ? g : b);
  const float low = r < g ? (r < b ? r : b) : (g < b ? g : b);
  const float sum = high + low, spread = high - low;
  float hue = 0.f, saturation = 0.f;
  if (spread > 0.f) {
    saturation = rounded(spread / (sum < 1.f ? sum : 2.f - sum) * 255.f);
    const float degrees = 60.f / spread;
    if (high == r)
      hue = (g - b) * degrees;
    else if (high == g)
      hue = (b - r) * degrees + 120.f;
    else
      hue = (r - g) * degrees + 240.f;
    hue = rounded((hue < 0.f ? hue + 360.f : hue) * 0.5f);
  }
  hue = clamped(hue + float(k.hue), 180.f);
  const float lightness = clamped(rounded(sum * 0.5f * 255.f) + float(k.lightness), 255.f) / 255.f;
  saturation = clamped(saturation + float(k.saturation), 255.f) / 255.f;
  const float top = lightness <= 0.5f ? lightness * (1.f + saturation)
                                      : lightness + saturation - lightness * saturation;
  const float bottom = 2.f * lightness - top;
  for (int c = 0; c < 3; ++c) {
    float h = hue / 30.f + (c == 0 ? 2.f : c == 1 ? 0.f : -2.f);  // in sixths of the circle
    h = h < 0.f ? h + 6.f : h >= 6.f ? h - 6.f : h;
    const float slope = h < 1.f ? h : h < 3.f ? 1.f : h < 4.f ? 4.f - h : 0.f;
    rgb[c] = clamped(rounded((bottom + (top - bottom) * slope) * 255.f), 255.f);
  }
}

// The levels of output pixel (row, column), `width` being the output's; `channels` of them: 1 to 3.
PN_HOST_DEVICE static inline void pixel(const uint8_t* pixels, const AugmentItem& k, int64_t row,
                                        int64_t column, int64_t width, int channels, float out[3]) {
  const int64_t y = k.crop_y + row, x = k.crop_x + (k.mirror ? width - 1 - column : column);
  const float* m = k.affine;
  const float fy = m[3] * float(x) + m[4] * float(y) + m[5],
              fx = m[0] * float(x) + m[1] * float(y) + m[2];
  for (int c = 0; c < channels; ++c) {
    if (c > 0 && k.channels == 1)
      out[c] = out[0];
    else
      out[c] = k.transform ? between(pixels, k, fy, fx, c) : level(pixels, k, y, x, c);
  }
  if (channels == 2 || (!k.hue && !k.lightness && !k.saturation)) return;  // 2: see fault()
  if (channels == 1) out[1] = out[2] = out[0];
  shift_colour(k, out);
}

// Why an item cannot be cut to [height,width,channels] out of `bytes` of pixels; null: it can.
static inline const char* fault(const AugmentItem& k, int64_t height, int64_t width,
                                int64_t channels, int64_t bytes) {
  if (k.channels != 1 && k.channels != channels)
    return "augment: an image must have 1 channel or those of y";
  if (k.height < 1 || k.width < 1 || k.offset < 0 ||
      k.offset > bytes - int64_t{k.height} * k.width * k.channels)
    return "augment: an image leaves the pixels";
  if (k.crop_y < 0 || k.crop_x < 0 || k.crop_y > k.height - height || k.crop_x > k.width - width)
    return "augment: a crop leaves its image";
  if (channels == 2 && (k.hue || k.lightness || k.saturation))
    return "augment: a shift of colour needs 1 or 3 channels";
  return nullptr;
}

}  // namespace pneuma::augmentation
