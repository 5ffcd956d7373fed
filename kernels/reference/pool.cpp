// The maximum over a square window, and the mean over all of H and W.
#include "kernels/reference/dispatch.h"
#include "kernels/reference/reference.h"

namespace pneuma::reference {
namespace {

// argmax is one byte, and padding must leave every window an element.
Status check(const View& x, const View& y, const View& argmax, int kernel, int stride,
             int padding) {
  if (kernel < 1 || kernel > 16 || stride < 1 || padding < 0 || 2 * padding > kernel)
    return invalid("needs 1 <= kernel <= 16, stride >= 1, 0 <= padding <= kernel / 2");
  const int64_t N = x.dims[0], H = x.dims[1], W = x.dims[2], C = x.dims[3];
  if (!is(x, x.dtype, {N, H, W, C}) || H + 2 * padding < kernel || W + 2 * padding < kernel)
    return invalid("x is not [N,H,W,C], or smaller than the window");
  const int64_t P = (H + 2 * padding - kernel) / stride + 1;
  const int64_t Q = (W + 2 * padding - kernel) / stride + 1;
  if (!is(y, x.dtype, {N, P, Q, C}) || !is(argmax, Dtype::u8, {N, P, Q, C}))
    return invalid("y and argmax are not [N,P,Q,C] of x, kernel, stride and padding");
  return {};
}

bool averages(const View& x, const View& y) {
  return is(x, x.dtype, {x.dims[0], x.dims[1], x.dims[2], x.dims[3]}) &&
         x.dims[1] * x.dims[2] > 0 && is(y, x.dtype, {x.dims[0], x.dims[3]});
}

}  // namespace

Status max_pool_forward(Stream, const MaxPoolForward& a) {
  if (const Status s = check(a.x, a.y, a.argmax, a.kernel, a.stride, a.padding); !s) return s;
  const int64_t H = a.x.dims[1], W = a.x.dims[2], C = a.x.dims[3], P = a.y.dims[1], Q = a.y.dims[2];
  return dispatch(a.x.dtype, [&]<class T>(T) {
    for (int64_t i = 0; i < a.y.count(); ++i) {
      const int64_t c = i % C, q = i / C % Q, p = i / C / Q % P, n = i / C / Q / P;
      Arithmetic<T> best = 0;
      int winner = -1;
      for (int place = 0; place < a.kernel * a.kernel; ++place) {
        const int64_t h = p * a.stride - a.padding + place / a.kernel;
        const int64_t w = q * a.stride - a.padding + place % a.kernel;
        if (h < 0 || h >= H || w < 0 || w >= W) continue;
        const auto value = at<T>(a.x, ((n * H + h) * W + w) * C + c);
        // A NaN wins and stays, so that it cannot hide here.
        if (winner < 0 || (best == best && !(value <= best))) best = value, winner = place;
      }
      a.y.as<T>()[i] = T(best);
      a.argmax.as<uint8_t>()[i] = uint8_t(winner);
    }
  });
}

// Each element of dx asks the windows that hold it whether it won there.
Status max_pool_backward(Stream, const MaxPoolBackward& a) {
  if (const Status s = check(a.dx, a.dy, a.argmax, a.kernel, a.stride, a.padding); !s) return s;
  const int64_t H = a.dx.dims[1], W = a.dx.dims[2], C = a.dx.dims[3];
  const int64_t P = a.dy.dims[1], Q = a.dy.dims[2];
  return dispatch(a.dx.dtype, [&]<class T>(T) {
    for (int64_t i = 0; i < a.dx.count(); ++i) {
      const int64_t c = i % C, w = i / C % W, h = i / C / W % H, n = i / C / W / H;
      put<T>(a.dx, i, sum(a.kernel * a.kernel, [&](int64_t place) {
               const int64_t top = h + a.padding - place / a.kernel;  // p * stride
               const int64_t left = w + a.padding - place % a.kernel;
               if (top < 0 || left < 0 || top % a.stride || left % a.stride) return 0.0;
               const int64_t p = top / a.stride, q = left / a.stride;
               if (p >= P || q >= Q) return 0.0;
               const int64_t y = ((n * P + p) * Q + q) * C + c;
               return a.argmax.as<uint8_t>()[y] == place ? double(at<T>(a.dy, y)) : 0.0;
             }));
    }
  });
}

Status global_average_pool_forward(Stream, const GlobalAveragePoolForward& a) {
  if (!averages(a.x, a.y)) return invalid("x is not [N,H,W,C] or y not [N,C]");
  const int64_t HW = a.x.dims[1] * a.x.dims[2], C = a.x.dims[3];
  return dispatch(a.x.dtype, [&]<class T>(T) {
    for (int64_t i = 0; i < a.y.count(); ++i)
      put<T>({a.y}, i, sum(HW, [&](int64_t k) {
                         return at<T>(a.x, (i / C * HW + k) * C + i % C);
                       }) / double(HW));
  });
}

Status global_average_pool_backward(Stream, const GlobalAveragePoolBackward& a) {
  if (!averages(a.dx, a.dy)) return invalid("dx is not [N,H,W,C] or dy not [N,C]");
  const int64_t HW = a.dx.dims[1] * a.dx.dims[2], C = a.dx.dims[3];
  return dispatch(a.dx.dtype, [&]<class T>(T) {
    for (int64_t i = 0; i < a.dx.count(); ++i)
      put<T>(a.dx, i, double(at<T>(a.dy, i / C / HW * C + i % C)) / double(HW));
  });
}

}  // namespace pneuma::reference
