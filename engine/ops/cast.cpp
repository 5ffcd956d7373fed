#include "engine/ops/ops.h"

namespace pneuma::ops {
namespace {

void backward(Backward& b) { b.ctx.run(&Kernels::convert, {b.dy(), b.gradient(0)}); }

}  // namespace

Tensor cast(Context& ctx, const Tensor& x, Dtype dtype) {
  if (x.dtype() == dtype) return x;
  const Context::Range range(ctx, "cast");
  Tensor y = ctx.tensor(x.shape(), dtype, "cast");
  ctx.run(&Kernels::convert, {x.view(), {y.view()}});
  if (ctx.tape) ctx.tape->record("cast", {x}, y, {}, {}, backward);
  return y;
}

}  // namespace pneuma::ops
