// How kernels touch global memory: a whole 16-byte access, converted to float and back, rounded
// once at the store. kN elements of T, kN * sizeof(T) in {1,2,4,8,16} bytes, aligned to that size.
//
// Why 16 bytes a thread: a full multiprocessor (2,048 threads on sm_70) then keeps 32 KB of each
// operand on the way, more than the 5 KB that 900 GB/s times 450 ns over 80 multiprocessors asks
// for, so that plain kernels need no loop over their elements to reach the memory's rate.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace pneuma::cuda {

__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(__half v) { return __half2float(v); }
__device__ __forceinline__ float to_float(__nv_bfloat16 v) { return __bfloat162float(v); }
__device__ __forceinline__ float to_float(uint8_t v) { return float(v); }

template <class T>
__device__ __forceinline__ T from_float(float v) {
  if constexpr (sizeof(T) == 4)
    return v;
  else
    return T(v);  // both 16-bit types round to the nearest, ties to even
}

template <int kBytes>
struct Bits;
template <>
struct Bits<1> {
  using type = uint8_t;
};
template <>
struct Bits<2> {
  using type = uint16_t;
};
template <>
struct Bits<4> {
  using type = uint32_t;
};
template <>
struct Bits<8> {
  using type = uint2;
};
template <>
struct Bits<16> {
  using type = uint4;
};

// kN elements as they lie in memory.
template <class T, int kN>
union Packed {
  typename Bits<kN* int(sizeof(T))>::type bits;
  T at[kN];
  __device__ Packed() {}
};

// A kernel that has several accesses on the way fetches them all, then unpacks one by one.
template <int kN, class T>
__device__ __forceinline__ Packed<T, kN> fetch(const T* p) {
  Packed<T, kN> packed;
  packed.bits = *reinterpret_cast<const decltype(packed.bits)*>(p);
  return packed;
}
template <int kN, class T>
__device__ __forceinline__ void unpack(const Packed<T, kN>& packed, float (&v)[kN]) {
#pragma unroll
  for (int i = 0; i < kN; ++i) v[i] = to_float(packed.at[i]);
}
template <int kN, class T>
__device__ __forceinline__ void load(const T* p, float (&v)[kN]) {
  unpack(fetch<kN>(p), v);
}

template <int kN, class T>
__device__ __forceinline__ void store(T* p, const float (&v)[kN]) {
  Packed<T, kN> packed;
#pragma unroll
  for (int i = 0; i < kN; ++i) packed.at[i] = from_float<T>(v[i]);
  *reinterpret_cast<decltype(packed.bits)*>(p) = packed.bits;
}

// To a gradient: written, or added to what is there.
template <int kN, class T>
__device__ __forceinline__ void put(T* p, float (&v)[kN], bool add) {
  if (add) {
    float old[kN];
    load<kN>(p, old);
#pragma unroll
    for (int i = 0; i < kN; ++i) v[i] += old[i];
  }
  store<kN>(p, v);
}

// Elements [begin, begin + kN) of an array of `count` that starts at a multiple of 16 bytes:
// f.template operator()<kN>(begin), or one by one in the array's tail.
template <int kN, class F>
__device__ __forceinline__ void for_vector(int64_t begin, int64_t count, F f) {
  if (begin + kN <= count) {
    f.template operator()<kN>(begin);
  } else {
    for (int64_t i = begin; i < count; ++i) f.template operator()<1>(i);
  }
}

}  // namespace pneuma::cuda
