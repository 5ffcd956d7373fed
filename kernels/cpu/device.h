// The cpu device's threads and instruction set, shared by its kernels.
#pragma once

#include "kernels/kernels.h"

namespace pneuma {

// As Device.set_threads said; the machine's cores before that.
int compute_threads();

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
