// The kernels that are compiled once per instruction set, one file each.
#pragma once

#include "kernels/cpu/simd.h"

namespace pneuma::PN_ISA {

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
Status gradient_check(Stream, const GradientCheck&);
size_t gradient_check_workspace(const GradientCheck&);
Status optimizer_step(Stream, const OptimizerStep&);
Status fill(Stream, const Fill&);
Status convert(Stream, const Convert&);

}  // namespace pneuma::PN_ISA
