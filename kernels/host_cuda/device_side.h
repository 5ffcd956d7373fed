// What device code may call. A thread of a block is a fiber, a block runs on one thread of the
// system, so `__shared__` is thread_local. Everything that blocks or touches memory for the kernel
// is a function of the runtime, which is not instrumented.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/host_cuda/runtime_api.h"
#include "kernels/host_cuda/vectors.h"

#define __global__ __attribute__((noinline))
#define __device__
#define __host__
// Without constinit, g++ would keep a flag beside each array of __half: is it constructed yet? The
// alignment leaves a gap behind most arrays, in which an access that runs over is seen.
#define __shared__ constinit thread_local __attribute__((aligned(256)))
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

namespace pneuma::host_cuda {

// `how` 0: nothing, 1: how many were not 0, 2: all, 3: any. The place is that of the source line.
int barrier(int how, int value, const char* file, int line);

// Lanes of a warp that meet. `sync_warp` only orders; `exchange` returns the value of lane
// `source`, or for source -1 which lanes' values are not 0.
void sync_warp(unsigned mask);
uint64_t exchange(unsigned mask, uint64_t value, int source);
unsigned active_mask();
int lane_index();

// Blocks run on several threads of the system, so atomics are atomic here too. Not instrumented:
// `see_atomic` is what sees them.
void see_atomic(void* address, size_t bytes, const void* site);
template <class T, class F>
[[gnu::no_sanitize("thread")]] T atomic(T* address, F next) {
  see_atomic(address, sizeof(T), __builtin_return_address(0));
  T old, value;
  __atomic_load(address, &old, __ATOMIC_RELAXED);
  do value = next(old);
  while (
      !__atomic_compare_exchange(address, &old, &value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return old;
}

template <class To, class From>
To bits_as(From v) {
  To to{};
  std::memcpy(&to, &v, std::min(sizeof(to), sizeof(v)));
  return to;
}
// The lanes form groups of `width`; a source outside of the group is the lane itself.
template <class T>
T shuffle(unsigned mask, T value, int source, int width) {
  const int lane = lane_index();
  if ((source ^ lane) & -width) source = lane;
  return bits_as<T>(exchange(mask, bits_as<uint64_t>(value), source));
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

#define PN_BARRIER(type, name, how)                                                               \
  inline type name(int value, const char* file = __builtin_FILE(), int line = __builtin_LINE()) { \
    return type(pneuma::host_cuda::barrier(how, value, file, line));                              \
  }
PN_BARRIER(int, __syncthreads_count, 1)
PN_BARRIER(int, __syncthreads_and, 2)
PN_BARRIER(int, __syncthreads_or, 3)
#undef PN_BARRIER
inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  pneuma::host_cuda::barrier(0, 0, file, line);
}

inline void __syncwarp(unsigned mask = ~0u) { pneuma::host_cuda::sync_warp(mask); }
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return unsigned(pneuma::host_cuda::exchange(mask, predicate != 0, -1));
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }
inline unsigned __activemask() { return pneuma::host_cuda::active_mask(); }

#define PN_SHUFFLE(name, from)                                         \
  template <class T>                                                   \
  T name(unsigned mask, T value, int by, int width = 32) {             \
    [[maybe_unused]] const int lane = pneuma::host_cuda::lane_index(); \
    return pneuma::host_cuda::shuffle(mask, value, from, width);       \
  }
PN_SHUFFLE(__shfl_sync, (lane & -width) | (by & (width - 1)))
PN_SHUFFLE(__shfl_up_sync, lane - by)
PN_SHUFFLE(__shfl_down_sync, lane + by)
PN_SHUFFLE(__shfl_xor_sync, lane ^ by)
#undef PN_SHUFFLE

#define PN_ATOMIC(name, next)                                                    \
  template <class T>                                                             \
  T name(T* address, std::type_identity_t<T> value) {                            \
    return pneuma::host_cuda::atomic(address, [=](T old) -> T { return next; }); \
  }
PN_ATOMIC(atomicAdd, old + value)
PN_ATOMIC(atomicMax, old < value ? value : old)
PN_ATOMIC(atomicMin, value < old ? value : old)
PN_ATOMIC(atomicExch, ((void)old, value))
#undef PN_ATOMIC
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return pneuma::host_cuda::atomic(address, [=](T old) { return old == expected ? value : old; });
}
inline void __threadfence() { __atomic_signal_fence(__ATOMIC_SEQ_CST); }

template <class T>
T __ldg(const T* address) {
  return *address;
}

inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __clz(int v) { return v ? __builtin_clz(unsigned(v)) : 32; }
inline float __int_as_float(int v) { return pneuma::host_cuda::bits_as<float>(v); }
inline float __uint_as_float(unsigned v) { return pneuma::host_cuda::bits_as<float>(v); }
inline int __float_as_int(float v) { return pneuma::host_cuda::bits_as<int>(v); }
inline unsigned __float_as_uint(float v) { return pneuma::host_cuda::bits_as<unsigned>(v); }

inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __expf(float a) { return std::exp(a); }
inline float __logf(float a) { return std::log(a); }
inline float rsqrtf(float a) { return float(1 / std::sqrt(double(a))); }
inline double rsqrt(double a) { return 1 / std::sqrt(a); }
// To integers it saturates, and NaN becomes 0.
inline int __float2int_rz(float a) {
  if (std::isnan(a)) return 0;
  return a >= 0x1p31f ? INT32_MAX : a < -0x1p31f ? INT32_MIN : int(a);
}
inline int __float2int_rn(float a) { return __float2int_rz(std::nearbyint(a)); }
inline int __float2int_rd(float a) { return __float2int_rz(std::floor(a)); }

// CUDA has min and max for any two numbers of one kind; of floats, NaN loses.
#define PN_MIN_MAX(T, least, most)         \
  inline T min(T a, T b) { return least; } \
  inline T max(T a, T b) { return most; }
PN_MIN_MAX(int, b < a ? b : a, a < b ? b : a)
PN_MIN_MAX(unsigned, b < a ? b : a, a < b ? b : a)
PN_MIN_MAX(long, b < a ? b : a, a < b ? b : a)
PN_MIN_MAX(unsigned long, b < a ? b : a, a < b ? b : a)
PN_MIN_MAX(long long, b < a ? b : a, a < b ? b : a)
PN_MIN_MAX(unsigned long long, b < a ? b : a, a < b ? b : a)
PN_MIN_MAX(float, std::fmin(a, b), std::fmax(a, b))
PN_MIN_MAX(double, std::fmin(a, b), std::fmax(a, b))
#undef PN_MIN_MAX
