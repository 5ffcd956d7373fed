// Maximum over a window, remembering which place won; the gradient gathers: every input looks at
// the windows that cover it, so nothing is written twice. A NaN wins, and stays.
#include "kernels/cpu/own.h"

namespace pneuma::PN_ISA {
namespace {

struct Window {
  int64_t batch, height, width, channels, out_height, out_width;
  int kernel, stride, padding;
};

template <class Args>
Status window(const View& x, const View& y, const View& argmax, const Args& a, Window* w) {
  PN_REQUIRE_DTYPE(alike(x, y));
  PN_REQUIRE(x.rank == 4 && y.rank == 4 && same_shape(y, argmax) && argmax.dtype == Dtype::u8,
             "max pool: x and y must be [N,H,W,C], argmax u8 of y's shape");
  PN_REQUIRE(a.kernel >= 1 && a.kernel <= 16 && a.stride >= 1 && a.padding >= 0 &&
                 2 * a.padding <= a.kernel,
             "max pool: kernel 1..16, stride at least 1, padding at most half the kernel");
  *w = {x.dims[0], x.dims[1], x.dims[2], x.dims[3], y.dims[1],
        y.dims[2], a.kernel,  a.stride,  a.padding};
  PN_REQUIRE(y.dims[0] == w->batch && y.dims[3] == w->channels &&
                 w->height + 2 * a.padding >= a.kernel && w->width + 2 * a.padding >= a.kernel &&
                 w->out_height == (w->height + 2 * a.padding - a.kernel) / a.stride + 1 &&
                 w->out_width == (w->width + 2 * a.padding - a.kernel) / a.stride + 1,
             "max pool: y must be [N, (H+2p-k)/s+1, (W+2p-k)/s+1, C]");
  return {};
}

template <class T>
void forward(const MaxPoolForward& a, const Window& w) {
  for_chunks(w.batch * w.out_height, 1, [&](int64_t line, int64_t) {
    const int64_t image = line / w.out_height, top = line % w.out_height * w.stride - w.padding;
    const T* x = a.x.as<T>() + image * w.height * w.width * w.channels;
    for (int64_t q = 0; q < w.out_width; ++q) {
      const int64_t left = q * w.stride - w.padding, out = (line * w.out_width + q) * w.channels;
      const int r0 = top < 0 ? int(-top) : 0, s0 = left < 0 ? int(-left) : 0;
      const int r1 = top + w.kernel > w.height ? int(w.height - top) : w.kernel;
      const int s1 = left + w.kernel > w.width ? int(w.width - left) : w.kernel;
      for_vectors(0, w.channels, [&](int64_t c, auto n) {
        Vec best = load(x + ((top + r0) * w.width + left + s0) * w.channels + c, n);
        IntVec place = IntVec{} + (r0 * w.kernel + s0);
        for (int r = r0; r < r1; ++r)
          for (int s = s0; s < s1; ++s) {
            const Vec v = load(x + ((top + r) * w.width + left + s) * w.channels + c, n);
            const IntVec wins = (v > best) | ((v != v) & (best == best));
            best = wins ? v : best;
            place = wins ? IntVec{} + (r * w.kernel + s) : place;
          }
        store(a.y.as<T>() + out + c, best, n);
        store_bytes(a.argmax.as<uint8_t>() + out + c, place, n);
      });
    }
  });
}

template <class T>
void backward(const MaxPoolBackward& a, const Window& w) {
  for_chunks(w.batch * w.height, 1, [&](int64_t line, int64_t) {
    const int64_t image = line / w.height, h = line % w.height + w.padding;
    // Windows p with p * stride <= h < p * stride + kernel.
    const int64_t p0 = h < w.kernel ? 0 : (h - w.kernel) / w.stride + 1;
    const int64_t p1 = h / w.stride < w.out_height ? h / w.stride + 1 : w.out_height;
    for (int64_t i = 0; i < w.width; ++i) {
      const int64_t v = i + w.padding;
      const int64_t q0 = v < w.kernel ? 0 : (v - w.kernel) / w.stride + 1;
      const int64_t q1 = v / w.stride < w.out_width ? v / w.stride + 1 : w.out_width;
      T* dx = a.dx.as<T>() + (line * w.width + i) * w.channels;
      for_vectors(0, w.channels, [&](int64_t c, auto n) {
        Vec sum{};
        for (int64_t p = p0; p < p1; ++p)
          for (int64_t q = q0; q < q1; ++q) {
            const int64_t e = ((image * w.out_height + p) * w.out_width + q) * w.channels + c;
            const int place = int((h - p * w.stride) * w.kernel + v - q * w.stride);
            const IntVec won = load_bytes(a.argmax.as<uint8_t>() + e, n) == IntVec{} + place;
            sum += won ? load(a.dy.as<T>() + e, n) : Vec{};
          }
        store(dx + c, a.dx.add ? load(dx + c, n) + sum : sum, n);
      });
    }
  });
}

}  // namespace

Status max_pool_forward(Stream, const MaxPoolForward& a) {
  Window w;
  if (Status s = window(a.x, a.y, a.argmax, a, &w); !s) return s;
  return dispatch(a.x.dtype, [&]<class T>(T) { forward<T>(a, w); });
}
Status max_pool_backward(Stream, const MaxPoolBackward& a) {
  Window w;
  if (Status s = window(a.dx, a.dy, a.argmax, a, &w); !s) return s;
  return dispatch(a.dx.dtype, [&]<class T>(T) { backward<T>(a, w); });
}

}  // namespace pneuma::PN_ISA
