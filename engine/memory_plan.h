// Where each tensor of a step lies in one block of memory: a pure function of who lives when.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace pneuma {

// One tensor's life: alive from its allocation to its release, both counted in events of the
// recording.
struct MemoryUse {
  size_t bytes = 0;
  int64_t first = 0, last = 0;  // alive at t with first <= t < last
  const char* what = "";        // the op that asked for it
};

struct MemoryPlan {
  std::vector<MemoryUse> uses;
  std::vector<size_t> offsets;  // one a use, a multiple of kAlignment
  size_t peak = 0;              // bytes of the block
};

// ENSURES: two uses that are alive at one time do not overlap; peak >= the sum of bytes alive at
// any time. Greedy by size: the largest first, each at the lowest gap that fits (Pisarchyk, Lee
// 2020).
MemoryPlan plan_memory(std::vector<MemoryUse> uses);

// Bytes that are alive when an op whose name ends so first asks for memory: of a loss, all that the
// backward pass needs. 0 where there is none.
size_t bytes_alive_at(const MemoryPlan& plan, std::string_view op);

}  // namespace pneuma
