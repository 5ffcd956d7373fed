// Decoded bytes to normalised pixels, and the resizing of whole pictures.
#include "kernels/augment.h"

#include "kernels/reference/dispatch.h"
#include "kernels/reference/reference.h"
#include "kernels/resize.h"

namespace pneuma::reference {

Status augment(Stream, const Augment& a) {
  const int64_t N = a.y.dims[0], H = a.y.dims[1], W = a.y.dims[2], C = a.y.dims[3];
  if (!is(a.y, a.y.dtype, {N, H, W, C}) || C < 1 || C > 3)
    return invalid("y is not [N,h,w,c] with 1 to 3 channels");
  if (a.pixels.dtype != Dtype::u8 || !a.pixels.data || a.items.dtype != Dtype::u8 ||
      !a.items.data || a.items.count() != N * int64_t(sizeof(AugmentItem)))
    return invalid("pixels or items are not u8, or there is not one item per image of y");
  const AugmentItem* items = a.items.as<AugmentItem>();
  for (int64_t n = 0; n < N; ++n)
    if (const char* why = augmentation::fault(items[n], H, W, C, a.pixels.count()))
      return invalid(why);
  return dispatch(a.y.dtype, [&]<class T>(T) {
    using A = Arithmetic<T>;
    for (int64_t i = 0; i < N * H * W; ++i) {
      float levels[3];
      augmentation::pixel(a.pixels.as<uint8_t>(), items[i / W / H], i / W % H, i % W, W, int(C),
                          levels);
      for (int64_t c = 0; c < C; ++c)
        a.y.as<T>()[i * C + c] = T((A(levels[c]) - A(a.mean[c])) / A(a.std[c]));
    }
  });
}

size_t resize_workspace(const Resize& a) {  // the rows, resized
  return size_t(a.x.dims[0] * a.x.dims[1] * a.y.dims[2] * a.x.dims[3]);
}

Status resize(Stream, const Resize& a) {
  const int64_t N = a.x.dims[0], H = a.x.dims[1], W = a.x.dims[2], C = a.x.dims[3];
  const int64_t h = a.y.dims[1], w = a.y.dims[2];
  if (!is(a.x, Dtype::u8, {N, H, W, C}) || !is(a.y, Dtype::u8, {N, h, w, C}) || C < 1 || C > 4 ||
      H < 1 || W < 1 || h < 1 || w < 1)
    return invalid("resize: x and y are not u8 [N,H,W,C] and [N,h,w,C] with 1 to 4 channels");
  if (a.workspace.bytes() < resize_workspace(a)) return invalid("the workspace is too small");
  // Along one dimension: [outer,in,inner] -> [outer,out,inner].
  const auto pass = [&](const uint8_t* from, uint8_t* to, int64_t outer, int in, int out,
                        int64_t inner) {
    const resizing::Triangle t(in, out, a.antialias);
    for (int i = 0; i < out; ++i) {
      const double area = t.area(i);
      for (int64_t o = 0; o < outer; ++o)
        for (int64_t k = 0; k < inner; ++k) {
          int32_t sum = 0;
          for (int s = t.first(i); s < t.end(i); ++s)
            sum += t.weight(i, s, area) * from[(o * in + s) * inner + k];
          to[(o * out + i) * inner + k] = resizing::rounded(sum);
        }
    }
  };
  uint8_t* rows = a.workspace.as<uint8_t>();
  pass(a.x.as<uint8_t>(), rows, N * H, int(W), int(w), C);
  pass(rows, a.y.as<uint8_t>(), N, int(H), int(h), w * C);
  return {};
}

}  // namespace pneuma::reference
