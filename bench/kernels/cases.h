// The cases of `bench kernels`: every kernel of the seam at every distinct shape of ResNet-50. No
// list of shapes is written down: a training step and an inference of the network are walked on a
// backend that computes nothing and notes what it is asked for.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/kernels/memory.h"

namespace pneuma::bench {

enum class Role { input, changed, result };  // read; read and written; written

struct Operand {
  std::string name;  // as kernels.h has it
  View view;         // shape and dtype; no memory
  Role role;
  Draw draw;                        // what it begins with; a result begins as NaN
  std::vector<std::byte> raw = {};  // instead of draw
  bool compared = true;             // false: a rounding may flip a bit of it (the mask of a ReLU)
  double eps = 0;                   // of one ulp, where it is not that of the dtype
};

struct Case {
  std::string name;  // "batch_norm_forward relu 16x56x56x64 @224"
  std::string kernel;
  int size = 0;   // of the picture; 0: the case does not depend on it
  int times = 0;  // launches in one training step
  std::vector<Operand> operands;
  double bytes = 0;      // the least that has to be moved
  double flops = 0;      // of a matrix product or convolution; 0: bytes are its limit
  double tolerance = 0;  // error against f64 in ulp
  std::map<std::string, int> attributes;
  // The call, with these operands' memory (dtypes as they stand there), and its workspace from
  // `memory`. Empty where the backend has no such kernel.
  std::function<std::function<Status(Stream)>(Memory& memory, const std::vector<View>& operands)>
      bind;
  // The same call of a small walk: same channels, smaller pictures. What the oracle can compute.
  std::shared_ptr<const Case> small;
};

// Cases of pictures of this size, in the order of a step; activations, weights as kernels read them
// and their gradients in `dtype`, the rest in f32.
std::vector<Case> cases_of_resnet50(int size, int batch, Dtype dtype);
// What `small` was walked with, as a footnote says it.
std::string small_walk();

// linear_forward of [n,n] by [n,n]: for the matrix peak.
Case matrix_product(int64_t n, Dtype dtype);

}  // namespace pneuma::bench
