// A small CUDA runtime for the CPU, in which kernels/cuda runs unchanged: launches, streams and
// events that run behind the host, and a watch on every access of every kernel. This is what the
// libraries beside it (cuBLAS, cuDNN) and tests use of it; control.h says what it looks for.
//
// How: kernels are compiled by g++ with -fsanitize=thread, which calls a function before each
// access to memory, and linked with ours of these names instead of that sanitizer's library.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "kernels/host_cuda/control.h"
#include "kernels/host_cuda/runtime_api.h"

namespace pneuma::host_cuda {

const Settings& settings();
void set_settings(const Settings& settings);  // REQUIRES that nothing runs

std::vector<Fault> faults();
void clear_faults();  // and the error that synchronising returns for them
size_t take_launches(LaunchRecord* records, size_t room);
std::vector<LaunchRecord> take_launches();
Counters counters();
size_t find_leaks();

// Work of a library in stream order. It may touch the ranges that it names and nothing else; they
// are checked like a kernel's accesses, and what it writes counts as written. Returns
// cudaErrorInvalidResourceHandle for what is no stream.
struct Range {
  const void* memory = nullptr;
  size_t bytes = 0;
};
cudaError_t enqueue(cudaStream_t stream, const char* name, std::function<void()> work,
                    std::vector<Range> reads, std::vector<Range> writes);

}  // namespace pneuma::host_cuda
