// The subset of CUDA's mma.h that bench/ladder uses: 16 x 16 x 16, fp16 in, fp32 sum. A fragment
// lies spread over the 32 lanes of a warp, 8 elements in each; which, is this file's own business.
#pragma once

#include <cstring>
#include <type_traits>

#include "kernels/host_cuda/include/cuda_fp16.h"
#include "kernels/host_cuda/wmma.h"

namespace nvcuda::wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };

template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment {
  static_assert(M == 16 && N == 16 && K == 16);
  static_assert(
      std::is_same_v<T, std::conditional_t<std::is_same_v<Use, accumulator>, float, half>>);
  static constexpr int num_elements = 8;
  static constexpr bool by_columns = std::is_same_v<Layout, col_major>;
  T x[num_elements];
};

template <class Use, class T, class Layout>
void fill_fragment(fragment<Use, 16, 16, 16, T, Layout>& f, T value) {
  for (T& x : f.x) x = value;
}

// Lane l has elements 8 (l / 16) ... + 7 of line l % 16 (a row, or a column where so stored): eight
// lines at a time, as ldmatrix reads them.
template <class Use, class Layout>
void load_matrix_sync(fragment<Use, 16, 16, 16, half, Layout>& f, const half* from, unsigned line) {
  const int lane = pneuma::host_cuda::lane_index();
  pneuma::host_cuda::sync_warp(~0u);
  const uint4 whole = *reinterpret_cast<const uint4*>(from + lane % 16 * line + lane / 16 * 8);
  std::memcpy(f.x, &whole, sizeof(whole));
}
// Of sums, lane l has pairs of elements of rows l / 4 and l / 4 + 8, so that four lanes together
// store 32 bytes of a row, as mma's lanes do.
inline void load_matrix_sync(fragment<accumulator, 16, 16, 16, float>& f, const float* from,
                             unsigned line, layout_t layout) {
  const int lane = pneuma::host_cuda::lane_index();
  pneuma::host_cuda::sync_warp(~0u);
  for (int e = 0; e < 8; ++e) {
    const int i = pneuma::host_cuda::sum_row(lane, e), j = pneuma::host_cuda::sum_column(lane, e);
    f.x[e] = layout == mem_row_major ? from[i * line + j] : from[j * line + i];
  }
}
inline void store_matrix_sync(float* to, const fragment<accumulator, 16, 16, 16, float>& f,
                              unsigned line, layout_t layout) {
  const int lane = pneuma::host_cuda::lane_index();
  for (int e = 0; e < 8; e += 2) {
    const int i = pneuma::host_cuda::sum_row(lane, e), j = pneuma::host_cuda::sum_column(lane, e);
    if (layout == mem_row_major) {
      uint2 pair;  // one access
      std::memcpy(&pair, f.x + e, sizeof(pair));
      *reinterpret_cast<uint2*>(to + i * line + j) = pair;
    } else {
      to[j * line + i] = f.x[e];
      to[(j + 1) * line + i] = f.x[e + 1];
    }
  }
  pneuma::host_cuda::sync_warp(~0u);
}

template <class LayoutA, class LayoutB>
void mma_sync(fragment<accumulator, 16, 16, 16, float>& d,
              const fragment<matrix_a, 16, 16, 16, half, LayoutA>& a,
              const fragment<matrix_b, 16, 16, 16, half, LayoutB>& b,
              const fragment<accumulator, 16, 16, 16, float>& c) {
  pneuma::host_cuda::multiply_fragments(d.x, &a.x[0].bits, &b.x[0].bits, c.x, a.by_columns,
                                        b.by_columns);
}

}  // namespace nvcuda::wmma
