// What the cpu device can do. Compiled once per instruction set, as the kernels named here.
#include "kernels/cpu/convolution.h"
#include "kernels/cpu/own.h"

namespace pneuma::PN_ISA {

Kernels kernels() {
  Kernels k{};
#ifdef PNEUMA_ONEDNN
  k.convolution_forward.run = onednn::convolution_forward;
  k.convolution_forward.workspace = onednn::convolution_forward_workspace;
  k.convolution_backward_data.run = onednn::convolution_backward_data;
  k.convolution_backward_data.workspace = onednn::convolution_backward_data_workspace;
  k.convolution_backward_weights.run = onednn::convolution_backward_weights;
  k.convolution_backward_weights.workspace = onednn::convolution_backward_weights_workspace;
  k.linear_forward.run = onednn::linear_forward;
  k.linear_forward.workspace = onednn::linear_forward_workspace;
  k.linear_backward.run = onednn::linear_backward;
  k.linear_backward.workspace = onednn::linear_backward_workspace;
#endif
  k.batch_norm_forward.run = batch_norm_forward;
  k.batch_norm_forward.workspace = batch_norm_forward_workspace;
  k.batch_norm_backward.run = batch_norm_backward;
  k.batch_norm_backward.workspace = batch_norm_backward_workspace;
  k.batch_norm_inference.run = batch_norm_inference;
  k.max_pool_forward.run = max_pool_forward;
  k.max_pool_backward.run = max_pool_backward;
  k.global_average_pool_forward.run = global_average_pool_forward;
  k.global_average_pool_backward.run = global_average_pool_backward;
  k.pointwise_forward.run = pointwise_forward;
  k.pointwise_backward.run = pointwise_backward;
  k.sigmoid_cross_entropy.run = sigmoid_cross_entropy;
  k.softmax_cross_entropy.run = softmax_cross_entropy;
  k.augment.run = augment;
  k.gradient_check.run = gradient_check;
  k.gradient_check.workspace = gradient_check_workspace;
  k.optimizer_step.run = optimizer_step;
  k.fill.run = fill;
  k.convert.run = convert;
  return k;
}

}  // namespace pneuma::PN_ISA
