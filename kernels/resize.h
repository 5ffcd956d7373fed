// The weights of a separable resize of 8-bit pictures, one source for the loader and every device:
// Pillow's BILINEAR, in fixed-point arithmetic, so that no result depends on the machine.
#pragma once

#include "kernels/kernels.h"

namespace pneuma::resizing {

inline constexpr int kFraction = 22;  // bits of a weight behind the point, as Pillow's Resample.c
                                      // has them

// The triangle max(0, 1 - |x|) around an output's centre, widened by the reduction if `antialias`.
struct Triangle {
  int in, out;
  double scale, width;

  PN_HOST_DEVICE Triangle(int in, int out, bool antialias)
      : in(in), out(out), scale(double(in) / out), width(antialias && scale > 1 ? scale : 1) {}
  PN_HOST_DEVICE int most_taps() const { return (int(width) + (width > int(width))) * 2 + 1; }
  // Output i is the sum over first(i) <= k < end(i) of weight(i, k) * input[k].
  PN_HOST_DEVICE double centre(int i) const { return (i + 0.5) * scale; }
  PN_HOST_DEVICE int first(int i) const {
    const int k = int(centre(i) - width + 0.5);
    return k < 0 ? 0 : k;
  }
  PN_HOST_DEVICE int end(int i) const {
    const int k = int(centre(i) + width + 0.5);
    return k > in ? in : k;
  }
  PN_HOST_DEVICE double height(int i, int k) const {
    const double x = (k - centre(i) + 0.5) * (1.0 / width), y = 1.0 - (x < 0 ? -x : x);
    return y < 0 ? 0.0 : y;
  }
  PN_HOST_DEVICE double area(int i) const {
    double sum = 0;
    for (int k = first(i); k < end(i); ++k) sum += height(i, k);
    return sum;
  }
  PN_HOST_DEVICE int32_t weight(int i, int k, double area) const {
    return int32_t(0.5 + height(i, k) / area * (1 << kFraction));
  }
};

PN_HOST_DEVICE inline uint8_t rounded(int32_t sum) {
  const int32_t level = (sum + (1 << (kFraction - 1))) >> kFraction;
  return uint8_t(level < 0 ? 0 : level > 255 ? 255 : level);
}

}  // namespace pneuma::resizing
