// host_cuda runs kernels as CUDA would, and finds each kind of fault where one is planted.
#include "kernels/host_cuda/host_cuda.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "tests/kernels/host_cuda.h"

using namespace pneuma::host_cuda;
using namespace pneuma::test;

namespace {

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
void expect_fault(FaultKind kind, cudaError_t error, std::vector<std::string> words) {
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

LaunchRecord record_of_last() {
  cudaDeviceSynchronize();
  const std::vector<LaunchRecord> all = take_launches();
  REQUIRE(!all.empty());
  return all.back();
}

std::vector<float> numbers(int n) {
  std::vector<float> v(size_t(n), 0.f);
  std::iota(v.begin(), v.end(), 0.f);
  return v;
}

}  // namespace

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

TEST_CASE("checks can be switched off, each") {
  Runtime runtime({.checks = check_all & ~uint32_t(check_unwritten)});
  const Memory<float> x(2), y(2);
  start({}, read_kernel, (const float*)x.data, int64_t(1), y.data);
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
}
