// What tests of host_cuda are written with: a runtime that must end without a fault, memory,
// streams and events that free themselves, starting a kernel, taking a planted fault.
#pragma once

#include <doctest/doctest.h>

#include <numeric>
#include <string>
#include <vector>

#include "kernels/host_cuda/host_cuda.h"

namespace pneuma::test {

using namespace host_cuda;

// A test starts without faults and must end without: each that it planted, it takes.
struct Runtime {
  explicit Runtime(Settings wanted = {}) {
    clear_faults();
    take_launches();
    set_settings(wanted);
  }
  ~Runtime() {
    cudaDeviceSynchronize();
    for (const Fault& f : faults()) FAIL_CHECK(f.sentence);
    clear_faults();
    set_settings({});
  }
};

template <class T>
struct Memory {
  explicit Memory(size_t count) : count(count) {
    REQUIRE(cudaMalloc(&data, count * sizeof(T)) == cudaSuccess);
  }
  Memory(size_t count, T value) : Memory(std::vector<T>(count, value)) {}
  explicit Memory(const std::vector<T>& values) : Memory(values.size()) {
    cudaMemcpy(data, values.data(), count * sizeof(T), cudaMemcpyHostToDevice);
  }
  ~Memory() { cudaFree(data); }
  Memory(const Memory&) = delete;
  std::vector<T> values() const {
    std::vector<T> to(count);
    cudaMemcpy(to.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost);
    return to;
  }
  operator T*() const { return data; }
  T* data = nullptr;
  size_t count;
};

struct Stream {
  explicit Stream(unsigned flags = cudaStreamNonBlocking) {
    cudaStreamCreateWithFlags(&stream, flags);
  }
  ~Stream() { cudaStreamDestroy(stream); }
  operator cudaStream_t() const { return stream; }
  cudaStream_t stream;
};
struct Event {
  Event() { cudaEventCreate(&event); }
  ~Event() { cudaEventDestroy(event); }
  operator cudaEvent_t() const { return event; }
  cudaEvent_t event;
};

struct Where {
  dim3 grid = 1, block = 1;
  size_t shared = 0;
  cudaStream_t stream = nullptr;
};
template <class... P, class... A>
cudaError_t start(const Where& where, void (*kernel)(P...), A... arguments) {
  cudaLaunchConfig_t config;
  config.gridDim = where.grid;
  config.blockDim = where.block;
  config.dynamicSmemBytes = where.shared;
  config.stream = where.stream;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

// Waits, and takes the faults: REQUIRES that there is exactly one, of this kind, which says
// `words`.
inline void expect_fault(FaultKind kind, cudaError_t error, std::vector<std::string> words) {
  CHECK(cudaDeviceSynchronize() == error);
  const std::vector<Fault> found = faults();
  clear_faults();
  REQUIRE_MESSAGE(found.size() == 1, (found.empty() ? "no fault" : found[1].sentence));
  CHECK(int(found[0].kind) == int(kind));
  for (const std::string& word : words)
    CHECK_MESSAGE(std::string(found[0].sentence).find(word) != std::string::npos, found[0].sentence,
                  " lacks ", word);
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
}

inline LaunchRecord record_of_last() {
  cudaDeviceSynchronize();
  const std::vector<LaunchRecord> all = take_launches();
  REQUIRE(!all.empty());
  return all.back();
}

inline std::vector<float> numbers(int n) {
  std::vector<float> v(size_t(n), 0.f);
  std::iota(v.begin(), v.end(), 0.f);
  return v;
}

}  // namespace pneuma::test
