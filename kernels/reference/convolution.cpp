// y[n,p,q,o] = sum over r, s, c of w[o,r,s,c] x[n, p stride - padding + r, q stride - padding + s,
// c], and its two gradients. For one row r of the window, the (s,c) that lie inside the picture are
// contiguous in x and in w alike: a run. All three passes walk over the same runs.
#include <algorithm>

#include "kernels/reference/dispatch.h"
#include "kernels/reference/reference.h"

namespace pneuma::reference {
// Double sums of the output's shape.
size_t convolution_workspace(const ConvolutionForward& a) { return size_t(a.y.count()) * 8; }
size_t convolution_workspace(const ConvolutionBackwardData& a) { return size_t(a.dx.count()) * 8; }
size_t convolution_workspace(const ConvolutionBackwardWeights& a) {
  return size_t(a.dw.count()) * 8;
}

namespace {

struct Geometry {
  int64_t N, H, W, C, O, R, S, P, Q, stride, padding;
};

template <class Args>
Status describe(const Args& a, const View& x, const View& w, const View& y, Geometry* g) {
  const int64_t stride = a.stride, padding = a.padding;
  if (stride < 1 || padding < 0) return invalid("stride is under 1 or padding under 0");
  *g = {x.dims[0], x.dims[1], x.dims[2], x.dims[3], w.dims[0], w.dims[1],
        w.dims[2], y.dims[1], y.dims[2], stride,    padding};
  const int64_t P = (g->H + 2 * padding - g->R + stride) / stride;
  const int64_t Q = (g->W + 2 * padding - g->S + stride) / stride;
  if (P < 1 || Q < 1 || !is(x, x.dtype, {g->N, g->H, g->W, g->C}) ||
      !is(w, x.dtype, {g->O, g->R, g->S, g->C}) || !is(y, x.dtype, {g->N, P, Q, g->O}))
    return invalid("x [N,H,W,C], w [O,R,S,C] and y [N,P,Q,O] do not fit together");
  if (a.workspace.bytes() < convolution_workspace(a)) return invalid("the workspace is too small");
  return {};
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

struct Run {
  int64_t y, x, w, n;  // where its one element of y and its first of x and of w stand; its length
};

// Calls f(run, sums) for every run, then stores the sums, which have the output's shape.
template <class T, class F>
void accumulate(const Geometry& g, const Gradient& output, const View& workspace, F f) {
  double* sums = workspace.as<double>();
  std::fill(sums, sums + output.count(), 0.0);
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
              f(Run{((n * g.P + p) * g.Q + q) * g.O + o, ((n * g.H + h) * g.W + left + s) * g.C,
                    ((o * g.R + r) * g.S + s) * g.C, (end - s) * g.C},
                sums);
          }
        }
  for (int64_t i = 0; i < output.count(); ++i) put<T>(output, i, sums[i]);
}

}  // namespace

Status convolution_forward(Stream, const ConvolutionForward& a) {
  Geometry g;
  if (const Status s = describe(a, a.x, a.w, a.y, &g); !s) return s;
  return dispatch(a.x.dtype, [&]<class T>(T) {
    accumulate<T>(g, {a.y}, a.workspace, [&](const Run& k, double* sums) {
      sums[k.y] += dot(k.n, a.x.as<T>() + k.x, a.w.as<T>() + k.w);
    });
  });
}

Status convolution_backward_data(Stream, const ConvolutionBackwardData& a) {
  Geometry g;
  if (const Status s = describe(a, a.dx, a.w, a.dy, &g); !s) return s;
  return dispatch(a.dy.dtype, [&]<class T>(T) {
    accumulate<T>(g, a.dx, a.workspace, [&](const Run& k, double* sums) {
      add_scaled(k.n, double(at<T>(a.dy, k.y)), a.w.as<T>() + k.w, sums + k.x);
    });
  });
}

Status convolution_backward_weights(Stream, const ConvolutionBackwardWeights& a) {
  Geometry g;
  if (const Status s = describe(a, a.x, a.dw, a.dy, &g); !s) return s;
  return dispatch(a.x.dtype, [&]<class T>(T) {
    accumulate<T>(g, a.dw, a.workspace, [&](const Run& k, double* sums) {
      add_scaled(k.n, double(at<T>(a.dy, k.y)), a.x.as<T>() + k.x, sums + k.w);
    });
  });
}

}  // namespace pneuma::reference
