// Convolution and linear, by oneDNN; entries of the table. Absent where the build has no oneDNN.
#pragma once

#include "kernels/kernels.h"

namespace pneuma::onednn {

Status convolution_forward(Stream, const ConvolutionForward&);
size_t convolution_forward_workspace(const ConvolutionForward&);
Status convolution_backward_data(Stream, const ConvolutionBackwardData&);
size_t convolution_backward_data_workspace(const ConvolutionBackwardData&);
Status convolution_backward_weights(Stream, const ConvolutionBackwardWeights&);
size_t convolution_backward_weights_workspace(const ConvolutionBackwardWeights&);
Status linear_forward(Stream, const LinearForward&);
size_t linear_forward_workspace(const LinearForward&);
Status linear_backward(Stream, const LinearBackward&);
size_t linear_backward_workspace(const LinearBackward&);

// Whether oneDNN computes bf16 by the processor's own instructions (avx512_bf16, AMX). Else, and
// always for f16, 16 bits are storage: arithmetic is in f32.
bool computes_bf16();

// Primitives are kept by shape; a net has far fewer shapes than this.
inline constexpr size_t kMaxOperations = 512;
size_t cached_operations();

}  // namespace pneuma::onednn
