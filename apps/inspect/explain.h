// inspect_cxr precision --explain: walks one training step on the console, every kernel in its
// order under the node of the tape that it belongs to, with the dtypes and bytes of its operands.
#pragma once

#include <string>

#include "apps/inspect/tape.h"

namespace pneuma::inspect {

struct ExplainSettings : TapeSettings {
  std::string precision_dtype = "float16";
};

// A ResNet's step on drawn pictures, with Adam and dynamic loss scaling.
void explain(const ExplainSettings& settings);

}  // namespace pneuma::inspect
