// Every kernel of the seam by its name, ready to run once on drawn inputs through the engine's ops.
#pragma once

#include <string>
#include <vector>

#include "engine/context.h"

namespace pneuma::inspect {

struct KernelRequest {
  Shape shape;                               // of the op's input; of augment's output
  int kernel = 3, stride = 0, padding = -1;  // 0: 1, of a pool 2; -1: half the window
  int channels_out = 64;                     // of convolution and linear
  bool relu = true, residual = false;        // of batch norm
  std::string formula = "relu";              // of the pointwise ops
  std::string optimizer = "adam";
};

struct SeamKernel {
  const char* name;
  bool (*there)(const Kernels&);
  const char* shape;    // its letters: "N,H,W,C"; "" takes any
  const char* flags;    // that it looks at, beside --shape and --dtype
  const char* library;  // that does the work where no kernel of ours does, or null
  Tensor (*op)(Context&, const KernelRequest&);  // runs it, and maybe others
};

const std::vector<SeamKernel>& seam_kernels();  // in the order of kernels.h

// Draws the inputs, runs the op and, for a kernel of a backward pass, goes back. Throws Exit::usage
// where the shape does not fit. REQUIRES ctx.trace, which sees each kernel when it has ended:
// inputs live no longer than that.
void run(Context& ctx, const SeamKernel& kernel, const KernelRequest& request);

}  // namespace pneuma::inspect
