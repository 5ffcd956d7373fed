// The teaching ladder: four kernels, each from the first naive version up to the one in use. A rung
// is one version; it changes one thing against the rung before it, and says what that is for. Each
// is checked against plain loops in double, and measured as the device can: host_cuda counts what
// moves, a GPU takes the time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace pneuma::ladder {

// How far a result is from the reference, as a share of the size of what was added up in it, and
// how far the roundings of float may take it.
struct Check {
  double error = 0, bound = 0;
  bool within() const { return error <= bound; }  // false for NaN
  void take(double other) {                       // the larger one; a NaN stays
    if (error == error && !(other <= error)) error = other;
  }
};
inline constexpr double kRounding = 0x1p-24;  // of float: half of eps

struct Rung {
  const char* name;
  const char* why;
  int64_t roundings;  // the longest chain of them that leads to a result; bound = this * kRounding
  std::function<Status()> run;
};

struct Ladder {
  const char* name;
  std::string problem;
  double least_bytes;  // each operand once
  double operations;   // 0 where the bytes decide
  std::function<void()> reset;
  std::function<Check(const Rung&)> check;  // after reset() and one run()
  std::vector<Rung> rungs;
};

Ladder reduction(int64_t count);
Ladder batch_norm(int64_t rows, int channels, double mean);
Ladder matrix_product(int m, int n, int k);  // REQUIRES multiples of 64
Ladder adam(const std::vector<int64_t>& tensors);

// What one run of a rung did, all its launches together.
struct Figures {
  Check check;
  uint64_t launches = 0, waits = 0;  // waits: of the host for the device
  uint64_t bytes_read = 0, bytes_written = 0;
  uint64_t sectors = 0, least_sectors = 0;    // of 32 bytes: asked for, and if packed
  uint64_t accesses = 0, wide_accesses = 0;   // to global memory; those of 16 bytes
  uint64_t bank_conflicts = 0, barriers = 0;  // barriers: of the block that has most, over launches
  uint64_t lanes = 0, idle_lanes = 0;         // of warps that touch memory
  double milliseconds = 0;
};

// The device that the program was built for: figures_host_cuda.cpp or cuda/figures.cpp.
struct Machine {
  const char* name;
  bool counts;  // else it takes times
  // Both throw std::runtime_error with a sentence: where there is no such device, or a rung fails
  // or commits a fault. measure() starts from a fresh state.
  void (*open)();
  Figures (*measure)(const Ladder& ladder, const Rung& rung);
};
extern const Machine machine;

// All four at the size that suits the machine.
std::vector<Ladder> ladders();
void run(const Ladder& ladder, const Rung& rung);  // throws as measure() does
std::string counted(uint64_t n);                   // as the tables show a count: 1065k

}  // namespace pneuma::ladder
