// Many tensors in one launch: a block has one chunk of one parameter, found by its number in the
// list of first chunks.
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/memory.cuh"

namespace pneuma::cuda {

// The item that chunk number `chunk` belongs to. REQUIRES 0 <= chunk < all chunks.
__device__ inline int64_t item_of(const ParameterUpdate* items, int64_t count, int64_t chunk) {
  int64_t low = 0, high = count;  // the last one with first_chunk <= chunk
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (items[middle].first_chunk <= chunk ? low : high) = middle;
  }
  return low;
}

// An access whose dtype is known at run time only; the same in the whole block.
template <int kN>
__device__ __forceinline__ void load(Dtype dtype, const void* p, int64_t i, float (&v)[kN]) {
  if (dtype == Dtype::f32) load<kN>(static_cast<const float*>(p) + i, v);
  if (dtype == Dtype::f16) load<kN>(static_cast<const __half*>(p) + i, v);
  if (dtype == Dtype::bf16) load<kN>(static_cast<const __nv_bfloat16*>(p) + i, v);
}
template <int kN>
__device__ __forceinline__ void store(Dtype dtype, void* p, int64_t i, const float (&v)[kN]) {
  if (dtype == Dtype::f32) store<kN>(static_cast<float*>(p) + i, v);
  if (dtype == Dtype::f16) store<kN>(static_cast<__half*>(p) + i, v);
  if (dtype == Dtype::bf16) store<kN>(static_cast<__nv_bfloat16*>(p) + i, v);
}

inline bool is_float(Dtype d) { return d == Dtype::f32 || d == Dtype::f16 || d == Dtype::bf16; }

// For launchers: whether first_chunk is what item_of expects; the number of all chunks in *chunks.
inline bool are_numbered(const ParameterUpdate* items, int64_t count, int64_t* chunks) {
  *chunks = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (items[i].first_chunk != *chunks || items[i].count < 1) return false;
    *chunks += blocks_of(items[i].count, kParameterChunk);
  }
  return true;
}

}  // namespace pneuma::cuda
