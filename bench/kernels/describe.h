// One call of a kernel, described: what it is called, which operands it has and what they hold, the
// least bytes that it must move (../shared/spec/kernels.md, B), its arithmetic, its tolerance. Only
// shapes, flags and the presence of optional operands are read; pointers are not followed, but for
// lists of parameters and items of pictures.
#pragma once

#include "bench/kernels/cases.h"

namespace pneuma::bench {

// What a described call is to compute in.
struct Style {
  Dtype dtype;                 // of activations, weights as kernels read them, their gradients
  int64_t most_per_parameter;  // longer parameters are cut to it
};

Case describe(const ConvolutionForward&, const Style&);
Case describe(const ConvolutionBackwardData&, const Style&);
Case describe(const ConvolutionBackwardWeights&, const Style&);
Case describe(const BatchNormForward&, const Style&);
Case describe(const BatchNormBackward&, const Style&);
Case describe(const BatchNormInference&, const Style&);
Case describe(const MaxPoolForward&, const Style&);
Case describe(const MaxPoolBackward&, const Style&);
Case describe(const GlobalAveragePoolForward&, const Style&);
Case describe(const GlobalAveragePoolBackward&, const Style&);
Case describe(const LinearForward&, const Style&);
Case describe(const LinearBackward&, const Style&);
Case describe(const PointwiseForward&, const Style&);
Case describe(const PointwiseBackward&, const Style&);
Case describe(const SigmoidCrossEntropy&, const Style&);
Case describe(const SoftmaxCrossEntropy&, const Style&);
Case describe(const Augment&, const Style&);  // REQUIRES host_items
Case describe(const Resize&, const Style&);
Case describe(const GradientCheck&, const Style&);
Case describe(const OptimizerStep&, const Style&);
Case describe(const Fill&, const Style&);
Case describe(const Convert&, const Style&);  // in the dtypes of its views

}  // namespace pneuma::bench
