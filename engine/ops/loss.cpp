#include "engine/ops/ops.h"

namespace pneuma::ops {
namespace {

// The gradient was computed with the loss; it is the one saved tensor.
void backward(Backward& b) { b.hand_over(0, b.node.saved[0]); }

// Runs `kernel` with loss and, on a tape, dlogits to fill in.
template <class Args>
Tensor loss_op(Context& ctx, const char* name, Kernel<Args> Kernels::*kernel, const Tensor& logits,
               int64_t batch, Args args) {
  if (batch && batch < logits.dim(0))
    fail(Exit::usage, "{}: a batch of {} has no part {}", name, batch, logits.shape().text());
  const Context::Range range(ctx, name);
  Tensor loss = ctx.tensor({1}, ctx.precision()[OpKind::loss].output, name);
  Tensor dlogits;
  if (ctx.tape) dlogits = ctx.tensor(logits.shape(), logits.dtype(), name);
  args.logits = logits.view();
  args.batch = batch ? batch : logits.dim(0);
  args.loss = loss.view();
  args.dlogits = dlogits.view();
  ctx.run(kernel, args);
  if (ctx.tape) ctx.tape->record(name, {logits}, loss, {dlogits}, {}, backward);
  return loss;
}

}  // namespace

Tensor sigmoid_cross_entropy(Context& ctx, const Tensor& logits, const Tensor& labels,
                             const Tensor& positive_weight, const Tensor& negative_weight,
                             const StepState* state, int64_t batch) {
  if (logits.shape().rank != 2 || labels.shape() != logits.shape()) {
    fail(Exit::usage, "sigmoid_cross_entropy: logits {} and labels {} differ",
         logits.shape().text(), labels.shape().text());
  }
  return loss_op(ctx, "sigmoid_cross_entropy", &Kernels::sigmoid_cross_entropy, logits, batch,
                 SigmoidCrossEntropy{.labels = labels.view(),
                                     .positive_weight = positive_weight.view(),
                                     .negative_weight = negative_weight.view(),
                                     .state = state});
}

Tensor softmax_cross_entropy(Context& ctx, const Tensor& logits, const Tensor& labels,
                             const StepState* state, int64_t batch) {
  if (logits.shape().rank != 2 || labels.shape() != Shape{logits.dim(0)}) {
    fail(Exit::usage, "softmax_cross_entropy: logits {} and labels {} do not go together",
         logits.shape().text(), labels.shape().text());
  }
  return loss_op(ctx, "softmax_cross_entropy", &Kernels::softmax_cross_entropy, logits, batch,
                 SoftmaxCrossEntropy{.labels = labels.view(), .state = state});
}

}  // namespace pneuma::ops
