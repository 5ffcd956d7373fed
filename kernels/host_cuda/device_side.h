// What device code may call. A thread of a block is a fiber, a block runs on one thread of the
// system, so `__shared__` is thread_local. Everything that blocks or touches memory for the kernel
// is a function of the runtime, which is not instrumented.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/host_cuda/runtime_api.h"
#include "kernels/host_cuda/vectors.h"

#define __global__ __attribute__((noinline))
#define __device__
#define __host__
#define __shared__ thread_local
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

namespace pneuma::host_cuda {

// `how` 0: nothing, 1: how many were not 0, 2: all, 3: any. The place is that of the source line.
int barrier(int how, int value, const char* file, int line);

// Lanes of a warp that meet. `sync_warp` only orders; `shuffle` takes the value of lane `source`.
void sync_warp(unsigned mask);
uint64_t shuffle(unsigned mask, uint64_t value, int source);
unsigned ballot(unsigned mask, bool predicate);
unsigned active_mask();
int lane_index();

enum class Atomic { add, max, min, exchange, bit_or, bit_and };
template <class T>  // int, unsigned, unsigned long long; defined in atomics.cpp
T atomic(Atomic, T* address, T value);
template <class T>
T compare_and_swap(T* address, T expected, T value);

template <class T>
T shuffle_from(unsigned mask, T value, int source) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = shuffle(mask, bits, source);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace pneuma::host_cuda

// Of the fiber that asks; constant for its whole life, so that a kernel may keep them. (For gridDim
// and blockDim see cudaLaunchConfig_t.)
[[gnu::const]] uint3 host_cuda_thread_index();
[[gnu::const]] uint3 host_cuda_block_index();
[[gnu::const]] dim3 host_cuda_block_dim();
[[gnu::const]] dim3 host_cuda_grid_dim();
#define threadIdx host_cuda_thread_index()
#define blockIdx host_cuda_block_index()
inline constexpr int warpSize = 32;

inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  pneuma::host_cuda::barrier(0, 0, file, line);
}
inline int __syncthreads_count(int value, const char* file = __builtin_FILE(),
                               int line = __builtin_LINE()) {
  return pneuma::host_cuda::barrier(1, value, file, line);
}
inline int __syncthreads_and(int value, const char* file = __builtin_FILE(),
                             int line = __builtin_LINE()) {
  return pneuma::host_cuda::barrier(2, value, file, line);
}
inline int __syncthreads_or(int value, const char* file = __builtin_FILE(),
                            int line = __builtin_LINE()) {
  return pneuma::host_cuda::barrier(3, value, file, line);
}

inline void __syncwarp(unsigned mask = ~0u) { pneuma::host_cuda::sync_warp(mask); }
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return pneuma::host_cuda::ballot(mask, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }
inline unsigned __activemask() { return pneuma::host_cuda::active_mask(); }

// The lanes form groups of `width`; a source outside of the group is the lane itself.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const int lane = pneuma::host_cuda::lane_index();
  return pneuma::host_cuda::shuffle_from(mask, value, (lane & -width) | (source & (width - 1)));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const int lane = pneuma::host_cuda::lane_index(), source = lane - int(delta);
  return pneuma::host_cuda::shuffle_from(mask, value, source < (lane & -width) ? lane : source);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const int lane = pneuma::host_cuda::lane_index(), source = lane + int(delta);
  return pneuma::host_cuda::shuffle_from(mask, value,
                                         source >= (lane & -width) + width ? lane : source);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32) {
  const int lane = pneuma::host_cuda::lane_index(), source = lane ^ with;
  return pneuma::host_cuda::shuffle_from(mask, value,
                                         source >= (lane & -width) + width ? lane : source);
}

#define PN_ATOMIC(name, which)                                       \
  template <class T>                                                 \
  T name(T* address, T value) {                                      \
    using pneuma::host_cuda::Atomic;                                 \
    return pneuma::host_cuda::atomic(Atomic::which, address, value); \
  }                                                                  \
  template <class T, class V>                                        \
  T name(T* address, V value) {                                      \
    return name(address, T(value));                                  \
  }
PN_ATOMIC(atomicAdd, add)
PN_ATOMIC(atomicMax, max)
PN_ATOMIC(atomicMin, min)
PN_ATOMIC(atomicExch, exchange)
PN_ATOMIC(atomicOr, bit_or)
PN_ATOMIC(atomicAnd, bit_and)
#undef PN_ATOMIC
template <class T, class U, class V>
T atomicCAS(T* address, U expected, V value) {
  return pneuma::host_cuda::compare_and_swap(address, T(expected), T(value));
}
inline void __threadfence() { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_signal_fence(__ATOMIC_SEQ_CST); }

template <class T>
T __ldg(const T* address) {
  return *address;
}

inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __clz(int v) { return v ? __builtin_clz(unsigned(v)) : 32; }
inline int __clzll(long long v) { return v ? __builtin_clzll((unsigned long long)v) : 64; }
inline unsigned __brev(unsigned v) {
  unsigned r = 0;
  for (int i = 0; i < 32; ++i) r |= ((v >> i) & 1u) << (31 - i);
  return r;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)((__extension__(unsigned __int128)(a) * b) >> 64);
}

namespace pneuma::host_cuda {
template <class To, class From>
To bits_as(From v) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &v, sizeof(to));
  return to;
}
}  // namespace pneuma::host_cuda
inline float __int_as_float(int v) { return pneuma::host_cuda::bits_as<float>(v); }
inline float __uint_as_float(unsigned v) { return pneuma::host_cuda::bits_as<float>(v); }
inline int __float_as_int(float v) { return pneuma::host_cuda::bits_as<int>(v); }
inline unsigned __float_as_uint(float v) { return pneuma::host_cuda::bits_as<unsigned>(v); }
inline double __longlong_as_double(long long v) { return pneuma::host_cuda::bits_as<double>(v); }
inline long long __double_as_longlong(double v) { return pneuma::host_cuda::bits_as<long long>(v); }

inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1 / a; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __fdividef(float a, float b) { return a / b; }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline float __expf(float a) { return std::exp(a); }
inline float __logf(float a) { return std::log(a); }
inline float __saturatef(float a) { return a > 0 ? (a < 1 ? a : 1) : 0; }  // NaN: 0
inline float rsqrtf(float a) { return float(1 / std::sqrt(double(a))); }
inline double rsqrt(double a) { return 1 / std::sqrt(a); }

// Conversions to integers, which saturate and turn NaN to 0 as the hardware does.
namespace pneuma::host_cuda {
template <class Int>
Int to_integer(double rounded) {
  constexpr double low = double(Int(Int(1) << (8 * sizeof(Int) - 1)));
  if (std::isnan(rounded)) return 0;
  if (rounded < low) return Int(Int(1) << (8 * sizeof(Int) - 1));
  return rounded >= -low ? Int(~(Int(1) << (8 * sizeof(Int) - 1))) : Int(rounded);
}
}  // namespace pneuma::host_cuda
inline int __float2int_rn(float a) { return pneuma::host_cuda::to_integer<int>(std::nearbyint(a)); }
inline int __float2int_rd(float a) { return pneuma::host_cuda::to_integer<int>(std::floor(a)); }
inline int __float2int_ru(float a) { return pneuma::host_cuda::to_integer<int>(std::ceil(a)); }
inline int __float2int_rz(float a) { return pneuma::host_cuda::to_integer<int>(std::trunc(a)); }
inline float __int2float_rn(int a) { return float(a); }
inline float __uint2float_rn(unsigned a) { return float(a); }
inline int __double2int_rn(double a) {
  return pneuma::host_cuda::to_integer<int>(std::nearbyint(a));
}

// CUDA has min and max for any two numbers of one kind; of floats, NaN loses.
inline int min(int a, int b) { return b < a ? b : a; }
inline unsigned min(unsigned a, unsigned b) { return b < a ? b : a; }
inline long min(long a, long b) { return b < a ? b : a; }
inline unsigned long min(unsigned long a, unsigned long b) { return b < a ? b : a; }
inline long long min(long long a, long long b) { return b < a ? b : a; }
inline unsigned long long min(unsigned long long a, unsigned long long b) { return b < a ? b : a; }
inline float min(float a, float b) { return std::fmin(a, b); }
inline double min(double a, double b) { return std::fmin(a, b); }
inline int max(int a, int b) { return a < b ? b : a; }
inline unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
inline long max(long a, long b) { return a < b ? b : a; }
inline unsigned long max(unsigned long a, unsigned long b) { return a < b ? b : a; }
inline long long max(long long a, long long b) { return a < b ? b : a; }
inline unsigned long long max(unsigned long long a, unsigned long long b) { return a < b ? b : a; }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }
