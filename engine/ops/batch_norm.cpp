#include "engine/ops/ops.h"

namespace pneuma::ops {
namespace {

// inputs: x, residual, gamma, beta; saved: x, relu_mask, gamma, mean, rstd
void backward(Backward& b) {
  const Gradient dresidual = b.gradient(1), dgamma = b.gradient(2), dbeta = b.gradient(3),
                 dx = b.gradient(0);
  b.ctx.run(&Kernels::batch_norm_backward, {.dy = b.dy(),
                                            .x = b.saved(0),
                                            .relu_mask = b.saved(1),
                                            .gamma = b.saved(2),
                                            .mean = b.saved(3),
                                            .rstd = b.saved(4),
                                            .dx = dx,
                                            .dresidual = dresidual,
                                            .dgamma = dgamma,
                                            .dbeta = dbeta});
}

Tensor normalize(Context& ctx, const char* name, const Tensor& x, const Tensor& residual,
                 const BatchNormTensors& t, const BatchNormSettings& settings, bool relu) {
  const Context::Range range(ctx, name);
  const int64_t channels = x.dim(x.shape().rank - 1);
  if (x.shape().rank != 4 || t.beta.shape() != Shape{channels} ||
      (residual && residual.shape() != x.shape())) {
    fail(Exit::usage, "{}: x {}, beta {}, residual {} do not go together", name, x.shape().text(),
         t.beta.shape().text(), residual.shape().text());
  }
  const Dtype full = ctx.precision()[OpKind::batch_norm].accumulate;
  Tensor y = ctx.tensor(x.shape(), ctx.precision()[OpKind::batch_norm].output, name);
  if (!ctx.training) {
    ctx.run(&Kernels::batch_norm_inference,
            {x.view(), residual.view(), t.gamma.view(), t.beta.view(), t.running_mean.view(),
             t.running_var.view(), y.view(), settings.eps, relu});
    return y;
  }
  Tensor mask;
  if (relu) mask = ctx.tensor({(x.shape().count() + 7) / 8}, Dtype::u8, name);
  Tensor mean = ctx.tensor({channels}, full, name), rstd = ctx.tensor({channels}, full, name);
  ctx.run(&Kernels::batch_norm_forward, {.x = x.view(),
                                         .residual = residual.view(),
                                         .gamma = t.gamma.view(),
                                         .beta = t.beta.view(),
                                         .y = y.view(),
                                         .relu_mask = mask.view(),
                                         .mean = mean.view(),
                                         .rstd = rstd.view(),
                                         .running_mean = t.running_mean.view(),
                                         .running_var = t.running_var.view(),
                                         .eps = settings.eps,
                                         .momentum = settings.momentum,
                                         .relu = relu});
  if (ctx.tape) {
    ctx.tape->record(name, {x, residual, t.gamma, t.beta}, y, {x, mask, t.gamma, mean, rstd},
                     {.relu = relu}, backward);
  }
  return y;
}

}  // namespace

Tensor batch_norm(Context& ctx, const Tensor& x, const BatchNormTensors& t,
                  BatchNormSettings settings) {
  return normalize(ctx, "batch_norm", x, {}, t, settings, false);
}
Tensor batch_norm_relu(Context& ctx, const Tensor& x, const BatchNormTensors& t,
                       BatchNormSettings settings) {
  return normalize(ctx, "batch_norm_relu", x, {}, t, settings, true);
}
Tensor batch_norm_add_relu(Context& ctx, const Tensor& x, const Tensor& residual,
                           const BatchNormTensors& t, BatchNormSettings settings) {
  return normalize(ctx, "batch_norm_add_relu", x, residual, t, settings, true);
}

}  // namespace pneuma::ops
