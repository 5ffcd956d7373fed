// The product of fragments, for mma.h: all 32 lanes of a warp meet, and the last to come computes.
#pragma once

#include <cstdint>

namespace pneuma::host_cuda {

// Where element e of a lane stands in c and d.
constexpr int sum_row(int lane, int e) { return lane / 4 + e / 2 % 2 * 8; }
constexpr int sum_column(int lane, int e) { return lane % 4 * 2 + e % 2 + e / 4 * 8; }

// Each lane gives its 8 elements of a, b [16,16] f16 and c [16,16] f32, and gets those of d = a b +
// c.
void multiply_fragments(float* d, const uint16_t* a, const uint16_t* b, const float* c,
                        bool a_by_columns, bool b_by_columns);

}  // namespace pneuma::host_cuda
