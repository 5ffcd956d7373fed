// The host's side of the CUDA runtime: the functions that we use, with the meaning of the real
// ones.
#pragma once

#include <cstddef>
#include <memory>
#include <tuple>

#include "kernels/host_cuda/vectors.h"

// name, number, what cudaGetErrorString says
#define PN_CUDA_ERRORS(X)                                                     \
  X(cudaSuccess, 0, "no error")                                               \
  X(cudaErrorInvalidValue, 1, "invalid argument")                             \
  X(cudaErrorMemoryAllocation, 2, "out of memory")                            \
  X(cudaErrorInvalidConfiguration, 9, "invalid configuration argument")       \
  X(cudaErrorInvalidMemcpyDirection, 21, "invalid copy direction for memcpy") \
  X(cudaErrorInsufficientDriver, 35,                                          \
    "CUDA driver version is insufficient for CUDA runtime version")           \
  X(cudaErrorInvalidDeviceFunction, 98, "invalid device function")            \
  X(cudaErrorNoDevice, 100, "no CUDA-capable device is detected")             \
  X(cudaErrorInvalidDevice, 101, "invalid device ordinal")                    \
  X(cudaErrorInvalidResourceHandle, 400, "invalid resource handle")           \
  X(cudaErrorNotReady, 600, "device not ready")                               \
  X(cudaErrorIllegalAddress, 700, "an illegal memory access was encountered") \
  X(cudaErrorMisalignedAddress, 716, "misaligned address")                    \
  X(cudaErrorLaunchFailure, 719, "unspecified launch failure")
#define PN_ERROR(name, number, text) name = number,
enum cudaError_t { PN_CUDA_ERRORS(PN_ERROR) };
#undef PN_ERROR
enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault,
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
inline constexpr unsigned cudaStreamDefault = 0, cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDefault = 0, cudaEventBlockingSync = 1,
                          cudaEventDisableTiming = 2;

using cudaStream_t = struct CUstream_st*;
using cudaEvent_t = struct CUevent_st*;
#define cudaStreamLegacy ((cudaStream_t)0x1)

struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerBlockOptin, sharedMemPerMultiprocessor;
  int major, minor, multiProcessorCount, warpSize, maxThreadsPerBlock, maxThreadsPerMultiProcessor;
  int regsPerBlock, regsPerMultiprocessor, l2CacheSize, memoryBusWidth;
};
struct cudaLaunchAttribute;
// In kernels gridDim and blockDim are functions, so here they are too.
#define gridDim host_cuda_grid_dim()
#define blockDim host_cuda_block_dim()
struct cudaLaunchConfig_t {
  dim3& gridDim { return grid; }
  dim3& blockDim { return block; }
  const dim3& gridDim const { return grid; }
  const dim3& blockDim const { return block; }
  dim3 grid, block;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};

cudaError_t cudaMalloc(void** memory, size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMallocHost(void** memory, size_t bytes);
cudaError_t cudaFreeHost(void* memory);
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream = nullptr);
cudaError_t cudaMemset(void* to, int value, size_t bytes);
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream = nullptr);

cudaError_t cudaStreamCreate(cudaStream_t* stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaEventCreate(cudaEvent_t* event);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end);
cudaError_t cudaDeviceSynchronize();

cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();
const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);

namespace pneuma::host_cuda {

// One launch's kernel and arguments; threads read the arguments where they lie.
struct KernelCall {
  size_t bytes = 0;  // of this object, the part of the host's memory that the kernel may read
  virtual ~KernelCall() = default;
  virtual void run() const = 0;  // one thread
};
template <class... Parameters>
struct KernelCallOf final : KernelCall {
  template <class... Arguments>
  KernelCallOf(void (*kernel)(Parameters...), Arguments&&... arguments)
      : kernel(kernel), arguments(static_cast<Arguments&&>(arguments)...) {
    bytes = sizeof(*this);
  }
  void run() const override { std::apply(kernel, arguments); }
  void (*kernel)(Parameters...);
  std::tuple<Parameters...> arguments;
};
cudaError_t launch(const cudaLaunchConfig_t* config, const void* kernel,
                   std::unique_ptr<KernelCall> call);
cudaError_t set_attribute(const void* kernel, cudaFuncAttribute attribute, int value);

}  // namespace pneuma::host_cuda

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  using Call = pneuma::host_cuda::KernelCallOf<Parameters...>;
  return pneuma::host_cuda::launch(
      config, reinterpret_cast<const void*>(kernel),
      std::make_unique<Call>(kernel, static_cast<Arguments&&>(arguments)...));
}
template <class F>
cudaError_t cudaFuncSetAttribute(F* kernel, cudaFuncAttribute attribute, int value) {
  return pneuma::host_cuda::set_attribute(reinterpret_cast<const void*>(kernel), attribute, value);
}
template <class T>
cudaError_t cudaMalloc(T** memory, size_t bytes) {
  return cudaMalloc(reinterpret_cast<void**>(memory), bytes);
}
template <class T>
cudaError_t cudaMallocHost(T** memory, size_t bytes) {
  return cudaMallocHost(reinterpret_cast<void**>(memory), bytes);
}
