// Decoded bytes to normalised pixels: crop, mirror, spread of gray, (pixel - mean) / std.
#include "kernels/reference/dispatch.h"
#include "kernels/reference/reference.h"

namespace pneuma::reference {

Status augment(Stream, const Augment& a) {
  const int64_t N = a.y.dims[0], H = a.y.dims[1], W = a.y.dims[2], C = a.y.dims[3];
  if (!is(a.y, a.y.dtype, {N, H, W, C}) || C < 1 || C > 3)
    return invalid("y is not [N,h,w,c] with 1 to 3 channels");
  if (a.pixels.dtype != Dtype::u8 || !a.pixels.data || a.items.dtype != Dtype::u8 ||
      !a.items.data || a.items.count() != N * int64_t(sizeof(AugmentItem)))
    return invalid("pixels or items are not u8, or there is not one item per image of y");
  const AugmentItem* items = a.items.as<AugmentItem>();
  for (int64_t n = 0; n < N; ++n) {
    const AugmentItem& k = items[n];
    if ((k.channels != 1 && k.channels != C) || k.offset < 0 || k.crop_y < 0 || k.crop_x < 0 ||
        k.crop_y + H > k.height || k.crop_x + W > k.width ||
        k.offset + int64_t{k.height} * k.width * k.channels > a.pixels.count())
      return invalid("channels do not fit, or a crop or an image lies outside");
  }
  return dispatch(a.y.dtype, [&]<class T>(T) {
    using A = Arithmetic<T>;
    for (int64_t i = 0; i < a.y.count(); ++i) {
      const int64_t c = i % C, column = i / C % W, row = i / C / W % H;
      const AugmentItem& k = items[i / C / W / H];
      const int64_t x = k.crop_x + (k.mirror ? W - 1 - column : column);
      const int64_t pixel = ((k.crop_y + row) * k.width + x) * k.channels;
      const A value = a.pixels.as<uint8_t>()[k.offset + pixel + (k.channels == 1 ? 0 : c)];
      a.y.as<T>()[i] = T((value - A(a.mean[c])) / A(a.std[c]));
    }
  });
}

}  // namespace pneuma::reference
