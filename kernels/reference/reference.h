// The kernels of the reference, one file per op; kernels.h says what each computes, table.cpp lists
// them. Plain loops on one thread, written to be read: the oracle for every other device.
#pragma once

#include "kernels/kernels.h"

namespace pneuma::reference {

Status convolution_forward(Stream, const ConvolutionForward&);
Status convolution_backward_data(Stream, const ConvolutionBackwardData&);
Status convolution_backward_weights(Stream, const ConvolutionBackwardWeights&);
size_t convolution_workspace(const ConvolutionForward&);
size_t convolution_workspace(const ConvolutionBackwardData&);
size_t convolution_workspace(const ConvolutionBackwardWeights&);
Status batch_norm_forward(Stream, const BatchNormForward&);
Status batch_norm_backward(Stream, const BatchNormBackward&);
Status batch_norm_inference(Stream, const BatchNormInference&);
Status max_pool_forward(Stream, const MaxPoolForward&);
Status max_pool_backward(Stream, const MaxPoolBackward&);
Status global_average_pool_forward(Stream, const GlobalAveragePoolForward&);
Status global_average_pool_backward(Stream, const GlobalAveragePoolBackward&);
Status linear_forward(Stream, const LinearForward&);
Status linear_backward(Stream, const LinearBackward&);
Status pointwise_forward(Stream, const PointwiseForward&);
Status pointwise_backward(Stream, const PointwiseBackward&);
Status sigmoid_cross_entropy(Stream, const SigmoidCrossEntropy&);
Status softmax_cross_entropy(Stream, const SoftmaxCrossEntropy&);
Status augment(Stream, const Augment&);
Status resize(Stream, const Resize&);
size_t resize_workspace(const Resize&);
Status gradient_check(Stream, const GradientCheck&);
Status optimizer_step(Stream, const OptimizerStep&);
Status fill(Stream, const Fill&);
Status convert(Stream, const Convert&);

}  // namespace pneuma::reference
