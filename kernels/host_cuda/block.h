// One block while it runs: its threads as fibers on the thread of the system that took the block.
// A fiber runs one thread after the other; only when a thread has to wait (at a barrier, or for the
// lanes of its warp) does another fiber go on. Warps, and lanes within a warp, take turns in an
// order drawn from the seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/host_cuda/control.h"
#include "kernels/host_cuda/module.h"
#include "kernels/host_cuda/timeline.h"
#include "kernels/host_cuda/traffic.h"

namespace pneuma::host_cuda {

inline constexpr size_t kStack = kSanitized ? 256 << 10 : 64 << 10;  // of a fiber
inline constexpr int kWarp = 32, kMaxThreads = 1024;
inline constexpr size_t kStaticSharedLimit = 48 << 10, kDynamicSharedLimit = 227 << 10;

struct Launch {
  const Operation* operation;
  const KernelCall* call;
  std::string name;
  dim3 grid, block;
  size_t dynamic_shared;
  uint64_t number;  // part of the seed
  Settings settings;
  std::atomic<bool> stopped{false};  // by a fault after which going on makes no sense
  LaunchTraffic traffic;
};

// A 4-byte word of shared memory: who last wrote and read it, when. Intervals go from barrier to
// barrier and are numbered over all blocks of this thread of the system, so nothing is cleared.
struct SharedWord {
  uint32_t write_interval, read_interval;
  uint16_t writer, reader, write_phase, read_phase;  // phases go from meeting to meeting of a warp
  uint8_t write_mask, read_mask, known_mask;         // bytes; `known`: written in this block
  uint8_t readers;                                   // 0: one, 1: several of a warp, 2: of several
};

struct Fiber;

struct Meeting {  // lanes of one warp that wait for each other
  unsigned mask = 0, arrived = 0;
  void (*act)(void* const* lanes, unsigned mask) = nullptr;  // run once by the last to come
  void* lanes[kWarp];
};

class Block {
 public:
  Block();
  void run(Launch& launch, uint64_t index);

  // Called by the fibers.
  int barrier(int how, int value, const char* file, int line);
  void meet(unsigned mask, void* mine, void (*act)(void* const* lanes, unsigned mask));
  unsigned active_mask() const;
  // One access of the running thread, before it happens; may not return.
  void access(uintptr_t address, size_t bytes, bool writes, bool atomic, const void* site);

  uint3 thread{}, block{};  // indices of the thread that runs
  Launch* launch = nullptr;
  int current = 0;  // the same thread, in one number

 private:
  friend struct Fiber;
  struct Warp {
    unsigned alive = 0;
    uint16_t phase = 0;
    Meeting meetings[2];  // lanes of one warp may meet in two groups at a time
  };

  void start_order(uint64_t seed);
  void begin(int thread);
  void finished();
  void wait();               // until somebody makes this thread ready
  [[noreturn]] void stop();  // the launch, after a fault
  void resume(Fiber& fiber);
  Fiber& idle_fiber();
  void complete_barrier();
  void check_stuck();
  void report_here(FaultKind kind, const void* site, const std::string& what);

  void access_global(uintptr_t address, size_t bytes, bool writes, bool atomic, const void* site);
  void access_shared(uintptr_t address, size_t bytes, bool writes, bool atomic, const void* site);
  void access_word(uintptr_t address, SharedWord& word, unsigned mask, bool writes, bool atomic,
                   const void* site);

  uint64_t random();
  uint64_t random_ = 1;

  int threads_ = 0, next_ = 0, alive_ = 0;
  std::vector<int> order_;  // in which threads start
  std::vector<int> ready_;  // waited and may go on, a queue
  size_t ready_next_ = 0;
  std::vector<Fiber*> fiber_of_;  // [thread]
  std::vector<Fiber*> fibers_, idle_;
  Fiber* running_fiber_ = nullptr;
  uintptr_t stack_begin_ = 0;
  void* scheduler_ = nullptr;  // context to go back to
  std::vector<Warp> warps_;

  int waiting_ = 0, barrier_line_ = 0, barrier_how_ = 0;
  const char* barrier_file_ = nullptr;
  int count_ = 0, barrier_result_ = 0;
  uint64_t barriers_ = 0;

  // Shared memory: this module's thread-local block, of which the dynamic part lies in `dynamic`.
  uintptr_t shared_begin_ = 0, dynamic_begin_ = 0;
  size_t shared_bytes_ = 0, dynamic_bytes_ = 0;
  std::vector<SharedWord> words_;
  uint32_t interval_ = 1, first_interval_ = 1;
  uint64_t static_shared_ = 0;
  const SharedArray* last_array_ = nullptr;

  BlockTraffic traffic_;
};

uintptr_t dynamic_shared_begin();  // of this thread of the system

// The block that this thread of the system runs; null outside of kernels.
extern thread_local Block* running __attribute__((tls_model("initial-exec")));

}  // namespace pneuma::host_cuda
