// The kernels of the CUDA device, one file per op; kernels.h says what each computes, table.cpp
// lists them. Storage is f32, f16 or bf16, sums are f32 in an order that shapes alone decide.
#pragma once

#include "kernels/kernels.h"

namespace pneuma::cuda {

Device device();

// Libraries: cuDNN (convolution.cpp) and cuBLAS (linear.cu).
Status convolution_forward(Stream, const ConvolutionForward&);
Status convolution_backward_data(Stream, const ConvolutionBackwardData&);
Status convolution_backward_weights(Stream, const ConvolutionBackwardWeights&);
size_t convolution_workspace(const ConvolutionForward&);
size_t convolution_workspace(const ConvolutionBackwardData&);
size_t convolution_workspace(const ConvolutionBackwardWeights&);
Status linear_forward(Stream, const LinearForward&);
Status linear_backward(Stream, const LinearBackward&);
size_t linear_workspace(const LinearForward&);
size_t linear_workspace(const LinearBackward&);

// The text of a --conv_table, and the choices made so far in the same form (convolution.cpp).
Status read_conv_table(const char* text);
const char* conv_choices();

// Own kernels.
Status batch_norm_forward(Stream, const BatchNormForward&);
size_t batch_norm_forward_workspace(const BatchNormForward&);
Status batch_norm_backward(Stream, const BatchNormBackward&);
size_t batch_norm_backward_workspace(const BatchNormBackward&);
Status batch_norm_inference(Stream, const BatchNormInference&);
Status max_pool_forward(Stream, const MaxPoolForward&);
Status max_pool_backward(Stream, const MaxPoolBackward&);
Status global_average_pool_forward(Stream, const GlobalAveragePoolForward&);
Status global_average_pool_backward(Stream, const GlobalAveragePoolBackward&);
Status pointwise_forward(Stream, const PointwiseForward&);
Status pointwise_backward(Stream, const PointwiseBackward&);
Status sigmoid_cross_entropy(Stream, const SigmoidCrossEntropy&);
Status softmax_cross_entropy(Stream, const SoftmaxCrossEntropy&);
Status augment(Stream, const Augment&);
Status resize(Stream, const Resize&);
size_t resize_workspace(const Resize&);
Status gradient_check(Stream, const GradientCheck&);
size_t gradient_check_workspace(const GradientCheck&);
Status optimizer_step(Stream, const OptimizerStep&);
Status fill(Stream, const Fill&);
Status convert(Stream, const Convert&);

}  // namespace pneuma::cuda
