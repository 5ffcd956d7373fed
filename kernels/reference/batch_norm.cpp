// Batch normalization, channel by channel, with the addition and the ReLU that follow it in a
// residual block. The variance takes two passes: E[x^2] - mean^2 cancels where |mean| is much
// larger than the deviation.
#include <cmath>
#include <cstring>

#include "kernels/reference/dispatch.h"
#include "kernels/reference/reference.h"

namespace pneuma::reference {
namespace {

// y = gamma (x - mean) rstd + beta (+ residual), then ReLU
template <class A>
struct Channel {
  A gamma, beta, mean, rstd;
  bool relu;
  A operator()(A x, A residual) const {
    const A y = gamma * (x - mean) * rstd + beta + residual;
    return relu && y < A(0) ? A(0) : y;
  }
};

int64_t mask_bytes(const View& x) { return (x.count() + 7) / 8; }
bool masks(const View& mask, const View& x) {
  return mask.data && mask.dtype == Dtype::u8 && mask.count() >= mask_bytes(x);
}

Status check(const View& x, std::initializer_list<View> like_x,
             std::initializer_list<View> per_channel) {
  if (x.rank != 4 || x.count() == 0 || !x.data) return invalid("x is not [N,H,W,C], or is empty");
  if (!are_like(x, like_x)) return invalid("y, residual or a gradient of them is not like x");
  for (const View& v : per_channel)
    if (!is(v, arithmetic_of(x.dtype), {x.dims[3]}))
      return invalid("gamma, beta, a statistic or a gradient of them is not [C]");
  return {};
}

}  // namespace

Status batch_norm_forward(Stream, const BatchNormForward& a) {
  if (const Status s =
          check(a.x, {a.y, either(a.residual, a.x)},
                {either(a.gamma, a.beta), a.beta, a.mean, a.rstd, a.running_mean, a.running_var});
      !s)
    return s;
  if (a.relu && !masks(a.relu_mask, a.x)) return invalid("relu_mask has too few bits for x");
  if (a.relu) std::memset(a.relu_mask.data, 0, size_t(mask_bytes(a.x)));
  return dispatch(a.x.dtype, [&]<class T>(T) {
    using A = Arithmetic<T>;
    const int64_t C = a.x.dims[3], rows = a.x.count() / C;
    for (int64_t c = 0; c < C; ++c) {
      const double mean =
          sum(rows, [&](int64_t r) { return at<T>(a.x, r * C + c); }) / double(rows);
      const double squares = sum(rows, [&](int64_t r) {
        const double d = double(at<T>(a.x, r * C + c)) - mean;
        return d * d;
      });
      const double unbiased = rows > 1 ? squares / double(rows - 1) : 0;
      const Channel<A> channel{a.gamma ? at<A>(a.gamma, c) : A(1), at<A>(a.beta, c), A(mean),
                               A(1 / std::sqrt(squares / double(rows) + a.eps)), a.relu};
      a.mean.as<A>()[c] = channel.mean;
      a.rstd.as<A>()[c] = channel.rstd;
      A &running_mean = a.running_mean.as<A>()[c], &running_var = a.running_var.as<A>()[c];
      if (std::isfinite(A(mean)) && std::isfinite(A(unbiased))) {
        running_mean += A(a.momentum) * (A(mean) - running_mean);
        running_var += A(a.momentum) * (A(unbiased) - running_var);
      }
      for (int64_t i = c; i < rows * C; i += C) {
        const A y = channel(at<T>(a.x, i), a.residual ? at<T>(a.residual, i) : A(0));
        a.y.as<T>()[i] = T(y);
        if (a.relu && y > A(0)) a.relu_mask.as<uint8_t>()[i / 8] |= uint8_t(1 << (i % 8));
      }
    }
  });
}

// With x^ = (x - mean) rstd, g the gradient behind the ReLU, and n elements in a channel:
// dbeta = sum g, dgamma = sum g x^, dx = gamma rstd (g - dbeta/n - x^ dgamma/n), dresidual = g.
Status batch_norm_backward(Stream, const BatchNormBackward& a) {
  const Status s = check(
      a.x, {a.dy, either(a.dx, a.x), either(a.dresidual, a.x)},
      {either(a.gamma, a.mean), a.mean, a.rstd, either(a.dgamma, a.mean), either(a.dbeta, a.mean)});
  if (!s) return s;
  if (a.relu_mask && !masks(a.relu_mask, a.x)) return invalid("relu_mask has too few bits for x");
  return dispatch(a.x.dtype, [&]<class T>(T) {
    using A = Arithmetic<T>;
    const int64_t C = a.x.dims[3], rows = a.x.count() / C;
    const auto behind_relu = [&](int64_t i) {
      const bool on = !a.relu_mask || a.relu_mask.as<uint8_t>()[i / 8] >> (i % 8) & 1;
      return on ? at<T>(a.dy, i) : A(0);
    };
    for (int64_t c = 0; c < C; ++c) {
      const A mean = at<A>(a.mean, c), rstd = at<A>(a.rstd, c);
      const double dbeta = sum(rows, [&](int64_t r) { return behind_relu(r * C + c); });
      const double dgamma = sum(rows, [&](int64_t r) {
        return double(behind_relu(r * C + c)) * double((at<T>(a.x, r * C + c) - mean) * rstd);
      });
      put<A>(a.dbeta, c, dbeta);
      put<A>(a.dgamma, c, dgamma);
      const A scale = a.gamma ? at<A>(a.gamma, c) * rstd : rstd;
      const A mean_g = A(dbeta / double(rows)), mean_gx = A(dgamma / double(rows));
      for (int64_t i = c; i < rows * C; i += C) {
        const A g = behind_relu(i), x_hat = (at<T>(a.x, i) - mean) * rstd;
        put<T>(a.dx, i, double(scale * (g - mean_g - x_hat * mean_gx)));
        put<T>(a.dresidual, i, double(g));
      }
    }
  });
}

Status batch_norm_inference(Stream, const BatchNormInference& a) {
  const Status s = check(a.x, {a.y, either(a.residual, a.x)},
                         {either(a.gamma, a.beta), a.beta, a.running_mean, a.running_var});
  if (!s) return s;
  return dispatch(a.x.dtype, [&]<class T>(T) {
    using A = Arithmetic<T>;
    const int64_t C = a.x.dims[3];
    for (int64_t c = 0; c < C; ++c) {
      const double variance = double(at<A>(a.running_var, c));
      const Channel<A> channel{a.gamma ? at<A>(a.gamma, c) : A(1), at<A>(a.beta, c),
                               at<A>(a.running_mean, c), A(1 / std::sqrt(variance + a.eps)),
                               a.relu};
      for (int64_t i = c; i < a.x.count(); i += C)
        a.y.as<T>()[i] = T(channel(at<T>(a.x, i), a.residual ? at<T>(a.residual, i) : A(0)));
    }
  });
}

}  // namespace pneuma::reference
