// One call of a kernel, described: what it is called, what its operands hold, its arithmetic, its
// tolerance. Which operands it has and the least bytes that it must move: engine/operands.h.
#pragma once

#include "bench/kernels/cases.h"

namespace pneuma::bench {

// What becomes of lists of parameters.
struct Style {
  Dtype dtype;                 // of all gradients and working copies
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
Case describe(const Convert&, const Style&);

}  // namespace pneuma::bench
