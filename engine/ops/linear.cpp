#include "engine/ops/ops.h"

namespace pneuma::ops {
namespace {

void backward(Backward& b) {
  const Gradient dx = b.gradient(0), dw = b.gradient(1), db = b.gradient(2);
  b.ctx.run(&Kernels::linear_backward, {b.dy(), b.saved(0), b.saved(1), dx, dw, db});
}

}  // namespace

Tensor linear(Context& ctx, const Tensor& x, const Tensor& w, const Tensor& b) {
  const Context::Range range(ctx, "linear");
  if (x.shape().rank != 2 || w.shape().rank != 2 || x.dim(1) != w.dim(1) ||
      b.shape() != Shape{w.dim(0)}) {
    fail(Exit::usage, "linear: x {}, w {}, b {} do not go together", x.shape().text(),
         w.shape().text(), b.shape().text());
  }
  Tensor y = ctx.tensor({x.dim(0), w.dim(0)}, ctx.precision()[OpKind::linear].output, "linear");
  ctx.run(&Kernels::linear_forward, {x.view(), w.view(), b.view(), y.view()});
  if (ctx.tape) ctx.tape->record("linear", {x, w, b}, y, {x, w}, {}, backward);
  return y;
}

}  // namespace pneuma::ops
