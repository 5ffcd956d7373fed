// host_cuda runs kernels as CUDA would, behind the host, and counts what they do. The faults that
// it finds are in host_cuda_faults_test.cpp.
#include "tests/kernels/host_cuda.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "tests/kernels/host_cuda_runtime.h"

using namespace pneuma::test;

TEST_CASE("threads and blocks know their places") {
  Runtime runtime;
  const Memory<int> y(2 * 3 * 4 * 5 * 6 * 7);
  CHECK(start({{2, 3, 4}, {5, 6, 7}}, indices_kernel, y.data) == cudaSuccess);
  const std::vector<int> got = y.values();
  for (size_t i = 0; i < got.size(); ++i) REQUIRE(got[i] == int(i));
}

TEST_CASE("arguments by value and constants of the program are there for kernels to read") {
  Runtime runtime;
  const Memory<float> y(80);
  Arguments arguments{y.data, {}};
  for (int i = 0; i < 40; ++i) arguments.values[i] = float(i);
  start({1, 80}, arguments_kernel, arguments);
  CHECK(y.values()[79] == 39);
  start({1, 80}, constants_kernel, y.data);
  CHECK(y.values()[79] == 128);
}

TEST_CASE("shared memory, static and dynamic") {
  Runtime runtime;
  const Memory<float> x(numbers(256));
  start({1, 256}, reverse_kernel, x.data, true);
  CHECK(x.values()[0] == 255);
  CHECK(x.values()[255] == 0);
  start({1, 32, 48 << 10}, dynamic_kernel, x.data, (48 << 10) / 4 - 1);
  CHECK(x.values()[0] == (48 << 10) / 4 - 1);
}

TEST_CASE_TEMPLATE("shared memory of any type, in kernels that are templates", T, float, __half,
                   __half2) {
  Runtime runtime({.count_traffic = true});
  std::vector<T> values(64);
  for (size_t i = 0; i < values.size(); ++i) std::memset(&values[i], int(i), sizeof(T));
  const Memory<T> x(values);
  start({1, 64}, exchange_kernel<T>, x.data);
  CHECK(record_of_last().static_shared == 65 * sizeof(T));
  const std::vector<T> got = x.values();
  for (size_t i = 0; i < 64; ++i) CHECK(!std::memcmp(&got[i], &values[(64 - i) % 64], sizeof(T)));
}

TEST_CASE("barriers that count") {
  Runtime runtime;
  const Memory<int> y(100);
  start({1, 100}, barrier_counts_kernel, y.data);
  for (int v : y.values()) CHECK(v == 34 * 10000 + 1000 + 0 + 10 + 0);
}

TEST_CASE("shuffles and votes") {
  Runtime runtime;
  const Memory<int> y(32 * 6);
  start({1, 32}, shuffle_kernel, y.data);
  const std::vector<int> got = y.values();
  for (int t = 0; t < 32; ++t) {
    auto squared = [](int lane) { return lane * lane; };
    CHECK(got[size_t(t * 6)] == 25);
    CHECK(got[size_t(t * 6 + 1)] == squared(t < 3 ? t : t - 3));
    CHECK(got[size_t(t * 6 + 2)] == squared(t > 28 ? t : t + 3));
    CHECK(got[size_t(t * 6 + 3)] == squared(t ^ 7));
    CHECK(got[size_t(t * 6 + 4)] == squared(t / 8 * 8 + 2));
    CHECK(got[size_t(t * 6 + 5)] == 0x49249249 + 1);
  }
  const Memory<float> x(numbers(1000)), sum(1);
  start({1, 256}, sum_kernel, x.data, sum.data, 1000);
  CHECK(sum.values()[0] == 499500);
}

TEST_CASE("atomics") {
  Runtime runtime;
  const Memory<int> y(std::vector<int>{0, -5, 1 << 20, -1, 0});
  const Memory<unsigned long long> z(1, 0);
  start({64, 128}, atomics_kernel, y.data, z.data);
  const std::vector<int> got = y.values();
  CHECK(got[0] == 8192 * 8191 / 2);
  CHECK(got[1] == 8191);
  CHECK(got[2] == 0);
  CHECK(got[3] >= 0);
  CHECK(got[4] == 1);
  CHECK(z.values()[0] == 8192ull << 40);
}

TEST_CASE("the seed gives the order of warps and lanes, and equal seeds equal orders") {
  auto order = [](uint64_t seed) {
    Runtime runtime({.seed = seed});
    const Memory<int> order(256), next(1, 0);
    start({.block = 128}, order_kernel, order.data, next.data);
    return order.values();
  };
  std::vector<std::vector<int>> orders;
  for (uint64_t seed : {1, 2, 3}) orders.push_back(order(seed));
  CHECK(orders[0] != orders[1]);
  CHECK(orders[1] != orders[2]);
  for (const auto& o : orders) {
    std::vector<int> first(o.begin(), o.begin() + 128), second(o.begin() + 128, o.end());
    CHECK(first != second);
    std::sort(first.begin(), first.end());
    std::sort(second.begin(), second.end());
    CHECK(first == second);
    CHECK(first[127] == 127);
  }
  CHECK(order(1) == orders[0]);
}

TEST_CASE("16 bytes are one access, also through a local variable; 8 likewise") {
  Runtime runtime({.count_traffic = true});
  const Memory<uint4> x(1000, {1, 2, 3, 4}), y(1000);
  start({4, 256}, copy_kernel, x.data, y.data, 1000);
  LaunchRecord r = record_of_last();
  CHECK(std::string(r.name) == "pneuma::test::copy_kernel");
  CHECK(r.grid[0] == 4);
  CHECK(r.block[0] == 256);
  CHECK(r.accesses[4] == 2000);
  CHECK(r.accesses[0] + r.accesses[1] + r.accesses[2] + r.accesses[3] == 0);
  CHECK(r.bytes_read == 16000);
  CHECK(r.bytes_written == 16000);
  CHECK(r.sectors == 1000);
  CHECK(r.least_sectors == 1000);
  CHECK(r.inactive_lanes == 2 * 24);  // the last warp that works; those behind touch nothing
  start({4, 256}, copy_struct_kernel, x.data, y.data, 1000);
  r = record_of_last();
  CHECK(r.accesses[4] == 2000);
  CHECK(r.accesses[2] == 0);
  start({4, 256}, copy_pairs_kernel, (const uint2*)x.data, (uint2*)y.data, 1000);
  r = record_of_last();
  CHECK(r.accesses[3] == 2000);
  start({4, 256}, copy_bytes_kernel, (const unsigned char*)x.data, (unsigned char*)y.data, 1000);
  r = record_of_last();
  CHECK(r.accesses[0] == 2000);
  CHECK(r.sectors == 64);
}

TEST_CASE(
    "sectors: of strided access as many as lanes; bytes that a block touches again count once") {
  Runtime runtime({.count_traffic = true});
  const Memory<float> x(numbers(8192)), y(8192, 0.f);
  start({4, 256}, scale_kernel, x.data, y.data, 1024, 1, 2.f);
  LaunchRecord r = record_of_last();
  CHECK(r.sectors == 2 * 1024 / 8);
  CHECK(r.least_sectors == r.sectors);
  start({4, 256}, scale_kernel, x.data, y.data, 8192, 8, 2.f);
  r = record_of_last();
  CHECK(r.sectors == 2 * 1024);
  CHECK(r.least_sectors == 2 * 1024 / 8);
  CHECK(r.bytes_read == 4096);
  for (int i = 0; i < 2; ++i) start({1, 256}, add_one_kernel, y.data, 1024);
  r = record_of_last();
  CHECK(r.bytes_read == 4096);
  CHECK(r.bytes_written == 4096);
  start({1, 32}, spin_kernel, y.data, 3);  // all lanes at one address: one sector each way
  r = record_of_last();
  CHECK(r.bytes_read == 4);
  CHECK(r.sectors == 2);
}

TEST_CASE("bank conflicts and barriers are counted") {
  Runtime runtime({.count_traffic = true});
  const Memory<float> x(numbers(1024)), y(1024);
  start({1, {32, 32}, 32 * 33 * 4}, transpose_kernel, x.data, y.data, 33);
  LaunchRecord r = record_of_last();
  CHECK(r.bank_conflicts == 0);
  CHECK(r.shared_accesses == 2048);
  CHECK(r.dynamic_shared == 32 * 33 * 4);
  CHECK(r.barriers == 1);
  start({1, {32, 32}, 32 * 32 * 4}, transpose_kernel, x.data, y.data, 32);
  r = record_of_last();
  CHECK(r.bank_conflicts == 32 * 31);
  CHECK(y.values()[1] == 32);
  start({1, 256}, reverse_kernel, x.data, true);
  r = record_of_last();
  CHECK(r.static_shared == 1024);
}

TEST_CASE("matrix products of fragments") {
  Runtime runtime;
  std::vector<__half> a(256), b(256);
  for (int i = 0; i < 256; ++i) {
    a[size_t(i)] = __half(float(i * 37 % 101) / 16 - 3);
    b[size_t(i)] = __half(float(i * 53 % 97) / 32 - 1);
  }
  const Memory<__half> da(a), db(b);
  const Memory<float> dc(256);
  for (int layouts = 0; layouts < 4; ++layouts) {
    const bool ac = layouts & 1, bc = layouts & 2;
    start({1, 32}, wmma_kernel, da.data, db.data, dc.data, ac, bc);
    const std::vector<float> got = dc.values();
    for (int i = 0; i < 16; ++i)
      for (int j = 0; j < 16; ++j) {
        double sum = 0;
        for (int k = 0; k < 16; ++k)
          sum += double(float(a[size_t(ac ? k * 16 + i : i * 16 + k)])) *
                 double(float(b[size_t(bc ? j * 16 + k : k * 16 + j)]));
        CHECK(double(got[size_t(i * 16 + j)]) == doctest::Approx(2 * sum).epsilon(1e-5));
      }
  }
}

TEST_CASE("streams run behind the host, and in order") {
  Runtime runtime;
  const Memory<float> y(1, 0.f);
  Stream stream;
  Event before, after;
  float* pinned = nullptr;
  cudaMallocHost(&pinned, 4);
  cudaEventRecord(before, stream);
  for (int i = 0; i < 20; ++i) start({.stream = stream}, spin_kernel, y.data, 1000000);
  cudaMemcpyAsync(pinned, y.data, 4, cudaMemcpyDeviceToHost, stream);
  cudaEventRecord(after, stream);
  CHECK(cudaStreamQuery(stream) == cudaErrorNotReady);
  CHECK(cudaEventQuery(after) == cudaErrorNotReady);
  CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
  CHECK(*pinned == 20);
  CHECK(cudaEventQuery(after) == cudaSuccess);
  float ms = 0;
  CHECK(cudaEventElapsedTime(&ms, before, after) == cudaSuccess);
  CHECK(ms > 0);
  cudaFreeHost(pinned);
}

TEST_CASE("pageable memory is read at the call, pinned memory when its turn comes") {
  Runtime runtime;
  const Memory<float> y(1, 0.f), z(1, 0.f), busy(1, 0.f);
  Stream stream;
  float *pinned = nullptr, pageable = 1;
  cudaMallocHost(&pinned, 4);
  *pinned = 1;
  start({.stream = stream}, spin_kernel, busy.data, 20000000);
  cudaMemcpyAsync(y.data, &pageable, 4, cudaMemcpyHostToDevice, stream);
  cudaMemcpyAsync(z.data, pinned, 4, cudaMemcpyHostToDevice, stream);
  pageable = *pinned = 2;
  cudaStreamSynchronize(stream);
  CHECK(y.values()[0] == 1);
  CHECK(z.values()[0] == 2);
  cudaFreeHost(pinned);
}

TEST_CASE("a library's work runs in stream order, with its memory checked") {
  Runtime runtime({.count_traffic = true});
  const Memory<float> x(4), y(4);
  auto twice = [&] {
    for (int i = 0; i < 4; ++i) y.data[i] = 2 * x.data[i];
  };
  cudaMemset(x.data, 0, 16);
  CHECK(enqueue(nullptr, "library", twice, {{x.data, 16}}, {{y.data, 16}}) == cudaSuccess);
  const LaunchRecord r = record_of_last();
  CHECK(r.bytes_read == 16);
  CHECK(y.values()[3] == 0);
  const Memory<float> z(4);
  enqueue(nullptr, "library", [] {}, {{z.data, 16}}, {{y.data, 16}});
  expect_fault(FaultKind::unwritten, cudaErrorLaunchFailure, {"library: reads 16 bytes"});
  enqueue(nullptr, "library", [] { FAIL("must not run"); }, {}, {{y.data, 20}});
  expect_fault(FaultKind::out_of_bounds, cudaErrorIllegalAddress, {"library: writes 20 bytes"});
}

TEST_CASE("what a launch may not ask for") {
  Runtime runtime;
  const Memory<float> y(1, 0.f);
  auto with = [&](dim3 grid, dim3 block, size_t shared) {
    return start({grid, block, shared}, write_kernel, y.data, int64_t(0), 1.f);
  };
  CHECK(with(0, 1, 0) == cudaErrorInvalidConfiguration);
  CHECK(with(1, 1025, 0) == cudaErrorInvalidConfiguration);
  CHECK(with(1, {1, 1, 65}, 0) == cudaErrorInvalidConfiguration);
  CHECK(with({1, 65536}, 1, 0) == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(with(1, 1, (48 << 10) + 1) == cudaErrorInvalidValue);
  CHECK(cudaFuncSetAttribute(write_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10) ==
        cudaSuccess);
  CHECK(with(1, 1, 64 << 10) == cudaSuccess);
  cudaDeviceSynchronize();
  CHECK(cudaFuncSetAttribute(write_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 1 << 20) ==
        cudaErrorInvalidValue);
  CHECK(start({.stream = cudaStream_t(&runtime)}, add_one_kernel, y.data, 1) ==
        cudaErrorInvalidResourceHandle);
  void* memory = nullptr;
  CHECK(cudaMalloc(&memory, size_t(1) << 50) == cudaErrorMemoryAllocation);
  CHECK(cudaMemcpy(y.data, y.data, 4, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(std::string(cudaGetErrorName(cudaErrorIllegalAddress)) == "cudaErrorIllegalAddress");
}

TEST_CASE("counters: allocations, waits, launches; and the table that other programs find") {
  Runtime runtime;
  const HostCudaControl* control = pneuma_host_cuda();
  Counters before, after;
  const Memory<float> y(1, 0.f);
  control->counters(&before);
  start({}, add_one_kernel, y.data, 1);
  cudaDeviceSynchronize();
  control->counters(&after);
  CHECK(after.allocations == before.allocations);
  CHECK(after.launches == before.launches + 1);
  CHECK(after.host_synchronizations == before.host_synchronizations + 1);
  start({}, write_kernel, y.data, int64_t(1), 1.f);
  cudaDeviceSynchronize();
  Fault fault;
  CHECK(control->faults(&fault, 1) == 1);
  control->clear_faults();
  CHECK(control->faults(&fault, 1) == 0);
}
