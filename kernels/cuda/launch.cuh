// What every launcher uses: errors as Status, dtypes as types, the start of a kernel, dynamic
// shared memory. Kernels start through launch() only, so that there is one place to look at.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "kernels/kernels.h"

namespace pneuma::cuda {

inline Status status_of(cudaError_t error) {
  if (error == cudaSuccess) return {};
  return {error == cudaErrorMemoryAllocation ? StatusCode::out_of_memory : StatusCode::device,
          cudaGetErrorString(error)};
}
#define PN_CUDA(call)                                                 \
  if (const cudaError_t pn_error = (call); pn_error != cudaSuccess) { \
    return ::pneuma::cuda::status_of(pn_error);                       \
  }
// A wrong call gets an answer, never a stray write.
#define PN_REQUIRE(condition, message)        \
  if (!(condition)) return ::pneuma::Status { \
      ::pneuma::StatusCode::invalid, message  \
    }

// Nothing is started where the grid is empty.
template <class... Parameters, class... Arguments>
Status launch(void (*kernel)(Parameters...), dim3 grid, int threads, size_t shared_bytes,
              Stream stream, Arguments... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return {};
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(unsigned(threads));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  return status_of(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
}

// Blocks of `each` that cover `count`.
__host__ __device__ constexpr int64_t blocks_of(int64_t count, int64_t each) {
  return (count + each - 1) / each;
}

template <class T>
__device__ T* dynamic_shared() {
  __align__(16) extern __shared__ unsigned char dynamic_shared_memory[];
  return reinterpret_cast<T*>(dynamic_shared_memory);
}

// Calls f with a value of the stored type: dispatch(x.dtype, [&]<class T>(T) -> Status { ... }).
// Arithmetic is float for every one of them.
template <class F>
Status dispatch(Dtype dtype, F f) {
  if (dtype == Dtype::f32) return f(float{});
  if (dtype == Dtype::f16) return f(__half{});
  if (dtype == Dtype::bf16) return f(__nv_bfloat16{});
  return {StatusCode::unsupported, "this device computes in f32, f16 and bf16 only"};
}
template <class T>
inline constexpr int kLanes = 16 / int(sizeof(T));  // elements of one 16-byte access

// v is present, has memory, and is of this dtype and shape.
inline bool is(const View& v, Dtype dtype, std::initializer_list<int64_t> dims) {
  if (!v.data || v.rank != int(dims.size()) || v.dtype != dtype) return false;
  const int64_t* dim = v.dims;
  for (const int64_t d : dims)
    if (*dim++ != d) return false;
  return true;
}
inline bool are_like(const View& model, std::initializer_list<View> vs) {
  for (const View& v : vs) {
    if (!v.data || v.rank != model.rank || v.dtype != model.dtype) return false;
    for (int i = 0; i < v.rank; ++i)
      if (v.dims[i] != model.dims[i]) return false;
  }
  return true;
}
// For checks: an optional view, or where it is absent one that passes.
inline const View& either(const View& optional, const View& other) {
  return optional ? optional : other;
}

}  // namespace pneuma::cuda
