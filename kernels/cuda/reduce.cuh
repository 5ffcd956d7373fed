// Sums over the threads of a block in an order that the block's size alone decides: a tree of
// shuffles inside each warp, then one over the warps' sums.
#pragma once

#include <cuda_runtime.h>

namespace pneuma::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

template <class T>
__device__ __forceinline__ T warp_sum(T v) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2)
    v += __shfl_down_sync(kAllLanes, v, unsigned(distance));
  return v;  // in lane 0
}

// The sum over all kThreads of the block, in every thread. Called by all of them.
template <int kThreads, class T>
__device__ __forceinline__ T block_sum(T v) {
  static_assert(kThreads % kWarp == 0 && kThreads <= kWarp * kWarp);
  constexpr int kWarps = kThreads / kWarp;
  __shared__ T sums[kWarps];
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  v = warp_sum(v);
  if (lane == 0) sums[warp] = v;
  __syncthreads();
  T total = T(0);
#pragma unroll
  for (int w = 0; w < kWarps; ++w) total += sums[w];
  __syncthreads();  // `sums` may be used again
  return total;
}

}  // namespace pneuma::cuda
