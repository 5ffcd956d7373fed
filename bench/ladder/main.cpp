// bench_ladder [NAME] [--device cuda|host_cuda]: climbs the four ladders, or the one named, and
// prints a table of each: what a rung changes, how exact it is, what it moves or how long it takes.
// There is a program for each device; one that is asked for the other's starts that.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>

#include "bench/ladder/ladder.h"

namespace pneuma::ladder {
namespace {

constexpr const char* kUsage =
    "usage: bench_ladder [reduction|batch_norm|matrix_product|adam] [--device cuda|host_cuda]";

double share(uint64_t part, uint64_t whole) { return whole ? double(part) / double(whole) : 0; }

void print_counts(const Figures& f) {
  if (f.launches == 0) return fmt::print("  inside a library, where nothing is counted");
  fmt::print(" {:>8} {:>5} {:>8} {:>8} {:>8} {:>7.2f} {:>7.0f}% {:>9} {:>8} {:>5.0f}%", f.launches,
             f.waits, counted(f.bytes_read), counted(f.bytes_written), counted(f.sectors),
             share(f.sectors, f.least_sectors), 100 * share(f.wide_accesses, f.accesses),
             counted(f.bank_conflicts), f.barriers, 100 * share(f.idle_lanes, f.lanes));
}
void print_times(const Ladder& l, const Figures& f) {
  const double seconds = f.milliseconds / 1e3;
  fmt::print(" {:>10.3f} {:>8.1f} {:>8.2f}", f.milliseconds, l.least_bytes / seconds / 1e9,
             l.operations / seconds / 1e12);
}

// A rung that is wrong on purpose is no failure here: the test knows which one that is.
void climb(const Ladder& l) {
  fmt::print("{}: {}; at least {} bytes\n", l.name, l.problem, counted(uint64_t(l.least_bytes)));
  fmt::print("  {:22} {:>8} {:>8}", "rung", "error", "bound");
  if (machine.counts)
    fmt::print(" {:>8} {:>5} {:>8} {:>8} {:>8} {:>7} {:>8} {:>9} {:>8} {:>6}", "launches", "waits",
               "read", "written", "sectors", "/ least", "16-byte", "conflicts", "barriers", "idle");
  else
    fmt::print(" {:>10} {:>8} {:>8}", "ms", "GB/s", "TFLOP/s");
  fmt::print("\n");
  for (const Rung& rung : l.rungs) {
    const Figures f = machine.measure(l, rung);
    fmt::print("  {:22} {:8.1e} {:8.1e}", rung.name, f.check.error, f.check.bound);
    machine.counts ? print_counts(f) : print_times(l, f);
    fmt::print("{}\n      {}\n", f.check.within() ? "" : "  WRONG", rung.why);
  }
  fmt::print("\n");
}

[[noreturn]] void start_other(const std::string& device, char** arguments) {
  if (device != "cuda" && device != "host_cuda")
    throw std::runtime_error("--device is cuda or host_cuda");
  const std::string name = device == "cuda" ? "bench_ladder_cuda" : "bench_ladder";
  const std::string other = std::filesystem::read_symlink("/proc/self/exe").replace_filename(name);
  execv(other.c_str(), arguments);
  throw std::runtime_error(fmt::format("{} is not built: ninja -C build {}{}", other, name,
                                       device == "cuda" ? ", which needs nvcc" : ""));
}

int start(int count, char** arguments) {
  std::string_view wanted;
  std::string device = machine.name;
  for (int i = 1; i < count; ++i) {
    const std::string_view argument = arguments[i];
    if (argument == "--device" && i + 1 < count) {
      device = arguments[++i];
    } else if (wanted.empty() && !argument.starts_with("-")) {
      wanted = argument;
    } else {
      fmt::print(stderr, "{}\n", kUsage);
      return argument == "--help" || argument == "-h" ? 0 : 2;
    }
  }
  if (device != machine.name) start_other(device, arguments);
  machine.open();
  bool found = false;
  for (const Ladder& l : ladders()) {
    if (!wanted.empty() && wanted != l.name) continue;
    found = true;
    climb(l);
  }
  if (!found) {
    fmt::print(stderr, "{}\n", kUsage);
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace pneuma::ladder

int main(int count, char** arguments) {
  try {
    return pneuma::ladder::start(count, arguments);
  } catch (const std::exception& e) {
    fmt::print(stderr, "bench_ladder: {}\n", e.what());
    return 4;
  }
}
