// What the files of the runtime share: settings, counters, the last error.
#pragma once

#include <atomic>

#include "kernels/host_cuda/control.h"
#include "kernels/host_cuda/runtime_api.h"

namespace pneuma::host_cuda {

const Settings& settings();

struct Counting {
  std::atomic<int64_t> allocations, frees, pinned_allocations, host_synchronizations, launches,
      copies;
};
Counting& counting();
uint64_t next_launch();  // counted since the settings were last set: part of the seed

cudaError_t remember(cudaError_t error);  // for cudaGetLastError; returns it

// cudaFree waits for all that was asked of the device, as the real one does.
void finish_before_free();

size_t leaked_allocations();
size_t leaked_streams_and_events();

}  // namespace pneuma::host_cuda
