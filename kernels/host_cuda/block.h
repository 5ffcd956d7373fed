// One block while it runs: its threads as fibers on the thread of the system that took the block.
// A fiber runs one thread after the other; only when a thread has to wait (at a barrier, or for the
// lanes of its warp) does another fiber go on. Warps, and lanes within a warp, take turns in an
// order drawn from the seed.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "kernels/host_cuda/control.h"
#include "kernels/host_cuda/module.h"
#include "kernels/host_cuda/timeline.h"
#include "kernels/host_cuda/traffic.h"

namespace pneuma::host_cuda {

inline constexpr int kWarp = 32, kMaxThreads = 1024;
inline constexpr size_t kStack = kSanitized ? 256 << 10 : 64 << 10;  // of a fiber
inline constexpr size_t kStaticSharedLimit = 48 << 10, kDynamicSharedLimit = 227 << 10;

struct Launch {
  const Operation* operation;
  const KernelCall* call;
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
using Act = void (*)(void* const* lanes, unsigned mask);

class Block {
 public:
  Block();
  void run(Launch& launch, uint64_t index);

  // Called by the fibers.
  int barrier(int how, int value, const char* file, int line);
  void meet(unsigned mask, void* mine, Act act);  // the last lane to come runs `act`
  unsigned active_mask() const { return warps_[current / kWarp].alive; }
  void access(const Access& access);  // of the running thread, before it happens; may not return

  uint3 thread{}, block{};  // indices of the thread that runs
  Launch* launch = nullptr;
  unsigned current = 0;  // the same thread, in one number

 private:
  friend struct Fiber;
  struct Meeting {  // lanes that wait for each other; null `act`: they only meet
    unsigned mask = 0, arrived = 0;
    Act act = nullptr;
    void* lanes[kWarp];
  };
  struct Warp {
    unsigned alive = 0;
    uint16_t phase = 0;
    Meeting meetings[2];  // lanes of one warp may meet in two groups at a time
  };

  uint64_t random();
  template <class Queue>
  void draw_order(Queue& threads);
  void begin(unsigned thread);
  void finished();
  void wait();  // until somebody makes this thread ready
  void resume(Fiber& fiber);
  void complete_barrier();
  bool checks(Check check) const { return launch->settings.checks & check; }
  void report_here(FaultKind kind, const void* site, const std::string& what);
  [[noreturn]] void fail(FaultKind kind, const void* site, const std::string& what);  // and stop

  void access_global(const Access& access);
  void access_shared(const Access& access);
  void access_word(const Access& access, SharedWord& word, unsigned mask);

  uint64_t random_ = 1;
  unsigned threads_ = 0, alive_ = 0;
  std::deque<unsigned> fresh_, ready_;  // not yet started; waited and may go on
  std::vector<Fiber*> fiber_of_;        // [thread]
  std::vector<Fiber*> fibers_, idle_;
  Fiber* fiber_ = nullptr;  // that runs
  uintptr_t stack_ = 0;     // of it
  void* scheduler_ = nullptr;
  std::vector<Warp> warps_;

  unsigned waiting_ = 0;  // at the barrier of this place
  int how_ = 0, line_ = 0, count_ = 0, result_ = 0;
  const char* file_ = nullptr;
  uint64_t barriers_ = 0;

  // Shared memory: this module's thread-local block, in which the dynamic part lies too.
  uintptr_t shared_ = 0, dynamic_ = 0;
  size_t shared_bytes_ = 0;
  std::vector<SharedWord> words_;
  uint32_t interval_ = 1, first_interval_ = 1;
  bool knows_shared_variables_ = false;
  std::vector<uint32_t> variables_seen_;  // [variable]: first interval of the block that touched it
  uint64_t static_shared_ = 0;            // bytes of these
  BlockTraffic traffic_;
};

uintptr_t dynamic_shared_begin();  // of this thread of the system

// The block that this thread of the system runs; null outside of kernels. (Not initial-exec: then
// all shared memory of the plugin would need static room that a program has only for small ones.)
extern thread_local Block* running;

}  // namespace pneuma::host_cuda
