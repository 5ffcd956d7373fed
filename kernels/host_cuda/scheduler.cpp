// The threads of a block: fibers, barriers, meetings of lanes.
#include <sys/mman.h>

#include <boost/context/detail/fcontext.hpp>
#include <cstring>
#include <new>
#include <tuple>

#include "kernels/host_cuda/block.h"
#include "kernels/host_cuda/faults.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace pneuma::host_cuda {

namespace context = boost::context::detail;

thread_local Block* running = nullptr;

struct Fiber {
  static constexpr size_t kPage = 4096;

  explicit Fiber(Block* block) : block(block) {
    void* p = mmap(nullptr, kStack + kPage, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    mprotect(p, kPage, PROT_NONE);  // overflowing ends the program here, and nowhere else
    stack = static_cast<char*>(p) + kPage;
    restart();
  }
  void restart() {
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(stack, kStack);
#endif
    at = context::make_fcontext(stack + kStack, kStack, body);
  }
  static void body(context::transfer_t from);

  Block* block;
  char* stack;
  context::fcontext_t at;
  bool busy = false;
  void* sanitizer_stack = nullptr;
};

namespace {
// ASan keeps a shadow of each stack and must be told of every change.
#ifdef __SANITIZE_ADDRESS__
thread_local const void* scheduler_stack = nullptr;
thread_local size_t scheduler_bytes = 0;
void leaving(void** save, const void* stack, size_t bytes) {
  __sanitizer_start_switch_fiber(save, stack, bytes);
}
void come(void* saved, const void** stack, size_t* bytes) {
  __sanitizer_finish_switch_fiber(saved, stack, bytes);
}
#endif
}  // namespace

// In a fiber: back to the scheduler, until resumed.
static void leave([[maybe_unused]] Fiber& fiber, void*& scheduler) {
#ifdef __SANITIZE_ADDRESS__
  leaving(&fiber.sanitizer_stack, scheduler_stack, scheduler_bytes);
#endif
  const context::transfer_t from = context::jump_fcontext(scheduler, nullptr);
#ifdef __SANITIZE_ADDRESS__
  come(fiber.sanitizer_stack, &scheduler_stack, &scheduler_bytes);
#endif
  scheduler = from.fctx;
}

void Fiber::body(context::transfer_t from) {
  Fiber& fiber = *static_cast<Fiber*>(from.data);
  Block& block = *fiber.block;
#ifdef __SANITIZE_ADDRESS__
  come(nullptr, &scheduler_stack, &scheduler_bytes);
#endif
  block.scheduler_ = from.fctx;
  while (true) {
    while (block.ready_next_ == block.ready_.size() && block.next_ < block.threads_) {
      block.begin(block.order_[size_t(block.next_++)]);
      block.fiber_of_[size_t(block.current)] = &fiber;
      block.launch->call->run();
      block.finished();
    }
    fiber.busy = false;
    block.idle_.push_back(&fiber);
    leave(fiber, block.scheduler_);
  }
}

Block::Block() {
  std::tie(shared_begin_, shared_bytes_) = thread_local_block();
  words_.resize(shared_bytes_ / 4 + 2);
  dynamic_begin_ = dynamic_shared_begin();
}

uint64_t Block::random() {  // xorshift64*, Vigna 2016
  random_ ^= random_ >> 12;
  random_ ^= random_ << 25;
  random_ ^= random_ >> 27;
  return random_ * 0x2545F4914F6CDD1Dull;
}

// A random order of the warps; in each, lanes from a random one on, up or down.
static void draw_order(std::vector<int>& order, int threads, uint64_t (*next)(void*), void* from) {
  const int warps = (threads + kWarp - 1) / kWarp;
  int shuffled[kMaxThreads / kWarp];
  for (int i = 0; i < warps; ++i) {
    const int j = int(next(from) % uint64_t(i + 1));
    shuffled[i] = shuffled[j];
    shuffled[j] = i;
  }
  for (int i = 0; i < warps; ++i) {
    const uint64_t draw = next(from);
    const int first = int(draw % kWarp), step = (draw >> 32) & 1 ? 1 : kWarp - 1;
    for (int k = 0; k < kWarp; ++k) {
      const int thread = shuffled[i] * kWarp + (first + k * step) % kWarp;
      if (thread < threads) order.push_back(thread);
    }
  }
}

void Block::start_order(uint64_t seed) {
  random_ = seed * 0x9E3779B97F4A7C15ull | 1;
  for (int i = 0; i < 4; ++i) random();
  order_.clear();
  draw_order(
      order_, threads_, [](void* b) { return static_cast<Block*>(b)->random(); }, this);
}

void Block::run(Launch& what, uint64_t index) {
  launch = &what;
  const dim3 grid = what.grid;
  block = {unsigned(index % grid.x), unsigned(index / grid.x % grid.y),
           unsigned(index / grid.x / grid.y)};
  threads_ = alive_ = int(what.block.x * what.block.y * what.block.z);
  next_ = waiting_ = count_ = 0;
  barriers_ = static_shared_ = 0;
  first_interval_ = ++interval_;
  ready_.clear();
  ready_next_ = 0;
  fiber_of_.assign(size_t(threads_), nullptr);
  warps_.assign(size_t(threads_ + kWarp - 1) / kWarp, {});
  for (int t = 0; t < threads_; ++t) warps_[size_t(t / kWarp)].alive |= 1u << (t % kWarp);
  start_order(what.settings.seed ^ (what.number << 20) ^ index);
  dynamic_bytes_ = what.dynamic_shared;
  if (what.settings.count_traffic) traffic_.start(threads_);

  running = this;
  while (!what.stopped.load(std::memory_order_relaxed)) {
    if (ready_next_ < ready_.size()) {
      const int thread = ready_[ready_next_++];
      if (ready_next_ == ready_.size()) {
        ready_.clear();
        ready_next_ = 0;
      }
      begin(thread);
      resume(*fiber_of_[size_t(thread)]);
    } else if (next_ < threads_) {
      resume(idle_fiber());
    } else {
      break;
    }
  }
  if (alive_ && !what.stopped) check_stuck();
  running = nullptr;
  if (alive_) {  // stopped: forget the threads where they stand
    for (Fiber* fiber : fibers_)
      if (fiber->busy) {
        fiber->restart();
        fiber->busy = false;
        idle_.push_back(fiber);
      }
  }
  if (what.settings.count_traffic) {
    std::lock_guard lock(what.traffic.mutex);
    LaunchRecord& record = what.traffic.record;
    traffic_.finish(record);
    record.barriers = std::max(record.barriers, barriers_);
    record.static_shared = std::max(record.static_shared, static_shared_);
  }
}

Fiber& Block::idle_fiber() {
  if (idle_.empty()) {
    fibers_.push_back(new Fiber(this));
    idle_.push_back(fibers_.back());
  }
  Fiber* fiber = idle_.back();
  idle_.pop_back();
  fiber->busy = true;
  return *fiber;
}

void Block::resume(Fiber& fiber) {
  running_fiber_ = &fiber;
  stack_begin_ = uintptr_t(fiber.stack);
#ifdef __SANITIZE_ADDRESS__
  void* mine = nullptr;
  leaving(&mine, fiber.stack, kStack);
#endif
  const context::transfer_t back = context::jump_fcontext(fiber.at, &fiber);
#ifdef __SANITIZE_ADDRESS__
  come(mine, nullptr, nullptr);
#endif
  fiber.at = back.fctx;
}

void Block::begin(int t) {
  current = t;
  const dim3 size = launch->block;
  thread = {unsigned(t) % size.x, unsigned(t) / size.x % size.y, unsigned(t) / size.x / size.y};
}

void Block::wait() {
  const int mine = current;
  leave(*running_fiber_, scheduler_);
  begin(mine);
}

void Block::stop() {
  launch->stopped = true;
  leave(*running_fiber_, scheduler_);
  __builtin_unreachable();
}

void Block::finished() {
  --alive_;
  const unsigned bit = 1u << (current % kWarp);
  Warp& warp = warps_[size_t(current / kWarp)];
  warp.alive &= ~bit;
  for (const Meeting& meeting : warp.meetings)
    if (meeting.arrived && (meeting.mask & bit)) {
      report_here(FaultKind::divergent_barrier, nullptr,
                  "returned while lanes of its warp wait for it");
      stop();
    }
  if (waiting_ && waiting_ == alive_) complete_barrier();
}

int Block::barrier(int how, int value, const char* file, int line) {
  if (!waiting_) {
    barrier_file_ = file;
    barrier_line_ = line;
    barrier_how_ = how;
    count_ = 0;
  } else if ((launch->settings.checks & check_barriers) &&
             (line != barrier_line_ || how != barrier_how_ || std::strcmp(file, barrier_file_))) {
    report_here(FaultKind::divergent_barrier, file + line,
                text("waits at the barrier in line %d of %s, others at that in line %d of %s", line,
                     file, barrier_line_, barrier_file_));
    stop();
  }
  count_ += value != 0;
  if (++waiting_ == alive_) complete_barrier();
  wait();
  return barrier_result_;
}

void Block::complete_barrier() {
  if (alive_ < threads_ && (launch->settings.checks & check_barriers)) {
    report_here(FaultKind::divergent_barrier, barrier_file_ + barrier_line_,
                text("is the last of %d threads at the barrier in line %d of %s, and %d have "
                     "returned without it",
                     alive_, barrier_line_, barrier_file_, threads_ - alive_));
    stop();
  }
  const int results[] = {0, count_, count_ == waiting_, count_ > 0};
  barrier_result_ = results[barrier_how_];
  waiting_ = 0;
  ++interval_;
  ++barriers_;
  ready_.clear();  // all that live have waited here
  ready_next_ = 0;
  draw_order(
      ready_, threads_, [](void* b) { return static_cast<Block*>(b)->random(); }, this);
  if (alive_ < threads_)
    std::erase_if(ready_,
                  [&](int t) { return !(warps_[size_t(t / kWarp)].alive >> (t % kWarp) & 1); });
}

void Block::meet(unsigned mask, void* mine, void (*act)(void* const* lanes, unsigned mask)) {
  Warp& warp = warps_[size_t(current / kWarp)];
  const int lane = current % kWarp;
  // A last warp that is not whole may name lanes that never were.
  const int first = current - lane;
  if (threads_ - first < kWarp) mask &= (1u << (threads_ - first)) - 1;
  if (!(mask >> lane & 1) || (mask & ~warp.alive)) {
    report_here(FaultKind::divergent_barrier, reinterpret_cast<void*>(act),
                text("meets lanes of its warp with the mask %08x, which %s", mask,
                     mask >> lane & 1 ? "names lanes that have returned" : "lacks itself"));
    stop();
  }
  Meeting* meeting = nullptr;
  for (Meeting& m : warp.meetings)
    if (m.arrived && (m.mask & mask)) meeting = &m;
  if (!meeting)
    for (Meeting& m : warp.meetings)
      if (!m.arrived) meeting = &m;
  if (!meeting || (meeting->arrived && (meeting->mask != mask || meeting->act != act))) {
    report_here(FaultKind::divergent_barrier, reinterpret_cast<void*>(act),
                text("meets lanes of its warp with the mask %08x, while others wait for it with "
                     "another mask or at another function",
                     mask));
    stop();
  }
  meeting->mask = mask;
  meeting->act = act;
  meeting->arrived |= 1u << lane;
  meeting->lanes[lane] = mine;
  if (meeting->arrived == mask) {
    if (act) act(meeting->lanes, mask);
    meeting->arrived = 0;
    ++warp.phase;
    const int turn = int(random() % kWarp);
    for (int i = 0; i < kWarp; ++i) {
      const int l = (i + turn) % kWarp;
      if (mask >> l & 1) ready_.push_back(first + l);
    }
    if (mask == 1u << lane)
      ready_.pop_back();  // alone: no need to wait
    else
      wait();
    return;
  }
  wait();
}

unsigned Block::active_mask() const { return warps_[size_t(current / kWarp)].alive; }

// Nobody can go on, and not all have returned.
void Block::check_stuck() {
  for (int t = 0; t < threads_; ++t) {
    const Warp& warp = warps_[size_t(t / kWarp)];
    for (const Meeting& m : warp.meetings) {
      if (!(m.arrived >> (t % kWarp) & 1)) continue;
      begin(t);
      report_here(FaultKind::divergent_barrier, nullptr,
                  text("waits for lanes of its warp (mask %08x, there are %08x) that never come",
                       m.mask, m.arrived));
      launch->stopped = true;
      return;
    }
  }
  begin(0);
  report_here(FaultKind::divergent_barrier, nullptr, "is in a block that waits for ever");
  launch->stopped = true;
}

void Block::report_here(FaultKind kind, const void* site, const std::string& what) {
  report(kind, launch->name, uint64_t(uintptr_t(site)),
         text("%s: block (%u,%u,%u), thread (%u,%u,%u) %s.", launch->name.c_str(), block.x, block.y,
              block.z, thread.x, thread.y, thread.z, what.c_str()));
}

int lane_index() { return running->current % kWarp; }
unsigned active_mask() { return running->active_mask(); }
int barrier(int how, int value, const char* file, int line) {
  return running->barrier(how, value, file, line);
}
void sync_warp(unsigned mask) { running->meet(mask, nullptr, nullptr); }

namespace {
struct Shuffled {
  uint64_t value;
  int source;
  uint64_t result;
};
struct Vote {
  bool value;
  unsigned result;
};
}  // namespace

uint64_t shuffle(unsigned mask, uint64_t value, int source) {
  Shuffled mine{value, source, 0};
  running->meet(mask, &mine, [](void* const* lanes, unsigned mask) {
    for (int l = 0; l < kWarp; ++l) {
      if (!(mask >> l & 1)) continue;
      auto& to = *static_cast<Shuffled*>(lanes[l]);
      // The value of a lane that does not take part is undefined: give one that is seen.
      to.result = mask >> to.source & 1 ? static_cast<Shuffled*>(lanes[to.source])->value
                                        : 0xFFFF'FFFF'FFFF'FFFF;
    }
  });
  return mine.result;
}

unsigned ballot(unsigned mask, bool predicate) {
  Vote mine{predicate, 0};
  running->meet(mask, &mine, [](void* const* lanes, unsigned mask) {
    unsigned votes = 0;
    for (int l = 0; l < kWarp; ++l)
      if (mask >> l & 1) votes |= unsigned(static_cast<Vote*>(lanes[l])->value) << l;
    for (int l = 0; l < kWarp; ++l)
      if (mask >> l & 1) static_cast<Vote*>(lanes[l])->result = votes;
  });
  return mine.result;
}

}  // namespace pneuma::host_cuda

using pneuma::host_cuda::running;

uint3 host_cuda_thread_index() { return running->thread; }
uint3 host_cuda_block_index() { return running->block; }
dim3 host_cuda_block_dim() { return running->launch->block; }
dim3 host_cuda_grid_dim() { return running->launch->grid; }
