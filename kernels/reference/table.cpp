#include "kernels/reference/table.h"

#include "kernels/host_device.h"
#include "kernels/reference/reference.h"

namespace pneuma {
namespace {

Status properties(DeviceProperties* p) {
  return *p = {"reference", host_memory(), 1, true}, Status{};
}

Kernels kernels() {
  using namespace reference;
  Kernels k;
  k.convolution_forward.run = convolution_forward;
  k.convolution_forward.workspace = convolution_workspace;
  k.convolution_backward_data.run = convolution_backward_data;
  k.convolution_backward_data.workspace = convolution_workspace;
  k.convolution_backward_weights.run = convolution_backward_weights;
  k.convolution_backward_weights.workspace = convolution_workspace;
  k.batch_norm_forward.run = batch_norm_forward;
  k.batch_norm_backward.run = batch_norm_backward;
  k.batch_norm_inference.run = batch_norm_inference;
  k.max_pool_forward.run = max_pool_forward;
  k.max_pool_backward.run = max_pool_backward;
  k.global_average_pool_forward.run = global_average_pool_forward;
  k.global_average_pool_backward.run = global_average_pool_backward;
  k.linear_forward.run = linear_forward;
  k.linear_backward.run = linear_backward;
  k.pointwise_forward.run = pointwise_forward;
  k.pointwise_backward.run = pointwise_backward;
  k.sigmoid_cross_entropy.run = sigmoid_cross_entropy;
  k.softmax_cross_entropy.run = softmax_cross_entropy;
  k.augment.run = augment;
  k.resize.run = resize;
  k.resize.workspace = resize_workspace;
  k.gradient_check.run = gradient_check;
  k.optimizer_step.run = optimizer_step;
  k.fill.run = fill;
  k.convert.run = convert;
  return k;
}

}  // namespace

const Backend& reference_backend() {
  static const Backend backend{
      kBackendAbi, PNEUMA_BUILD, "reference", host_device(properties, nullptr), kernels(), {}};
  return backend;
}

}  // namespace pneuma
