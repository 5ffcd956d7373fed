#include "engine/ops/ops.h"

namespace pneuma::ops {
namespace {

void backward(Backward& b) {
  const Attributes& a = b.node.attributes;
  const View x = b.saved(0), w = b.saved(1);
  if (b.wants(1)) {
    b.ctx.run(&Kernels::convolution_backward_weights,
              {x, b.dy(), b.gradient(1), a.stride, a.padding});
  }
  if (b.wants(0))
    b.ctx.run(&Kernels::convolution_backward_data, {b.dy(), w, b.gradient(0), a.stride, a.padding});
}

}  // namespace

Tensor convolution(Context& ctx, const Tensor& x, const Tensor& w, int stride, int padding) {
  const Context::Range range(ctx, "convolution");
  const auto out = [&](int64_t size, int64_t window) {
    return (size + 2 * padding - window) / stride + 1;
  };
  if (x.shape().rank != 4 || w.shape().rank != 4 || x.dim(3) != w.dim(3) ||
      x.dim(1) + 2 * padding < w.dim(1) || x.dim(2) + 2 * padding < w.dim(2)) {
    fail(Exit::usage, "convolution: x {} does not go with weights {} [O,R,S,C], padding {}",
         x.shape().text(), w.shape().text(), padding);
  }
  Tensor y = ctx.tensor({x.dim(0), out(x.dim(1), w.dim(1)), out(x.dim(2), w.dim(2)), w.dim(0)},
                        ctx.precision()[OpKind::convolution].output, "convolution");
  ctx.run(&Kernels::convolution_forward, {x.view(), w.view(), y.view(), stride, padding});
  if (ctx.tape) {
    ctx.tape->record("convolution", {x, w}, y, {x, w}, {.stride = stride, .padding = padding},
                     backward);
  }
  return y;
}

}  // namespace pneuma::ops
