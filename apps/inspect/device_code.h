// What is known of a kernel's device code without running it: its text, what ptxas says of it, and
// how many blocks of it a V100 holds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pneuma::inspect {

// "pneuma::cuda::(anonymous namespace)::fill_kernel<float>" -> "fill_kernel<float>"
std::string plain_name(std::string name);

// From the first line of its paragraph, be it comment or template, to its closing brace.
struct KernelSource {
  std::string file;  // from the root of the source tree
  int first_line = 0;
  std::vector<std::string> lines;
};
std::filesystem::path build_folder();  // that this program lies in, in bin/
// Of the source that it was built from, or, where that has moved, around it; else empty.
std::filesystem::path source_root();
// Nothing where no file of root/kernels/cuda has such a kernel. `name` as LaunchRecord has it.
std::optional<KernelSource> find_kernel_source(const std::filesystem::path& root,
                                               const std::string& name);

struct PtxasFigures {
  int registers = 0, stack = 0, spills = 0;  // of a thread; bytes
  int shared = 0;                            // of a block: what it declares itself
};
// A report that tests/cuda/device_code_test.py has left: a line a kernel, `registers stack spills
// shared name`. By plain name, without blanks. Empty where there is no such file; throws where it
// is something else.
std::map<std::string, PtxasFigures> read_ptxas_report(const std::filesystem::path& file);
std::optional<PtxasFigures> figures_of(const std::map<std::string, PtxasFigures>&,
                                       const std::string& name);

// Blocks that one multiprocessor of a V100 (sm_70) has at once; the least of the four is what it
// holds. Registers are handed out by warp, 256 at a time, from four equal files; shared memory 256
// bytes at a time. 0 registers: not known, and no limit.
struct Occupancy {
  int by_threads, by_registers, by_shared;
  static constexpr int kBlocks = 32, kThreads = 2048, kRegisters = 65536, kShared = 96 << 10,
                       kMultiprocessors = 80;
  int blocks() const;
  std::string limits() const;  // "registers", "threads and shared memory", ...
};
Occupancy occupancy_v100(int threads, int registers, uint64_t shared_bytes);

}  // namespace pneuma::inspect
