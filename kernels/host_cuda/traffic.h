// Counting what a launch moves: see LaunchRecord.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/host_cuda/control.h"

namespace pneuma::host_cuda {

struct Access {
  uintptr_t address;
  size_t bytes;
  bool writes, atomic;
  const void* site;  // where the program does it
};

struct LaunchTraffic {
  std::mutex mutex;
  LaunchRecord record{};
};

// The traffic of one block; gathers the accesses of a warp that stand at the same place of the
// program and are the n-th there of their threads, which is what the hardware does together.
class BlockTraffic {
 public:
  void start(int threads);
  void access(int thread, const Access& access, bool shared);
  void finish(LaunchRecord& into);  // adds

 private:
  struct Group {
    uint32_t lanes = 0;
    uint8_t bytes = 0;
    bool shared = false;
    std::array<uintptr_t, 32> addresses;
  };
  struct Site {
    std::vector<uint32_t> times;             // [thread]
    std::vector<std::vector<Group>> groups;  // [warp][n-th time]
  };
  struct Touched {
    uint32_t read = 0, written = 0;  // bytes of a sector
  };
  void count_global(const Group& group, LaunchRecord& record) const;
  void count_shared(const Group& group, LaunchRecord& record) const;

  int threads_ = 0;
  std::unordered_map<const void*, Site> sites_;
  std::unordered_map<uintptr_t, Touched> sectors_;
  LaunchRecord counted_{};  // but for sectors and lanes
};

void add_record(const LaunchRecord& record);
LaunchRecord make_record(const std::string& name);

}  // namespace pneuma::host_cuda
