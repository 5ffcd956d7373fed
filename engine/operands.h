// What a call of a kernel reads and writes: the operands of each argument struct of the seam, with
// the least bytes of each that have to move. Written down once, for traces, inspectors and
// benchmarks. Only shapes, flags and the presence of optional operands are looked at; pointers are
// not followed, but for lists of parameters and items of pictures.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace pneuma {

struct Operand {
  std::string name;      // as kernels.h has it; of a list of parameters: values, gradients...
  View view;             // of a list: all its tensors of one dtype, one behind the other
  double read, written;  // bytes, at the least
  View* place;           // in the arguments; null: of a list
};
using Operands = std::vector<Operand>;

// In the order of kernels.h; what is absent, the workspace and the state of the step are left out.
Operands operands(ConvolutionForward&);
Operands operands(ConvolutionBackwardData&);
Operands operands(ConvolutionBackwardWeights&);
Operands operands(BatchNormForward&);
Operands operands(BatchNormBackward&);
Operands operands(BatchNormInference&);
Operands operands(MaxPoolForward&);
Operands operands(MaxPoolBackward&);
Operands operands(GlobalAveragePoolForward&);
Operands operands(GlobalAveragePoolBackward&);
Operands operands(LinearForward&);
Operands operands(LinearBackward&);
Operands operands(PointwiseForward&);
Operands operands(PointwiseBackward&);
Operands operands(SigmoidCrossEntropy&);
Operands operands(SoftmaxCrossEntropy&);
Operands operands(Augment&);  // a batch of crops, or of affine maps: its first item tells
Operands operands(Resize&);
Operands operands(GradientCheck&);
Operands operands(OptimizerStep&);
Operands operands(Fill&);
Operands operands(Convert&);

}  // namespace pneuma
