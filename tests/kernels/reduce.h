// A kernel of reduce_test.
#pragma once

#include "kernels/view.h"

namespace pneuma::test {

inline constexpr int kSumThreads = 256;
// sums[i] = the sum of all kSumThreads of x, sums[kSumThreads + i] = twice that, one after the
// other.
Status sum_twice(const float* x, float* sums);

}  // namespace pneuma::test
