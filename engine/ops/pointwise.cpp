#include "engine/ops/ops.h"

namespace pneuma::ops {
namespace {

// saved: a, b (may be empty), y
void backward(Backward& b) {
  const Gradient da = b.gradient(0), db = b.gradient(1);
  b.ctx.run(&Kernels::pointwise_backward, {b.node.attributes.formula, b.saved(0), b.saved(1),
                                           b.saved(2), b.dy(), da, db, b.node.attributes.alpha});
}

// The gradient of a sum is that of both operands, as it is: nothing is kept and nothing computed.
void add_backward(Backward& b) {
  const Tensor dy = b.take_dy();
  b.hand_over(0, dy);
  b.hand_over(1, dy);
}

Tensor apply(Context& ctx, const char* name, Pointwise formula, const Tensor& a, const Tensor& b,
             double alpha) {
  const Context::Range range(ctx, name);
  if (b && b.shape() != a.shape()) {
    fail(Exit::usage, "{}: {} and {} differ in shape", name, a.shape().text(), b.shape().text());
  }
  Tensor y = ctx.tensor(a.shape(), a.dtype(), name);
  ctx.run(&Kernels::pointwise_forward, {formula, a.view(), b.view(), y.view(), alpha});
  if (!ctx.tape) return y;
  if (formula == Pointwise::add)
    ctx.tape->record(name, {a, b}, y, {}, {}, add_backward);
  else
    ctx.tape->record(name, {a, b}, y, {a, b, y}, {.alpha = alpha, .formula = formula}, backward);
  return y;
}

}  // namespace

Tensor relu(Context& ctx, const Tensor& a) { return apply(ctx, "relu", Pointwise::relu, a, {}, 0); }
Tensor sigmoid(Context& ctx, const Tensor& a) {
  return apply(ctx, "sigmoid", Pointwise::sigmoid, a, {}, 0);
}
Tensor scale(Context& ctx, const Tensor& a, double alpha) {
  return apply(ctx, "scale", Pointwise::scale, a, {}, alpha);
}
Tensor add(Context& ctx, const Tensor& a, const Tensor& b) {
  return apply(ctx, "add", Pointwise::add, a, b, 0);
}
Tensor multiply(Context& ctx, const Tensor& a, const Tensor& b) {
  return apply(ctx, "multiply", Pointwise::multiply, a, b, 0);
}

}  // namespace pneuma::ops
