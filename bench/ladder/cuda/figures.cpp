// The ladder on a GPU: the time of a rung, the least of several runs.
#include <cuda_runtime.h>

#include <algorithm>
#include <stdexcept>

#include "bench/ladder/ladder.h"

namespace pneuma::ladder {
namespace {

void require(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

void open() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0)
    throw std::runtime_error("there is no GPU that answers; --device host_cuda counts without one");
}

// At most kRuns of them, and no more once they have taken kEnough together: first rungs are slow.
constexpr int kRuns = 50;
constexpr float kEnough = 500;  // ms

Figures measure(const Ladder& ladder, const Rung& rung) {
  cudaEvent_t begin, end;
  require(cudaEventCreate(&begin));
  require(cudaEventCreate(&end));
  Figures f;
  ladder.reset();
  run(ladder, rung);
  f.check = ladder.check(rung);
  float total = 0, best = 0;
  for (int i = 0; i < kRuns && total < kEnough; ++i) {
    require(cudaEventRecord(begin, nullptr));
    run(ladder, rung);
    require(cudaEventRecord(end, nullptr));
    require(cudaEventSynchronize(end));
    float milliseconds = 0;
    require(cudaEventElapsedTime(&milliseconds, begin, end));
    total += milliseconds;
    best = i == 0 ? milliseconds : std::min(best, milliseconds);
  }
  require(cudaEventDestroy(begin));
  require(cudaEventDestroy(end));
  f.milliseconds = double(best);
  return f;
}

}  // namespace

const Machine machine{"cuda", false, open, measure};

}  // namespace pneuma::ladder
