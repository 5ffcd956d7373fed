// The ops: each computes its output through the context's device and, where the context has a tape
// and a gradient is wanted, records how to go back. Forward and backward of an op stand together in
// engine/ops/<op>.cpp. Shapes: activations [N,H,W,C], weights [O,R,S,C]; per-channel vectors [C].
// Wrong shapes throw, naming both.
#pragma once

#include "engine/tape.h"

namespace pneuma::ops {

// y [N,P,Q,O] = x [N,H,W,C] * w [O,R,S,C]; no bias.
Tensor convolution(Context&, const Tensor& x, const Tensor& w, int stride, int padding);

struct BatchNormTensors {
  Tensor gamma;                      // [C]; empty: 1
  Tensor beta;                       // [C]
  Tensor running_mean, running_var;  // [C]; updated in training, used in inference
};
struct BatchNormSettings {
  double eps = 1e-5, momentum = 0.1;
};
// y = norm(x); relu(norm(x)); relu(norm(x) + residual).
Tensor batch_norm(Context&, const Tensor& x, const BatchNormTensors&, BatchNormSettings = {});
Tensor batch_norm_relu(Context&, const Tensor& x, const BatchNormTensors&, BatchNormSettings = {});
Tensor batch_norm_add_relu(Context&, const Tensor& x, const Tensor& residual,
                           const BatchNormTensors&, BatchNormSettings = {});

Tensor max_pool(Context&, const Tensor& x, int kernel, int stride, int padding);
Tensor global_average_pool(Context&, const Tensor& x);  // [N,H,W,C] -> [N,C]

// y [N,O] = x [N,I] w [O,I]^T + b [O]
Tensor linear(Context&, const Tensor& x, const Tensor& w, const Tensor& b);

// The same numbers in another dtype, rounded once; x itself where it has that one.
Tensor cast(Context&, const Tensor& x, Dtype dtype);

// Formulas of kernels/pointwise.h; a and b of one shape.
Tensor relu(Context&, const Tensor& a);
Tensor sigmoid(Context&, const Tensor& a);
Tensor scale(Context&, const Tensor& a, double alpha);
Tensor add(Context&, const Tensor& a, const Tensor& b);
Tensor multiply(Context&, const Tensor& a, const Tensor& b);

// Losses -> [1]. `state` (null: 1) holds the loss scale that the gradient carries. Of a part of a
// batch of `batch` images, its share: the parts' losses and gradients add up to those of the batch
// (0: the batch is whole).
// labels [N,C] in 0..1, NaN where unknown; weights [C], empty: 1.
Tensor sigmoid_cross_entropy(Context&, const Tensor& logits, const Tensor& labels,
                             const Tensor& positive_weight = {}, const Tensor& negative_weight = {},
                             const StepState* state = nullptr, int64_t batch = 0);
// labels i32 [N]
Tensor softmax_cross_entropy(Context&, const Tensor& logits, const Tensor& labels,
                             const StepState* state = nullptr, int64_t batch = 0);

// u8 images -> y [N,height,width,channels]. items: u8 [N * sizeof(AugmentItem)]; host_items: the
// same, for the host.
void augment(Context&, const Tensor& pixels, const Tensor& items, const AugmentItem* host_items,
             const float mean[3], const float std[3], const Tensor& y);

}  // namespace pneuma::ops
