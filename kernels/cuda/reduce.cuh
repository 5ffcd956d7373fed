// Sums over the threads of a block in an order that the block's shape alone decides: a tree of
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

// A block of kThreads that stands over a matrix: `width` vectors of kN channels across (a power of
// two, at most a warp), and kThreads / width rows. Each thread has what it summed of its rows, kV
// numbers a channel, and of how many rows, n. merge(v, n, other, other_n) adds another thread's.
// sink(channel of the tile, sums) is called once a channel. Called by all threads.
template <int kThreads, int kN, int kV, class Merge, class Sink>
__device__ __forceinline__ void merge_rows(float (&v)[kN][kV], float n, int width, Merge merge,
                                           Sink sink) {
  constexpr int kWarps = kThreads / kWarp, kPitch = kN | 1;  // odd: no two lanes on one bank
  static_assert(kThreads % kWarp == 0 && kThreads >= kWarp * kN);
  __shared__ float sums[kWarps][kV][kWarp * kPitch], counts[kWarps];
  const int thread = int(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  for (int distance = kWarp / 2; distance >= width; distance /= 2) {
    const float other_n = __shfl_down_sync(kAllLanes, n, unsigned(distance));
#pragma unroll
    for (int k = 0; k < kN; ++k) {
      float other[kV];
#pragma unroll
      for (int i = 0; i < kV; ++i)
        other[i] = __shfl_down_sync(kAllLanes, v[k][i], unsigned(distance));
      merge(v[k], n, other, other_n);
    }
    n += other_n;
  }
  if (lane < width)
#pragma unroll
    for (int k = 0; k < kN; ++k)
#pragma unroll
      for (int i = 0; i < kV; ++i) sums[warp][i][lane * kPitch + k] = v[k][i];
  if (lane == 0) counts[warp] = n;
  __syncthreads();
  if (thread >= width * kN) return;
  const int place = thread / kN * kPitch + thread % kN;
  float total[kV], total_n = counts[0];
#pragma unroll
  for (int i = 0; i < kV; ++i) total[i] = sums[0][i][place];
#pragma unroll
  for (int w = 1; w < kWarps; ++w) {
    float other[kV];
#pragma unroll
    for (int i = 0; i < kV; ++i) other[i] = sums[w][i][place];
    merge(total, total_n, other, counts[w]);
    total_n += counts[w];
  }
  sink(thread, total);
}
struct Add {  // merge() of plain sums
  template <int kV>
  __device__ void operator()(float (&v)[kV], float, const float (&other)[kV], float) const {
#pragma unroll
    for (int i = 0; i < kV; ++i) v[i] += other[i];
  }
};

}  // namespace pneuma::cuda
