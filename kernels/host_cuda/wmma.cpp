#include "kernels/host_cuda/wmma.h"

#include "kernels/host_cuda/block.h"
#include "kernels/host_cuda/sixteen_bits.h"

namespace pneuma::host_cuda {
namespace {

constexpr int kSide = 16, kEach = 8;

struct Fragments {
  float* d;
  const uint16_t *a, *b;
  const float* c;
  bool a_by_columns, b_by_columns;
};

void multiply(void* const* lanes, unsigned) {
  float a[kSide][kSide], b[kSide][kSide], d[kSide][kSide];
  for (int l = 0; l < kWarp; ++l)
    for (int e = 0; e < kEach; ++e) {
      const auto& f = *static_cast<const Fragments*>(lanes[l]);
      const int line = l % kSide, at = l / kSide * kEach + e;
      (f.a_by_columns ? a[at][line] : a[line][at]) = float_from_half(f.a[e]);
      (f.b_by_columns ? b[at][line] : b[line][at]) = float_from_half(f.b[e]);
      d[sum_row(l, e)][sum_column(l, e)] = f.c[e];
    }
  for (int i = 0; i < kSide; ++i)
    for (int j = 0; j < kSide; ++j)
      for (int k = 0; k < kSide; ++k) d[i][j] += a[i][k] * b[k][j];  // products are exact
  for (int l = 0; l < kWarp; ++l)
    for (int e = 0; e < kEach; ++e)
      static_cast<const Fragments*>(lanes[l])->d[e] = d[sum_row(l, e)][sum_column(l, e)];
}

}  // namespace

void multiply_fragments(float* d, const uint16_t* a, const uint16_t* b, const float* c,
                        bool a_by_columns, bool b_by_columns) {
  Fragments mine{d, a, b, c, a_by_columns, b_by_columns};
  running->meet(~0u, &mine, multiply);
}

}  // namespace pneuma::host_cuda
