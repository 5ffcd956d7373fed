// Every case of op_cases.h: the oracle against PyTorch, gradients by differences, backends against
// the oracle, equal bits, stray writes, and the list of kernels that no case reaches.
#include "tests/ops/op_cases.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/half.h"
#include "tests/devices.h"
#include "tests/host_cuda_watch.h"

namespace pneuma::testing {
namespace {

const Backend& backend(const std::string& name) { return *device_named(name); }

// A backend's device whose blocks stand between guards, and begin as NaN: a stray write and an
// element that nobody wrote both show.
constexpr double kHostCudaSeconds = 240;  // of processors' time, for all cases
// In 16 bits: an op rounds its result, and what it kept for its gradient; the gradient of a sigmoid
// near 1 cancels, which takes the rest. Two sums in f32 of one thing may fall to two sides of a
// tie, so that a device's number is the neighbour of the emulation's.
constexpr double kRoundings = 3, kNeighbour = 1;
constexpr size_t kGuard = 64;
constexpr uint8_t kGuardByte = 0xA5;
const Device* guarded_device = nullptr;
std::map<void*, size_t> guarded_blocks;
int64_t stray_writes = 0;

Status guarded_allocate(size_t bytes, void** memory) {
  void* block = nullptr;
  const Status status = guarded_device->allocate(bytes + 2 * kGuard, &block);
  if (!status) return status;
  std::memset(block, kGuardByte, bytes + 2 * kGuard);
  *memory = static_cast<uint8_t*>(block) + kGuard;
  std::memset(*memory, 0xFF, bytes);
  guarded_blocks[*memory] = bytes;
  return {};
}

Status guarded_release(void* memory) {
  if (!memory) return {};
  uint8_t* block = static_cast<uint8_t*>(memory) - kGuard;
  const size_t bytes = guarded_blocks.at(memory);
  for (size_t i = 0; i < kGuard; ++i)
    stray_writes += (block[i] != kGuardByte) + (block[kGuard + bytes + i] != kGuardByte);
  guarded_blocks.erase(memory);
  return guarded_device->release(block);
}

// Where the host cannot write to the device's memory, the device is on its own.
Backend guarded(const Backend& b) {
  DeviceProperties properties;
  REQUIRE(b.device.properties(&properties));
  Backend g = b;
  if (!properties.host_readable) return g;
  guarded_device = &b.device;
  g.device.allocate = guarded_allocate;
  g.device.release = guarded_release;
  return g;
}

// `activation`: what the inputs are rounded to; the policy's own, or another one for the oracle.
std::vector<Result> run_case(const Backend& b, const Precision& precision, const OpCase& c, Use use,
                             Dtype activation = Dtype::f32) {
  Context ctx(b, precision);
  return execute(ctx, c, use, draw_inputs(c, activation), true, activation);
}

double eps_of(Dtype dtype) {
  return dtype == Dtype::f16    ? Half::eps
         : dtype == Dtype::bf16 ? Bfloat16::eps
         : dtype == Dtype::f64  ? 0x1p-52
                                : 0x1p-23;
}

// The policies that every backend computes in.
std::vector<const Precision*> policies() { return {&float32(), &float16(), &bfloat16()}; }
std::vector<std::string> backends() {
  std::vector<std::string> names = {"reference"};
  for (const Backend* device : devices()) names.push_back(device->name);
  return names;
}

bool is_gradient(const Result& r) { return r.what.rfind("gradient", 0) == 0; }

double largest(const std::vector<double>& values) {
  double m = 0;
  for (const double v : values)
    if (std::isfinite(v)) m = std::max(m, std::fabs(v));
  return m;
}

// Largest error of any result, in eps of its dtype, relative to the largest magnitude of that
// result. NaN and infinity must stand in the same places.
double error(const std::vector<Result>& got, const std::vector<Result>& truth, std::string* where) {
  REQUIRE(got.size() == truth.size());
  double worst = 0;
  for (size_t k = 0; k < got.size(); ++k) {
    const double magnitude = largest(truth[k].values);
    for (size_t i = 0; i < truth[k].values.size(); ++i) {
      const double g = got[k].values[i], t = truth[k].values[i];
      double e = std::fabs(g - t) / (magnitude > 0 ? magnitude : 1) / eps_of(got[k].dtype);
      if (std::isnan(t) || std::isinf(t))
        e = std::isnan(g) == std::isnan(t) && (g == t || t != t) ? 0 : INFINITY;
      if (!(e <= worst)) {
        worst = std::isnan(e) ? INFINITY : e;
        *where = fmt::format("{}[{}] is {:.9g}, the oracle's {:.9g}", got[k].what, i, g, t);
      }
    }
  }
  return worst;
}

bool equal_bits(const Result& a, const Result& b) {
  return a.values.size() == b.values.size() &&
         !std::memcmp(a.values.data(), b.values.data(), a.values.size() * sizeof(double));
}

// Each result within the tolerance of its case; one of 16 bits, whose sums are kept in f32, within
// `rounded` eps whatever the case.
void check_results(const OpCase& c, const std::vector<Result>& got,
                   const std::vector<Result>& truth, double rounded, const std::string& of) {
  REQUIRE(got.size() == truth.size());
  for (size_t k = 0; k < got.size(); ++k) {
    std::string where;
    const double worst = error({got[k]}, {truth[k]}, &where);
    const double allowed =
        size_of(got[k].dtype) == 2 ? std::min(rounded, c.tolerance) : c.tolerance;
    CHECK_MESSAGE(worst <= allowed, where << ", " << of << ": " << worst << " eps");
    if (std::getenv("PNEUMA_SHOW_ERRORS"))
      MESSAGE(std::string(name_of(got[k].dtype))
              << " " << got[k].what << ", " << of << ": " << worst << " of " << allowed << " eps");
  }
}

bool has_gap(const OpCase& c, const Backend& b) {
  return std::find(c.gaps.begin(), c.gaps.end(), b.name) != c.gaps.end();
}

bool has_thread_gap(const OpCase& c, const Backend& b, const Result& r) {
  return std::any_of(c.thread_gaps.begin(), c.thread_gaps.end(),
                     [&](const auto& gap) { return gap.first == b.name && gap.second == r.what; });
}

// The cpu backend's path, where one is forced and this machine has it not.
bool isa_missing() {
  const char* isa = std::getenv("PNEUMA_CPU_ISA");
  if (!isa) return false;
  const std::string name = isa;
  const bool missing = (name == "avx2" && !__builtin_cpu_supports("avx2")) ||
                       (name == "avx512" && !__builtin_cpu_supports("avx512f"));
  if (missing) MESSAGE("SKIPPED: this machine has no " << name);
  return missing;
}

}  // namespace

// tests/golden/op_cases.json has three numbers for each result, made by make_op_cases.py, which
// reads the inputs from the file that $PNEUMA_DUMP_OP_CASES names.
TEST_CASE("the reference in f64 computes what PyTorch in f64 does") {
  if (const char* file = std::getenv("PNEUMA_DUMP_OP_CASES")) {
    nlohmann::json all;
    for (const OpCase& c : op_cases()) {
      nlohmann::json inputs;
      const std::vector<std::vector<double>> values = draw_inputs(c);
      for (size_t k = 0; k < c.inputs.size(); ++k) {
        const Shape& s = c.inputs[k].shape;
        inputs.push_back({{"shape", std::vector<int64_t>(s.dims, s.dims + s.rank)},
                          {"gradient", c.inputs[k].gradient},
                          {"bytes", c.inputs[k].bytes},
                          {"values", values[k]}});
      }
      const auto y = run_case(backend("reference"), float64(), c, Use::once)[0].values;
      all.push_back(
          {{"name", c.name}, {"inputs", inputs}, {"dy", output_gradient(int64_t(y.size()))}});
    }
    std::ofstream(file) << all;
    return;
  }
  const std::string path = std::string(PNEUMA_SOURCE_DIR) + "/tests/golden/op_cases.json";
  std::ifstream stream(path);
  const nlohmann::json golden = nlohmann::json::parse(stream);
  for (const OpCase& c : op_cases()) {
    CAPTURE(c.name);
    REQUIRE_MESSAGE(golden.contains(c.name), "run tests/golden/make_op_cases.py");
    for (const Result& r : run_case(backend("reference"), float64(), c, Use::once)) {
      CAPTURE(r.what);
      REQUIRE_MESSAGE(golden[c.name].contains(r.what), "run tests/golden/make_op_cases.py");
      const std::vector<double> expected = golden[c.name][r.what];
      double norm = 0, first = 0, second = 0;
      for (size_t i = 0; i < r.values.size(); ++i) {
        if (!std::isfinite(r.values[i])) continue;
        norm += r.values[i] * r.values[i];
        first += r.values[i] * std::cos(double(i));
        second += r.values[i] * std::sin(double(2 * i + 1));
      }
      norm = std::sqrt(norm);
      const double tolerance = 1e-10 * std::max(norm, 1e-300);
      CHECK(std::fabs(norm - expected[0]) <= tolerance);
      CHECK(std::fabs(first - expected[1]) <= tolerance);
      CHECK(std::fabs(second - expected[2]) <= tolerance);
    }
  }
}

TEST_CASE("gradients are the differences of the forward pass, in f64 on the reference") {
  constexpr int kSamples = 20;
  constexpr double kStep = 1e-6, kTolerance = 1e-7;
  for (const OpCase& c : op_cases()) {
    if (!c.smooth) continue;
    for (const Use use : {Use::once, Use::twice}) {
      CAPTURE(c.name);
      Context ctx(backend("reference"), float64());
      std::vector<std::vector<double>> inputs = draw_inputs(c);
      const std::vector<Result> results = execute(ctx, c, use, inputs);
      const std::vector<double> dy = output_gradient(int64_t(results[0].values.size()));
      for (const Result& r : results) {
        if (!is_gradient(r)) continue;
        std::vector<double>& x = inputs[size_t(std::stoi(r.what.substr(9)))];
        const double scale = std::max(largest(r.values), 1e-3);
        Random random(9, Purpose::test);
        for (int s = 0; s < kSamples; ++s) {
          const size_t i = random.below(uint32_t(x.size()));
          const double kept = x[i];
          double difference = 0, magnitude = 0;
          for (const double sign : {1.0, -1.0}) {
            x[i] = kept + sign * kStep;
            const std::vector<double> y = execute(ctx, c, use, inputs, false)[0].values;
            for (size_t k = 0; k < y.size(); ++k) {
              difference += sign * y[k] * dy[k];
              magnitude += std::fabs(y[k] * dy[k]);
            }
          }
          x[i] = kept;
          const double slope = difference / (2 * kStep) * c.gradient_scale;
          const double noise = 1e-15 * magnitude / kStep * c.gradient_scale;  // of that division
          CHECK_MESSAGE(
              std::fabs(slope - r.values[i]) <= kTolerance * scale + noise,
              r.what << "[" << i << "] is " << r.values[i] << ", the difference " << slope);
        }
      }
    }
  }
}

TEST_CASE("every backend follows the oracle, writes all of its results and nothing beside them") {
  if (isa_missing()) return;
  for (const std::string& name : backends()) {
    const Backend b = guarded(backend(name));
    const std::clock_t begin = std::clock();
    for (const OpCase& c : op_cases()) {
      for (const Precision* precision : policies()) {
        for (const Use use : {Use::once, Use::twice}) {
          CAPTURE(name);
          CAPTURE(c.name);
          CAPTURE(std::string(precision->name));
          const Dtype activation = precision->activation();
          if (has_gap(c, b)) {
            CHECK_THROWS_AS(run_case(b, *precision, c, use, activation), Error);
            continue;
          }
          HostCudaWatch watch(backend(name));
          std::vector<Result> got;
          CHECK_NOTHROW(got = run_case(b, *precision, c, use, activation));
          REQUIRE(watch.fault() == "");
          check_results(c, got, run_case(backend("reference"), float64(), c, use, activation),
                        kRoundings, "from the oracle");
          if (size_of(activation) == 2 && name != "reference") {
            const std::vector<Result> emulation =
                run_case(backend("reference"), *precision, c, use, activation);
            check_results(c, got, emulation, kNeighbour, "from the emulation");
            for (size_t k = 0; c.exact && k < got.size(); ++k) {
              CAPTURE(got[k].what);
              CHECK(equal_bits(got[k], emulation[k]));
            }
          }
          CHECK(stray_writes == 0);
          CHECK(guarded_blocks.empty());
        }
      }
    }
    if (name != "host_cuda") continue;
    CHECK(double(std::clock() - begin) / CLOCKS_PER_SEC <= kHostCudaSeconds);
    CHECK(HostCudaWatch(backend(name)).leaks() == 0);
  }
}

TEST_CASE("equal calls give equal bits, for any number of threads") {
  if (isa_missing()) return;
  const Backend& b = backend("cpu");
  for (const OpCase& c : op_cases())
    for (const Precision* precision : policies()) {
      if (has_gap(c, b)) continue;
      CAPTURE(c.name);
      CAPTURE(std::string(precision->name));
      std::vector<Result> first;
      for (const int threads : {2, 2, 1}) {
        CAPTURE(threads);
        REQUIRE(b.device.set_threads(threads));
        const std::vector<Result> again =
            run_case(b, *precision, c, Use::twice, precision->activation());
        if (first.empty()) first = again;
        for (size_t k = 0; k < first.size(); ++k) {
          if (threads != 2 && has_thread_gap(c, b, first[k])) continue;
          CAPTURE(first[k].what);
          CHECK(equal_bits(first[k], again[k]));
        }
      }
    }
}

// Every case on host_cuda, warps in another order each time: equal bits, no fault.
void check_warp_orders(int orders) {
  const std::vector<const Backend*> all = devices();
  const auto found =
      std::ranges::find(all, std::string("host_cuda"), [](const Backend* b) { return b->name; });
  if (found == all.end()) {
    MESSAGE("SKIPPED: this build has no host_cuda");
    return;
  }
  const Backend& b = **found;
  HostCudaWatch watch(b);
  for (const OpCase& c : op_cases()) {
    if (has_gap(c, b)) continue;
    for (const Precision* precision : policies()) {
      CAPTURE(c.name);
      CAPTURE(std::string(precision->name));
      std::vector<Result> first;
      for (int order = 0; order <= orders; ++order) {
        CAPTURE(order);
        host_cuda::Settings settings = watch.before();
        settings.seed += uint64_t(order);
        settings.threads = 1 + order % 2;
        watch.set(settings);
        const auto again = run_case(b, *precision, c, Use::twice, precision->activation());
        if (order == 0) first = again;
        for (size_t k = 0; k < first.size(); ++k) {
          CAPTURE(first[k].what);
          CHECK(equal_bits(first[k], again[k]));
        }
      }
    }
  }
  CHECK(watch.fault() == "");
}
TEST_CASE("another order of warps gives equal bits") { check_warp_orders(1); }
TEST_CASE("five orders of warps give equal bits [slow]") { check_warp_orders(5); }

TEST_CASE("fused batch norm is the composition of its parts") {
  const Precision& precision = float64();
  const auto parts = [](const OpCase& fused, bool add) {
    OpCase c = fused;
    c.run = [add](Context& ctx, const std::vector<Tensor>& in) {
      Tensor y = ops::batch_norm(ctx, in[0], {in[2], in[3], in[4], in[5]});
      if (add) y = ops::add(ctx, y, in[1]);
      return std::vector<Tensor>{ops::relu(ctx, y)};
    };
    return c;
  };
  int compared = 0;
  for (const OpCase& c : op_cases()) {
    if (c.name != "batch_norm_relu [2,5,7,3]" && c.name != "batch_norm_add_relu [2,5,7,3]")
      continue;
    const bool add = c.name.find("add") != std::string::npos;
    std::string where;
    const Backend& b = backend("reference");
    CHECK_MESSAGE(error(run_case(b, precision, c, Use::once),
                        run_case(b, precision, parts(c, add), Use::once), &where) <= 450,
                  where);
    ++compared;
  }
  CHECK(compared == 2);
}

TEST_CASE("every kernel is reached by a case") {
  std::set<std::string> reached;
  for (const OpCase& c : op_cases()) {
    Context ctx(backend("reference"), float32());
    ctx.trace = [&](const Launch& launch) { reached.insert(launch.kernel); };
    execute(ctx, c, Use::once, draw_inputs(c));
  }
  // Kernels is nothing but entries of one size.
  static_assert(sizeof(Kernels) % sizeof(Kernel<Fill>) == 0);
  const auto* entries = reinterpret_cast<const Kernel<Fill>*>(&backend("reference").kernels);
  for (size_t k = 0; k < sizeof(Kernels) / sizeof(Kernel<Fill>); ++k) {
    CAPTURE(entries[k].name);
    CHECK(reached.count(entries[k].name) == 1);
  }
}

}  // namespace pneuma::testing
