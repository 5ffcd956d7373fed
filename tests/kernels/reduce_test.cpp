// The reductions of kernels/cuda/reduce.cuh, where the kernels that use them do not go.
#include "tests/kernels/reduce.h"

#include <doctest/doctest.h>

#include <vector>

#include "kernels/host_cuda/host_cuda.h"

using namespace pneuma;

TEST_CASE("a block sums twice, each thread has both sums, in any order of warps") {
  std::vector<float> x(test::kSumThreads), sums(2 * x.size());
  float expected = 0;
  for (size_t i = 0; i < x.size(); ++i) expected += x[i] = float(i % 13);  // exact in any order
  float *device_x, *device_sums;
  const size_t bytes = x.size() * sizeof(float);
  REQUIRE(cudaMalloc(&device_x, bytes) == cudaSuccess);
  REQUIRE(cudaMalloc(&device_sums, 2 * bytes) == cudaSuccess);
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    host_cuda::Settings settings;
    settings.seed = seed;
    host_cuda::set_settings(settings);
    cudaMemcpy(device_x, x.data(), bytes, cudaMemcpyHostToDevice);
    REQUIRE(test::sum_twice(device_x, device_sums));
    cudaMemcpy(sums.data(), device_sums, 2 * bytes, cudaMemcpyDeviceToHost);
    for (size_t i = 0; i < sums.size(); ++i)
      CHECK(sums[i] == (i < x.size() ? expected : 2 * expected));
  }
  cudaFree(device_x);
  cudaFree(device_sums);
  for (const host_cuda::Fault& fault : host_cuda::faults()) FAIL_CHECK(fault.sentence);
}
