// y = x w^T + b, and its gradients.
#include "kernels/reference/dispatch.h"
#include "kernels/reference/reference.h"

namespace pneuma::reference {
namespace {

Status check(const View& x, const View& w, const View& b, const View& y) {
  const int64_t N = x.dims[0], I = x.dims[1], O = w.dims[0];
  if (!is(x, x.dtype, {N, I}) || !is(w, x.dtype, {O, I}) || !is(y, x.dtype, {N, O}) ||
      (b && !is(b, arithmetic_of(x.dtype), {O})))
    return invalid("x [N,I], w [O,I], b [O] and y [N,O] do not fit together");
  return {};
}

}  // namespace

Status linear_forward(Stream, const LinearForward& a) {
  if (const Status s = check(a.x, a.w, a.b, a.y); !s) return s;
  const int64_t N = a.x.dims[0], I = a.x.dims[1], O = a.w.dims[0];
  return dispatch(a.x.dtype, [&]<class T>(T) {
    for (int64_t n = 0; n < N; ++n)
      for (int64_t o = 0; o < O; ++o) {
        const double b = a.b ? double(at<Arithmetic<T>>(a.b, o)) : 0;
        put<T>({a.y}, n * O + o, b + sum(I, [&](int64_t i) {
                                   return double(at<T>(a.x, n * I + i)) *
                                          double(at<T>(a.w, o * I + i));
                                 }));
      }
  });
}

Status linear_backward(Stream, const LinearBackward& a) {
  if (const Status s = check(a.x, a.w, a.db, a.dy); !s) return s;
  if (!are_like(a.x, {either(a.dx, a.x)}) || !are_like(a.w, {either(a.dw, a.w)}))
    return invalid("dx is not like x, or dw not like w");
  const int64_t N = a.x.dims[0], I = a.x.dims[1], O = a.w.dims[0];
  return dispatch(a.x.dtype, [&]<class T>(T) {
    const auto dy = [&](int64_t n, int64_t o) { return double(at<T>(a.dy, n * O + o)); };
    for (int64_t k = 0; a.dx && k < N * I; ++k)
      put<T>(a.dx, k,
             sum(O, [&](int64_t o) { return dy(k / I, o) * double(at<T>(a.w, o * I + k % I)); }));
    for (int64_t k = 0; a.dw && k < O * I; ++k)
      put<T>(a.dw, k,
             sum(N, [&](int64_t n) { return dy(n, k / I) * double(at<T>(a.x, n * I + k % I)); }));
    for (int64_t o = 0; o < O; ++o)
      put<Arithmetic<T>>(a.db, o, sum(N, [&](int64_t n) { return dy(n, o); }));
  });
}

}  // namespace pneuma::reference
