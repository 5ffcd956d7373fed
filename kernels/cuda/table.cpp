// What the CUDA device can do, on one screen. The same source is the plugin libpneuma_cuda.so and,
// on a CPU, libpneuma_host_cuda.so; the build gives each its name.
#include "kernels/cuda/cuda.h"

namespace pneuma {
namespace {

Kernels kernels() {
  using namespace cuda;
  Kernels k;
  k.convolution_forward.run = convolution_forward;
  k.convolution_forward.workspace = convolution_workspace;
  k.convolution_backward_data.run = convolution_backward_data;
  k.convolution_backward_data.workspace = convolution_workspace;
  k.convolution_backward_weights.run = convolution_backward_weights;
  k.convolution_backward_weights.workspace = convolution_workspace;
  k.batch_norm_forward.run = batch_norm_forward;
  k.batch_norm_forward.workspace = batch_norm_forward_workspace;
  k.batch_norm_backward.run = batch_norm_backward;
  k.batch_norm_backward.workspace = batch_norm_backward_workspace;
  k.batch_norm_inference.run = batch_norm_inference;
  k.max_pool_forward.run = max_pool_forward;
  k.max_pool_backward.run = max_pool_backward;
  k.global_average_pool_forward.run = global_average_pool_forward;
  k.global_average_pool_backward.run = global_average_pool_backward;
  k.linear_forward.run = linear_forward;
  k.linear_forward.workspace = linear_workspace;
  k.linear_backward.run = linear_backward;
  k.linear_backward.workspace = linear_workspace;
  k.pointwise_forward.run = pointwise_forward;
  k.pointwise_backward.run = pointwise_backward;
  k.sigmoid_cross_entropy.run = sigmoid_cross_entropy;
  k.softmax_cross_entropy.run = softmax_cross_entropy;
  k.augment.run = augment;
  k.resize.run = resize;
  k.resize.workspace = resize_workspace;
  k.gradient_check.run = gradient_check;
  k.gradient_check.workspace = gradient_check_workspace;
  k.optimizer_step.run = optimizer_step;
  k.fill.run = fill;
  k.convert.run = convert;
  return k;
}

}  // namespace
}  // namespace pneuma

extern "C" const pneuma::Backend* pneuma_backend(uint32_t abi) {
  using namespace pneuma;
  static const Backend backend{kBackendAbi,    PNEUMA_BUILD, PNEUMA_BACKEND_NAME,
                               cuda::device(), kernels(),    {}};
  return abi == kBackendAbi ? &backend : nullptr;
}
