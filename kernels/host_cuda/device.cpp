// The device that host_cuda says it is: like compute capability 8.0, so that bf16 is there.
#include <cstdio>

#include "kernels/host_cuda/block.h"
#include "kernels/host_cuda/faults.h"
#include "kernels/host_cuda/state.h"

using namespace pneuma::host_cuda;

cudaError_t cudaGetDeviceCount(int* count) {
  return remember(count ? (*count = 1, cudaSuccess) : cudaErrorInvalidValue);
}
cudaError_t cudaGetDevice(int* device) {
  return remember(device ? (*device = 0, cudaSuccess) : cudaErrorInvalidValue);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (!p || device) return remember(p ? cudaErrorInvalidDevice : cudaErrorInvalidValue);
  *p = {.totalGlobalMem = settings().memory,
        .sharedMemPerBlock = kStaticSharedLimit,
        .sharedMemPerBlockOptin = kDynamicSharedLimit,
        .sharedMemPerMultiprocessor = kDynamicSharedLimit + 1024,
        .major = 8,
        .minor = 0,
        .multiProcessorCount = 108,
        .warpSize = kWarp,
        .maxThreadsPerBlock = kMaxThreads,
        .maxThreadsPerMultiProcessor = 2048,
        .regsPerBlock = 65536,
        .regsPerMultiprocessor = 65536,
        .l2CacheSize = 40 << 20};
  snprintf(p->name, sizeof(p->name), "host_cuda, a CPU that runs CUDA's source");
  return cudaSuccess;
}

#define PN_NAME(name, number, text) \
  if (error == name) return #name;
const char* cudaGetErrorName(cudaError_t error) {
  PN_CUDA_ERRORS(PN_NAME)
  return "unrecognized error code";
}
#define PN_TEXT(name, number, text) \
  if (error == name) return text;
const char* cudaGetErrorString(cudaError_t error) {
  // CUDA itself could only say that something went wrong somewhere.
  if (error != cudaSuccess && error == pending_error()) return pending_sentence();
  PN_CUDA_ERRORS(PN_TEXT)
  return "unrecognized error code";
}
