// y[n,p,q,o] = sum over r, s, c of w[o,r,s,c] x[n, p stride - padding + r, q stride - padding + s,
// c], and its two gradients. For one row r of the window, the (s,c) that lie inside the picture are
// contiguous in x and in w alike: a run. All three passes walk over the same runs.
#include <algorithm>

#include "kernels/reference/dispatch.h"
#include "kernels/reference/reference.h"

namespace pneuma::reference {
namespace {

struct Geometry {
  int64_t N, H, W, C, O, R, S, P, Q, stride, padding;
};

size_t sums_bytes(const View& output) { return size_t(output.count()) * sizeof(double); }

}  // namespace

size_t convolution_workspace(const ConvolutionForward& a) { return sums_bytes(a.y); }
size_t convolution_workspace(const ConvolutionBackwardData& a) { return sums_bytes(a.dx); }
size_t convolution_workspace(const ConvolutionBackwardWeights& a) { return sums_bytes(a.dw); }

namespace {

template <class Args>
Status describe(const Args& a, const View& x, const View& w, const View& y, Geometry* g) {
  const int64_t stride = a.stride, padding = a.padding;
  if (x.rank != 4 || w.rank != 4 || y.rank != 4) return invalid("x, w and y need four dimensions");
  if (stride < 1 || padding < 0) return invalid("stride is under 1 or padding under 0");
  *g = {x.dims[0], x.dims[1], x.dims[2], x.dims[3], w.dims[0], w.dims[1],
        w.dims[2], y.dims[1], y.dims[2], stride,    padding};
  if (g->H + 2 * padding < g->R || g->W + 2 * padding < g->S)
    return invalid("the window is larger than x with its padding");
  if (!is(x, x.dtype, {g->N, g->H, g->W, g->C}) || !is(w, x.dtype, {g->O, g->R, g->S, g->C}) ||
      !is(y, x.dtype,
          {g->N, (g->H + 2 * padding - g->R) / stride + 1, (g->W + 2 * padding - g->S) / stride + 1,
           g->O}))
    return invalid("x [N,H,W,C], w [O,R,S,C] and y [N,P,Q,O] do not fit together");
  if (a.workspace.bytes() < convolution_workspace(a)) return invalid("the workspace is too small");
  return {};
}

// f(y, x, w, count) for every run: where its one element of y and its first of x and w stand.
template <class F>
void for_each_run(const Geometry& g, F f) {
  for (int64_t o = 0; o < g.O; ++o)
    for (int64_t n = 0; n < g.N; ++n)
      for (int64_t p = 0; p < g.P; ++p)
        for (int64_t r = 0; r < g.R; ++r) {
          const int64_t h = p * g.stride - g.padding + r;
          if (h < 0 || h >= g.H) continue;
          for (int64_t q = 0; q < g.Q; ++q) {
            const int64_t left = q * g.stride - g.padding;  // of the window, in x
            const int64_t s = std::max(int64_t{0}, -left), end = std::min(g.S, g.W - left);
            if (s < end)
              f(((n * g.P + p) * g.Q + q) * g.O + o, ((n * g.H + h) * g.W + left + s) * g.C,
                ((o * g.R + r) * g.S + s) * g.C, (end - s) * g.C);
          }
        }
}

template <class T>
double dot(int64_t count, const T* a, const T* b) {
  using A = Arithmetic<T>;
  constexpr int kLanes = 8;  // partial sums, so that the compiler may use vectors
  double lanes[kLanes] = {}, rest = 0;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int l = 0; l < kLanes; ++l) lanes[l] += double(A(a[i + l])) * double(A(b[i + l]));
  for (; i < count; ++i) rest += double(A(a[i])) * double(A(b[i]));
  for (const double lane : lanes) rest += lane;
  return rest;
}

template <class T>
void add_scaled(int64_t count, double factor, const T* from, double* sums) {
  for (int64_t i = 0; i < count; ++i) sums[i] += factor * double(Arithmetic<T>(from[i]));
}

// Runs walk(sums) over zeroed sums of the output's shape and stores them.
template <class T, class F>
void accumulate(const Gradient& output, double* sums, F walk) {
  std::fill(sums, sums + output.count(), 0.0);
  walk(sums);
  for (int64_t i = 0; i < output.count(); ++i) put<T>(output, i, sums[i]);
}

}  // namespace

Status convolution_forward(Stream, const ConvolutionForward& a) {
  Geometry g;
  if (const Status s =
          describe(a.x, a.w, a.y, a.stride, a.padding, a.workspace, convolution_workspace(a), &g);
      !s)
    return s;
  return dispatch(a.x.dtype, [&]<class T>(T) {
    const T *x_data = a.x.as<T>(), *w_data = a.w.as<T>();
    accumulate<T>({a.y}, a.workspace.as<double>(), [&](double* sums) {
      for_each_run(g, [&](int64_t y, int64_t x, int64_t w, int64_t count) {
        sums[y] += dot(count, x_data + x, w_data + w);
      });
    });
  });
}

Status convolution_backward_data(Stream, const ConvolutionBackwardData& a) {
  Geometry g;
  if (const Status s =
          describe(a.dx, a.w, a.dy, a.stride, a.padding, a.workspace, convolution_workspace(a), &g);
      !s)
    return s;
  return dispatch(a.dy.dtype, [&]<class T>(T) {
    accumulate<T>(a.dx, a.workspace.as<double>(), [&](double* sums) {
      for_each_run(g, [&](int64_t y, int64_t x, int64_t w, int64_t count) {
        add_scaled(count, double(at<T>(a.dy, y)), a.w.as<T>() + w, sums + x);
      });
    });
  });
}

Status convolution_backward_weights(Stream, const ConvolutionBackwardWeights& a) {
  Geometry g;
  if (const Status s =
          describe(a.x, a.dw, a.dy, a.stride, a.padding, a.workspace, convolution_workspace(a), &g);
      !s)
    return s;
  return dispatch(a.x.dtype, [&]<class T>(T) {
    accumulate<T>(a.dw, a.workspace.as<double>(), [&](double* sums) {
      for_each_run(g, [&](int64_t y, int64_t x, int64_t w, int64_t count) {
        add_scaled(count, double(at<T>(a.dy, y)), a.x.as<T>() + x, sums + w);
      });
    });
  });
}

}  // namespace pneuma::reference
