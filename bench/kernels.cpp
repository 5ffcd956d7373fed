// Every kernel of a device by itself, without the engine: at every distinct shape of ResNet-50 at
// 224 and 896, beside what the device can do at best.
//   bench_kernels --list --filter batch_norm     the names
//   bench_kernels --filter 'convolution.*@224' --json new.json --compare old.json
// Caches are flushed before every timed run. A case that lives from memory runs in turn with a copy
// of as many bytes; convolutions and linear layers stand beside a large matrix product of this run.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>

#include "apps/common/cli.h"
#include "apps/common/device.h"
#include "bench/kernels/measure.h"
#include "engine/error.h"
#include "engine/io/atomic_file.h"
#include "kernels/open_backend.h"

namespace {

using namespace pneuma;
using namespace pneuma::bench;
using Json = nlohmann::ordered_json;

struct Settings {
  std::string device = "cpu", filter, compare, json, dtype = "f32", size = "all";
  int runs = 100, batch = 0;
  bool list = false;
};

constexpr int kPublishedRuns = 100;  // fewer say less, and the output says so
constexpr double kIdle = 0.3;        // load average above it: something else is running
constexpr int kSizes[] = {224, 896};

Dtype dtype_named(const std::string& name) {
  return name == "f16" ? Dtype::f16 : name == "bf16" ? Dtype::bf16 : Dtype::f32;
}

// As many pixels at either size; a GPU needs more of them to be busy. `auto` is what it would take.
int batch_of(const Settings& s, int size) {
  if (s.batch) return s.batch;
  std::string device = s.device, why;
  if (const Backend* taken = device == "auto" ? open_backend(device, &why) : nullptr)
    device = taken->name;
  const int at_224 = device == "cuda" ? 128 : device == "cpu" ? 16 : 1;
  return std::max(1, at_224 * (224 * 224) / (size * size));
}

std::vector<Case> cases(const Settings& s) {
  std::regex filter;
  try {
    filter = std::regex(s.filter);
  } catch (const std::regex_error&) {
    fail(Exit::usage, "--filter '{}' is not a regular expression", s.filter);
  }
  std::vector<Case> chosen;
  for (const int size : kSizes) {
    if (s.size != "all" && s.size != std::to_string(size)) continue;
    for (Case& c : cases_of_resnet50(size, batch_of(s, size), dtype_named(s.dtype))) {
      const auto same = [&](const Case& other) { return other.name == c.name; };
      if (std::regex_search(c.name, filter) && std::ranges::none_of(chosen, same))
        chosen.push_back(std::move(c));
    }
  }
  if (chosen.empty()) fail(Exit::usage, "--filter '{}' leaves no case; --list shows all", s.filter);
  return chosen;
}

// ---- The machine -------------------------------------------------------------------------------

// The first lines of what a command prints, or nothing.
std::string said(const std::string& command) {
  std::string text;
  FILE* pipe = popen((command + " 2>/dev/null").c_str(), "r");
  if (!pipe) return text;
  char line[256];
  while (text.size() < 4096 && std::fgets(line, sizeof line, pipe)) text += line;
  pclose(pipe);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::string processor_clocks() {
  std::ifstream file("/proc/cpuinfo");
  double lowest = 1e9, highest = 0;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("cpu MHz")) continue;
    const double mhz = std::atof(line.c_str() + line.find(':') + 1);
    lowest = std::min(lowest, mhz);
    highest = std::max(highest, mhz);
  }
  return highest > 0 ? fmt::format("CPU {:.0f} to {:.0f} MHz", lowest, highest) : "";
}
std::string clocks(const Backend& backend) {
  std::string text = processor_clocks();
  if (std::string(backend.name) == "cuda") {
    const std::string gpu = said(
        "nvidia-smi --query-gpu=clocks.sm,clocks.mem,temperature.gpu,power.draw "
        "--format=csv,noheader --id=0");
    if (!gpu.empty()) text += "; GPU (SM, memory, degrees, power) " + gpu;
  }
  return text;
}
double load() {
  double average = 0;
  return getloadavg(&average, 1) == 1 ? average : 0;
}

// ---- Table, file, comparison -------------------------------------------------------------------

Json as_json(const Case& c, const Row& row) {
  Json j = {{"case", c.name}, {"kernel", c.kernel}, {"size", c.size}, {"times", c.times}};
  for (const auto& [name, value] : c.attributes) j[name] = value;
  for (const Operand& o : c.operands)
    j["operands"][o.name] = std::vector<int64_t>(o.view.dims, o.view.dims + o.view.rank);
  if (!row.skipped.empty()) {
    j["skipped"] = row.skipped;
    return j;
  }
  j["median_ms"] = row.seconds.median * 1e3;
  j["p10_ms"] = row.seconds.p10 * 1e3;
  j["p90_ms"] = row.seconds.p90 * 1e3;
  j["bytes_floor"] = c.bytes;
  j["gb_per_second"] = row.bytes_per_second / 1e9;
  if (row.of_copy) j["of_copy"] = *row.of_copy;
  if (row.flop_per_second) j["gflop_per_second"] = *row.flop_per_second / 1e9;
  if (row.of_peak) j["of_peak"] = *row.of_peak;
  j["error_ulp"] = row.error;
  j["tolerance_ulp"] = c.tolerance;
  j["equal"] = int(row.equal);
  return j;
}

constexpr int kNameWidth = 72;

void print_head() {
  fmt::print("{:{}} {:>5} {:>9} {:>9} {:>9} {:>7} {:>8} {:>10} {:>8} {:>5}\n", "case", kNameWidth,
             "times", "ms", "p10", "p90", "GB/s", "GFLOP/s", "share", "ulp", "equal");
}
void print_row(const Case& c, const Row& row) {
  fmt::print("{:{}} {:5} ", c.name, kNameWidth, c.times);
  if (!row.skipped.empty()) {
    fmt::print("skipped: {}\n", row.skipped);
  } else {
    const Quantiles& s = row.seconds;
    fmt::print("{:9.3f} {:9.3f} {:9.3f} {:7.1f} {:>8} {:>10} {:>8} {:5}\n", s.median * 1e3,
               s.p10 * 1e3, s.p90 * 1e3, row.bytes_per_second / 1e9,
               row.flop_per_second ? fmt::format("{:.0f}", *row.flop_per_second / 1e9) : "",
               row.of_copy   ? fmt::format("{:.2f} copy", *row.of_copy)
               : row.of_peak ? fmt::format("{:.2f} peak", *row.of_peak)
                             : "",
               fmt::format("{:.1f}{}", row.error, row.error > c.tolerance ? "!" : ""),
               int(row.equal));
  }
  std::fflush(stdout);
}

// What the launches of one training step add up to, kernel by kernel.
void print_steps(const Json& results) {
  struct Sum {
    int launches = 0;
    double ms = 0, gflop = 0;
  };
  std::map<std::pair<int, std::string>, Sum> sums;
  for (const Json& r : results) {
    const int times = r["times"];
    if (!times || r.contains("skipped")) continue;
    Sum& sum = sums[{r["size"], r["kernel"]}];
    const double ms = r["median_ms"];
    sum.launches += times;
    sum.ms += times * ms;
    sum.gflop += times * ms * 1e-3 * r.value("gflop_per_second", 0.0);
  }
  for (const auto& [key, sum] : sums) {
    const auto& [size, kernel] = key;
    fmt::print("in a step{}: {:30} {:3} launches {:9.2f} ms", size ? fmt::format(" @{}", size) : "",
               kernel, sum.launches, sum.ms);
    if (sum.gflop > 0) fmt::print(" {:9.0f} GFLOP/s", sum.gflop / sum.ms * 1e3);
    fmt::print("\n");
  }
}

Json read_old(const std::string& path) {
  const Json old = Json::parse(read_file(path, size_t{64} << 20), nullptr, false);
  if (!old.is_object() || !old.contains("results") || !old["results"].is_array())
    fail(Exit::data, "--compare {}: not a file that --json wrote", path);
  return old;
}

void print_comparison(const Json& old, const Json& now) {
  std::map<std::string, double> before;
  for (const Json& r : old["results"])
    if (r.contains("case") && r.contains("median_ms")) before[r["case"]] = r["median_ms"];
  struct Change {
    double ratio, before, now;
    std::string name;
  };
  std::vector<Change> changes;
  for (const Json& r : now["results"]) {
    const auto found = r.contains("median_ms") ? before.find(r["case"]) : before.end();
    if (found == before.end() || !(found->second > 0)) continue;
    const double ms = r["median_ms"];
    changes.push_back({ms / found->second, found->second, ms, r["case"]});
  }
  std::ranges::sort(changes, std::greater(), &Change::ratio);
  fmt::print("\nnew / old of the medians, {} of {} cases stand in both; old: {}\n", changes.size(),
             now["results"].size(), old.value("device", "unknown device"));
  for (const Change& c : changes)
    fmt::print("{:6.3f}  {:9.3f} ms, was {:9.3f} ms  {}\n", c.ratio, c.now, c.before, c.name);
}

void bench_kernels(const Settings& s) {
  const std::vector<Case> all = cases(s);
  if (s.list) {
    for (const Case& c : all) fmt::print("{}\n", c.name);
    return;
  }
  if (!s.json.empty()) {  // now rather than after half an hour
    const auto folder = std::filesystem::absolute(s.json).parent_path();
    if (!std::filesystem::is_directory(folder))
      fail(Exit::environment, "--json {}: there is no folder {}", s.json, folder.string());
  }
  Json old;
  if (!s.compare.empty()) old = read_old(s.compare);

  const Backend& backend = device_named(s.device, 0);
  DeviceProperties properties{};
  check(backend, "properties", backend.device.properties(&properties));
  Json report = {{"machine", said("uname -srm") + "; " +
                                 said("sed -n 's/^model name.*: //p;T;q' /proc/cpuinfo")},
                 {"device", fmt::format("{}: {}", backend.name, properties.name)},
                 {"build",
                  {{"commit", said("git -C " PNEUMA_SOURCE_DIR " describe --always --dirty")},
                   {"seam", backend.build},
                   {"compiler", __VERSION__}}},
                 {"dtype", s.dtype}};
  report["load"]["before"] = load();
  report["clocks"]["before"] = clocks(backend);
  fmt::print("{}, commit {}; load average {:.2f}; {}\n", report["machine"].get<std::string>(),
             report["build"]["commit"].get<std::string>(), load(), clocks(backend));
  if (load() > kIdle) fmt::print("WARNING: the load average is above {}: other work runs\n", kIdle);

  Meter meter(backend, dtype_named(s.dtype), s.runs);
  report["runs"] = s.runs;
  report["warm_up"] = meter.warm_up();
  report["timed_by"] = meter.by_events() ? "events" : "steady clock";
  report["flushed_bytes"] = meter.flushed_bytes();
  report["peak_gflop_per_second"] = meter.peak() / 1e9;
  fmt::print(
      "{}; {} runs after {} to warm up{}, timed by {}; {} MiB flushed before each\n", s.dtype,
      s.runs, meter.warm_up(),
      s.runs < kPublishedRuns ? fmt::format(" (under {}: a first look)", kPublishedRuns) : "",
      report["timed_by"].get<std::string>(), meter.flushed_bytes() >> 20);
  if (meter.peak() > 0)
    fmt::print("matrix peak {:.0f} GFLOP/s: linear_forward of {}x{}x{}\n", meter.peak() / 1e9,
               meter.peak_side(), meter.peak_side(), meter.peak_side());

  print_head();
  int wrong = 0;
  report["results"] = Json::array();
  for (const Case& c : all) {
    const Row row = meter.measure(c);
    print_row(c, row);
    report["results"].push_back(as_json(c, row));
    wrong += row.skipped.empty() && (!row.equal || !(row.error <= c.tolerance));
  }
  report["load"]["after"] = load();
  report["clocks"]["after"] = clocks(backend);
  fmt::print(
      "times: launches in one training step; GB/s: the least bytes over the median\n"
      "ulp: largest error against the reference in f64 over the result's largest magnitude, in "
      "eps\n"
      "     of its dtype; !: above the tolerance; taken from the same call at {}\n"
      "load average afterwards {:.2f}; {}\n",
      small_walk(), load(), clocks(backend));
  print_steps(report["results"]);
  if (!s.json.empty()) write_file_atomically(s.json, report.dump(1) + "\n");
  if (!s.compare.empty()) print_comparison(old, report);
  if (wrong)
    fail(Exit::numeric, "{} of {} cases are outside of their tolerance, or differ between two runs",
         wrong, all.size());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Measures the kernels of a device at ResNet-50's shapes.", "bench_kernels");
  Settings s;
  app.add_option("--device", s.device, "auto, cpu, cuda, host_cuda or reference");
  app.add_option("--filter", s.filter, "Only cases in whose name this regular expression is found");
  app.add_option("--compare", s.compare, "Print new / old of the medians beside an earlier --json");
  app.add_option("--json", s.json, "Write all that was measured into this file");
  app.add_option("--dtype", s.dtype, "Of activations and weights: f32, f16 or bf16")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}));
  app.add_option("--runs", s.runs, "Timed runs of each case")->check(cli::in_range(1, 100000));
  app.add_option("--size", s.size, "Of the pictures: 224, 896 or all")
      ->check(CLI::IsMember({"224", "896", "all"}));
  app.add_option("--batch", s.batch, "Pictures in a batch; 0: as suits device and size")
      ->check(cli::in_range(0, 4096));
  cli::add_switch(app, "--list", s.list, "Print the names of the cases and measure nothing");
  return cli::run(app, argc, argv, [&] { bench_kernels(s); });
}
