// The cpu device's threads and instruction set, shared by its kernels.
#pragma once

#include "kernels/kernels.h"

namespace pneuma {

// As Device.set_threads said; the machine's cores before that.
int compute_threads();

// How floats may be stored. Internal linkage, for the files that are compiled once per instruction
// set.
static constexpr bool is_stored(Dtype t) { return t == Dtype::f32 || size_of(t) == 2; }
static constexpr char kWrongDtype[] =
    "device cpu computes on f32, f16 or bf16, one of them in an op";

// table.cpp, compiled once per instruction set.
namespace baseline {
Kernels kernels();
}
namespace avx2 {
Kernels kernels();
}
namespace avx512 {
Kernels kernels();
}

}  // namespace pneuma
