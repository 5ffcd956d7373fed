// Crop, mirror and normalise bytes to NHWC floats. A byte has 256 values: the quotient comes from a
// table, exact as the division.
#include "kernels/augment.h"

#include "kernels/cpu/own.h"

namespace pneuma::PN_ISA {

Status augment(Stream, const Augment& a) {
  PN_REQUIRE(a.y.rank == 4 && a.y.dims[3] >= 1 && a.y.dims[3] <= 3,
             "augment: y must be [N,h,w,C] with at most 3 channels");
  const int64_t batch = a.y.dims[0], height = a.y.dims[1], width = a.y.dims[2],
                channels = a.y.dims[3];
  PN_REQUIRE(bytes_of(a.items) == size_t(batch) * sizeof(AugmentItem),
             "augment: items must hold one AugmentItem per image");
  const AugmentItem* items = a.items.as<AugmentItem>();
  bool plain = true;
  for (int64_t i = 0; i < batch; ++i) {
    const AugmentItem& k = items[i];
    const char* why = augmentation::fault(k, height, width, channels, int64_t(bytes_of(a.pixels)));
    PN_REQUIRE(!why, why);
    plain = plain && !k.transform && !k.hue && !k.lightness && !k.saturation;
  }
  return dispatch(a.y.dtype, [&]<class T>(T) {
    T table[3][256];
    for (int c = 0; c < 3; ++c)
      for (int v = 0; v < 256; ++v)
        store(&table[c][v], splat((float(v) - a.mean[c]) / a.std[c]), 1);
    for_chunks(batch * height, 8, [&](int64_t begin, int64_t end) {
      for (int64_t line = begin; line < end; ++line) {
        const AugmentItem& item = items[line / height];
        const int64_t row = item.crop_y + line % height, step = item.mirror ? -1 : 1;
        const int64_t column = item.crop_x + (item.mirror ? width - 1 : 0);
        const uint8_t* pixel =
            a.pixels.as<uint8_t>() + item.offset + (row * item.width + column) * item.channels;
        const bool gray = item.channels == 1;
        T* y = a.y.as<T>() + line * width * channels;
        for (int64_t x = 0; !plain && x < width; ++x) {
          float levels[3] = {};
          augmentation::pixel(a.pixels.as<uint8_t>(), item, line % height, x, width, int(channels),
                              levels);
          for (int64_t c = 0; c < channels; ++c) y[x * channels + c] = table[c][int(levels[c])];
        }
        if (!plain) continue;
        for (int64_t x = 0; x < width; ++x, pixel += step * item.channels, y += channels)
          for (int64_t c = 0; c < channels; ++c) y[c] = table[c][pixel[gray ? 0 : c]];
      }
    });
  });
}

}  // namespace pneuma::PN_ISA
