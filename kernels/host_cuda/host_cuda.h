// A small CUDA runtime for the CPU, in which kernels/cuda runs unchanged, with a watch on every
// access of every kernel.
//
// include/ has headers with the names of CUDA's own (runtime_api.h, device_side.h, vectors.h and
// sixteen_bits.h are what they consist of), so g++ compiles the .cu files as C++. It does so with
// -fsanitize=thread, which calls a function before each access to memory; tsan.cpp has ours of
// these names, in place of that sanitizer's library. What happens to a launch, file by file:
//
//   stream.cpp     queues it; a stream is a thread that works behind the host, an event its place
//   launch.cpp     checks it, and deals its blocks to threads of the system in a seeded order
//   scheduler.cpp  runs a block, whose threads are fibers: they change only where one must wait, at
//                  a barrier or for lanes of its warp; `__shared__` is thread_local
//   access.cpp     judges each access: whose memory is it, was it written, who touched it since?
//   memory.cpp     keeps a state for each byte of the device, and guard zones around allocations
//   timeline.cpp   knows what comes before what, by streams, events and waits of the host: that
//                  nothing orders two uses of memory is a fault, whatever their timing was
//   traffic.cpp    counts sectors, bank conflicts and so on (LaunchRecord), where asked to
//   module.cpp     reads kernels' names and the bounds of shared arrays from the plugin's symbols
//   faults.cpp     lists what was found; the first is also what the next synchronisation returns
//
// copy.cpp and device.cpp are the rest of the runtime; cublas.cpp, cudnn.cpp and wmma.cpp stand in
// for NVIDIA's libraries. control.h is what a program can set and ask.
//
// What it cannot see: an index that leaves one shared array and lands within another; 16 bytes at
// once from a shared array that nvcc aligns less; the host's own use of pinned memory; a race in
// global memory between blocks of one launch, or of an atomic with a plain access. Streams are told
// apart by 256 bytes, and of more than three streams that read the same 256, the first is
// forgotten. Timing, caches and the weak order of a GPU's memory are not imitated.
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
