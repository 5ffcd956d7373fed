// host_cuda finds each kind of fault where one is planted, and none in the correct twin beside it.
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tests/kernels/host_cuda.h"
#include "tests/kernels/host_cuda_runtime.h"

using namespace pneuma::test;

TEST_CASE("faults: out of bounds, behind, before and far away; use after free; host memory") {
  Runtime runtime;
  Memory<float> y(10, 0.f);
  start({}, write_kernel, y.data, int64_t(9), 1.f);
  start({}, write_kernel, y.data, int64_t(10), 1.f);
  expect_fault(FaultKind::out_of_bounds, cudaErrorIllegalAddress,
               {"pneuma::test::write_kernel: block (0,0,0), thread (0,0,0) writes 4 bytes",
                "0 bytes behind the end of allocation", "of 40 bytes"});
  start({}, write_kernel, y.data, int64_t(-1), 1.f);
  expect_fault(FaultKind::out_of_bounds, cudaErrorIllegalAddress, {"4 bytes before allocation"});
  start({}, write_kernel, y.data, int64_t(1) << 20, 1.f);
  expect_fault(FaultKind::out_of_bounds, cudaErrorIllegalAddress, {"behind the end"});
  CHECK(y.values()[9] == 1);  // and the bad writes did not happen
  start({.block = 64}, read_kernel, (const float*)y.data, int64_t(12), y.data);
  expect_fault(FaultKind::out_of_bounds, cudaErrorIllegalAddress, {"reads 4 bytes"});

  float* gone = nullptr;
  cudaMalloc(&gone, 4);
  cudaFree(gone);
  start({}, write_kernel, gone, int64_t(0), 1.f);
  expect_fault(FaultKind::use_after_free, cudaErrorIllegalAddress, {"which was freed"});
  static float of_host;
  start({}, write_kernel, &of_host, int64_t(0), 1.f);
  expect_fault(FaultKind::host_memory, cudaErrorIllegalAddress, {"memory of the host"});
  CHECK(of_host == 0);
  CHECK(cudaMemcpy(y.data, numbers(11).data(), 44, cudaMemcpyHostToDevice) ==
        cudaErrorIllegalAddress);
  expect_fault(FaultKind::out_of_bounds, cudaErrorIllegalAddress, {"copy to the device"});
  y.data[10] = 3;  // unseen
  expect_fault(FaultKind::out_of_bounds, cudaErrorIllegalAddress, {"just outside of allocation"});
}

TEST_CASE("faults: misaligned") {
  Runtime runtime;
  const Memory<char> x(32, 0);
  const Memory<double> y(1);
  start({}, read_double_kernel, (const char*)x.data + 8, y.data);
  start({}, read_double_kernel, (const char*)x.data + 4, y.data);
  expect_fault(FaultKind::misaligned, cudaErrorMisalignedAddress, {"not a multiple of 8"});
  start({}, copy_kernel, (const uint4*)(x.data + 8), (uint4*)x.data, 1);
  expect_fault(FaultKind::misaligned, cudaErrorMisalignedAddress, {"not a multiple of 16"});
}

TEST_CASE("faults: never written, device, copies, shared") {
  Runtime runtime;
  const Memory<float> x(4), y(4), z(32);
  start({}, write_kernel, x.data, int64_t(0), 1.f);
  start({}, read_kernel, (const float*)x.data, int64_t(0), y.data);
  start({}, read_kernel, (const float*)x.data, int64_t(1), y.data);
  expect_fault(FaultKind::unwritten, cudaErrorLaunchFailure, {"read_kernel", "at byte 4"});
  x.values();
  expect_fault(FaultKind::unwritten, cudaErrorLaunchFailure, {"copy to the host", "at byte 4"});
  cudaMemcpy(y.data, x.data, 16, cudaMemcpyDeviceToDevice);  // carries what is known along
  start({}, read_kernel, (const float*)y.data, int64_t(0), z.data);
  start({}, read_kernel, (const float*)y.data, int64_t(2), z.data);
  expect_fault(FaultKind::unwritten, cudaErrorLaunchFailure, {"at byte 8"});
  cudaMemset(x.data, 0, 16);
  x.values();
  start({1, 32}, unwritten_shared_kernel, z.data, true);
  start({1, 32}, unwritten_shared_kernel, z.data, false);
  expect_fault(FaultKind::unwritten, cudaErrorLaunchFailure, {"thread (24,0,0)", "values byte 28"});
}

TEST_CASE("faults: shared memory, races and bounds") {
  Runtime runtime;
  const Memory<float> x(numbers(256));
  start({1, 256}, reverse_kernel, x.data, true);
  start({1, 256}, reverse_kernel, x.data, false);
  cudaDeviceSynchronize();
  bool race = false;
  for (const Fault& f : faults())  // whoever reads early also reads what nobody wrote
    if (f.kind == FaultKind::shared_race)
      race = std::strstr(f.sentence, "turned byte");
    else
      CHECK(int(f.kind) == int(FaultKind::unwritten));
  CHECK(race);
  clear_faults();
  start({1, 32}, warp_order_kernel, x.data, true);
  start({1, 32}, warp_order_kernel, x.data, true);
  cudaDeviceSynchronize();
  start({1, 32}, warp_order_kernel, x.data, false);
  cudaDeviceSynchronize();
  race = false;
  for (const Fault& f : faults()) race = race || f.kind == FaultKind::shared_race;
  CHECK(race);
  clear_faults();
  start({1, 32}, static_bounds_kernel, x.data, 7);
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
  start({1, 32}, static_bounds_kernel, x.data, 8);
  expect_fault(FaultKind::out_of_bounds, cudaErrorIllegalAddress, {"values byte 32 of 32"});
  start({1, 32}, static_bounds_kernel, x.data, -1);  // whichever lies before it
  expect_fault(FaultKind::out_of_bounds, cudaErrorIllegalAddress, {"byte 252 of 32"});
  start({1, 32}, static_bounds_kernel, x.data, -(1 << 20));
  expect_fault(FaultKind::host_memory, cudaErrorIllegalAddress, {"memory of the host"});
  start({1, 32, 64}, dynamic_kernel, x.data, 15);
  start({1, 32, 64}, dynamic_kernel, x.data, 16);
  expect_fault(FaultKind::out_of_bounds, cudaErrorIllegalAddress, {"dynamic shared memory of 64"});
}

TEST_CASE("faults: divergent barriers") {
  Runtime runtime;
  const Memory<int> y(64);
  start({1, 64}, divergent_kernel, y.data, 0);
  for (int v : y.values()) CHECK((v == 0 || v == 32));
  start({1, 64}, divergent_kernel, y.data, 1);
  expect_fault(FaultKind::divergent_barrier, cudaErrorLaunchFailure,
               {"waits at the barrier in line"});
  start({1, 64}, divergent_kernel, y.data, 2);
  expect_fault(FaultKind::divergent_barrier, cudaErrorLaunchFailure,
               {"1 have returned without it"});
  start({1, 64}, divergent_kernel, y.data, 3);
  expect_fault(FaultKind::divergent_barrier, cudaErrorLaunchFailure, {"lanes"});
}

TEST_CASE("faults: two streams on the same memory, with and without an event") {
  Runtime runtime;
  Memory<float> x(1, 0.f), y(1, 0.f);
  Stream a, b;
  Event event;
  auto write_a = [&] { start({.stream = a}, write_kernel, x.data, int64_t(0), 1.f); };
  auto read_b = [&] {
    start({.stream = b}, read_kernel, (const float*)x.data, int64_t(0), y.data);
  };
  SUBCASE("an event orders them") {
    write_a();
    cudaEventRecord(event, a);
    cudaStreamWaitEvent(b, event);
    read_b();
    CHECK(cudaDeviceSynchronize() == cudaSuccess);
  }
  SUBCASE("the host orders them") {
    write_a();
    cudaStreamSynchronize(a);
    read_b();
    cudaStreamSynchronize(b);
    write_a();
    CHECK(cudaDeviceSynchronize() == cudaSuccess);
  }
  SUBCASE("read after write") {
    write_a();
    cudaEventRecord(event, b);  // of the wrong stream
    cudaStreamWaitEvent(b, event);
    read_b();
    expect_fault(FaultKind::dependency, cudaErrorLaunchFailure, {"nothing orders the two"});
  }
  SUBCASE("write after read") {
    read_b();
    write_a();
    expect_fault(FaultKind::dependency, cudaErrorLaunchFailure, {"of another stream uses"});
  }
  SUBCASE("copies count, pinned memory counts") {
    float* pinned = nullptr;
    cudaMallocHost(&pinned, 4);
    cudaMemcpyAsync(pinned, x.data, 4, cudaMemcpyDeviceToHost, a);
    cudaMemcpyAsync(y.data, pinned, 4, cudaMemcpyHostToDevice, b);
    expect_fault(FaultKind::dependency, cudaErrorLaunchFailure, {"pinned allocation"});
    cudaFreeHost(pinned);
  }
  SUBCASE("the default stream waits for blocking streams, and they for it") {
    Stream blocking(cudaStreamDefault);
    start({.stream = blocking}, write_kernel, x.data, int64_t(0), 1.f);
    start({}, read_kernel, (const float*)x.data, int64_t(0), y.data);
    start({.stream = blocking}, write_kernel, x.data, int64_t(0), 2.f);
    CHECK(cudaDeviceSynchronize() == cudaSuccess);
    CHECK(y.values()[0] == 1);
  }
  SUBCASE("freeing waits, as the real one does") {
    float* memory = nullptr;
    cudaMalloc(&memory, 4);
    start({.stream = a}, write_kernel, memory, int64_t(0), 1.f);
    cudaFree(memory);
    CHECK(cudaStreamQuery(a) == cudaSuccess);
    CHECK(faults().empty());
  }
  SUBCASE("freeing waits for a stream that was destroyed, too") {
    float* memory = nullptr;
    cudaMalloc(&memory, 4);
    cudaMemset(memory, 0, 4);
    cudaDeviceSynchronize();
    {
      Stream gone;
      start({.stream = gone}, spin_kernel, memory, 20000000);
    }
    cudaFree(memory);
    CHECK(faults().empty());
  }
  SUBCASE("the host orders them by an event, or by asking for it until it is over") {
    for (const bool ask : {false, true}) {
      write_a();
      cudaEventRecord(event, a);
      if (ask)
        while (cudaEventQuery(event) == cudaErrorNotReady) continue;
      else
        cudaEventSynchronize(event);
      read_b();
      CHECK(cudaStreamSynchronize(b) == cudaSuccess);
    }
  }
}

TEST_CASE("faults: the error's text is the first one's sentence, until faults are cleared") {
  Runtime runtime;
  const Memory<float> x(4), y(4, 0.f);
  start({}, read_kernel, (const float*)x.data, int64_t(1), y.data);
  cudaDeviceSynchronize();
  start({}, write_kernel, y.data, int64_t(4), 1.f);
  const cudaError_t error = cudaDeviceSynchronize();
  CHECK(error == cudaErrorLaunchFailure);
  CHECK(faults().size() == 2);
  const std::string said = cudaGetErrorString(error);
  for (const char* word : {"read_kernel: block (0,0,0), thread (0,0,0) reads 4 bytes",
                           "at byte 4 of allocation", "never written"})
    CHECK_MESSAGE(said.find(word) != said.npos, said);
  CHECK(std::string(cudaGetErrorString(cudaErrorInvalidValue)) == "invalid argument");
  clear_faults();
  CHECK(std::string(cudaGetErrorString(error)) == "unspecified launch failure");
}

TEST_CASE("faults: leaks") {
  Runtime runtime;
  CHECK(find_leaks() == 0);
  void* memory = nullptr;
  cudaMalloc(&memory, 100);
  {
    Stream stream;
    CHECK(find_leaks() == 2);
    CHECK(faults().size() == 2);
  }
  cudaFree(memory);
  clear_faults();
  CHECK(find_leaks() == 0);
}

TEST_CASE("checks can be switched off, each") {
  Runtime runtime({.checks = check_all & ~uint32_t(check_unwritten)});
  const Memory<float> x(2), y(2);
  start({}, read_kernel, (const float*)x.data, int64_t(1), y.data);
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
}
