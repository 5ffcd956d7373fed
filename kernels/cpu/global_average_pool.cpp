// y = mean over H and W; the gradient spreads dy / (H W).
#include "kernels/cpu/own.h"

namespace pneuma::PN_ISA {
namespace {

Status check(const View& x, const View& y) {
  PN_REQUIRE_DTYPE(alike(x, y));
  PN_REQUIRE(x.rank == 4 && x.count() > 0 && y.rank == 2 && y.dims[0] == x.dims[0] &&
                 y.dims[1] == x.dims[3],
             "global average pool: x must be [N,H,W,C] and y [N,C]");
  return {};
}

template <class T>
void forward(const GlobalAveragePoolForward& a) {
  const int64_t pixels = a.x.dims[1] * a.x.dims[2], channels = a.x.dims[3];
  for_chunks(a.x.dims[0], 1, [&](int64_t image, int64_t) {
    const T* x = a.x.as<T>() + image * pixels * channels;
    for_vectors(0, channels, [&](int64_t c, auto n) {
      constexpr int64_t kRun = 256;  // a sum of sums: the error grows with neither alone
      Vec sum{};
      for (int64_t begin = 0; begin < pixels; begin += kRun) {
        Vec run{};
        for (int64_t p = begin; p < pixels && p < begin + kRun; ++p)
          run += load(x + p * channels + c, n);
        sum += run;
      }
      store(a.y.as<T>() + image * channels + c, sum / splat(float(pixels)), n);
    });
  });
}

template <class T>
void backward(const GlobalAveragePoolBackward& a) {
  const int64_t pixels = a.dx.dims[1] * a.dx.dims[2], channels = a.dx.dims[3];
  const Vec count = splat(float(pixels));
  const bool add = a.dx.add;
  for_chunks(a.dx.dims[0], 1, [&](int64_t image, int64_t) {
    const T* dy = a.dy.as<T>() + image * channels;
    for (int64_t p = 0; p < pixels; ++p) {
      T* dx = a.dx.as<T>() + (image * pixels + p) * channels;
      for_vectors(0, channels, [=](int64_t c, auto n) {
        const Vec d = load(dy + c, n) / count;
        store(dx + c, add ? load(dx + c, n) + d : d, n);
      });
    }
  });
}

}  // namespace

Status global_average_pool_forward(Stream, const GlobalAveragePoolForward& a) {
  if (Status s = check(a.x, a.y); !s) return s;
  return dispatch(a.x.dtype, [&]<class T>(T) { forward<T>(a); });
}
Status global_average_pool_backward(Stream, const GlobalAveragePoolBackward& a) {
  if (Status s = check(a.dx, a.dy); !s) return s;
  return dispatch(a.dx.dtype, [&]<class T>(T) { backward<T>(a); });
}

}  // namespace pneuma::PN_ISA
