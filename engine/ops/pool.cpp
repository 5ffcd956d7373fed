#include "engine/ops/ops.h"

namespace pneuma::ops {
namespace {

void max_pool_backward(Backward& b) {
  const Attributes& a = b.node.attributes;
  b.ctx.run(&Kernels::max_pool_backward,
            {b.dy(), b.saved(0), b.gradient(0), a.kernel, a.stride, a.padding});
}

void average_backward(Backward& b) {
  b.ctx.run(&Kernels::global_average_pool_backward, {b.dy(), b.gradient(0)});
}

}  // namespace

Tensor max_pool(Context& ctx, const Tensor& x, int kernel, int stride, int padding) {
  const Context::Range range(ctx, "max_pool");
  const auto out = [&](int64_t size) { return (size + 2 * padding - kernel) / stride + 1; };
  if (x.shape().rank != 4 || kernel > 15 || padding >= kernel || x.dim(1) + 2 * padding < kernel ||
      x.dim(2) + 2 * padding < kernel) {
    fail(Exit::usage, "max_pool: x {} does not go with kernel {}, padding {}", x.shape().text(),
         kernel, padding);
  }
  const Shape shape{x.dim(0), out(x.dim(1)), out(x.dim(2)), x.dim(3)};
  Tensor y = ctx.tensor(shape, x.dtype(), "max_pool");
  Tensor argmax = ctx.tensor(shape, Dtype::u8, "max_pool");
  ctx.run(&Kernels::max_pool_forward, {x.view(), y.view(), argmax.view(), kernel, stride, padding});
  if (ctx.tape) {
    ctx.tape->record("max_pool", {x}, y, {argmax},
                     {.stride = stride, .padding = padding, .kernel = kernel}, max_pool_backward);
  }
  return y;
}

Tensor global_average_pool(Context& ctx, const Tensor& x) {
  const Context::Range range(ctx, "global_average_pool");
  if (x.shape().rank != 4)
    fail(Exit::usage, "global_average_pool: x {} is not [N,H,W,C]", x.shape().text());
  Tensor y =
      ctx.tensor({x.dim(0), x.dim(3)}, ctx.precision()[OpKind::pool].output, "global_average_pool");
  ctx.run(&Kernels::global_average_pool_forward, {x.view(), y.view()});
  if (ctx.tape) ctx.tape->record("global_average_pool", {x}, y, {}, {}, average_backward);
  return y;
}

}  // namespace pneuma::ops
