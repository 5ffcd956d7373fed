// The threads of a block: fibers, barriers, meetings of lanes.
#include <sys/mman.h>

#include <boost/context/detail/fcontext.hpp>
#include <cstring>
#include <tuple>

#include "kernels/host_cuda/block.h"
#include "kernels/host_cuda/device_side.h"
#include "kernels/host_cuda/faults.h"

// ASan keeps a shadow of each stack and must be told of every change; absent without it.
extern "C" {
[[gnu::weak]] void __sanitizer_start_switch_fiber(void** save, const void* stack, size_t bytes);
[[gnu::weak]] void __sanitizer_finish_switch_fiber(void* save, const void** stack, size_t* bytes);
[[gnu::weak]] void __asan_unpoison_memory_region(const volatile void* begin, size_t bytes);
}

namespace pneuma::host_cuda {

using boost::context::detail::fcontext_t;
using boost::context::detail::transfer_t;

thread_local Block* running = nullptr;

namespace {
struct Stack {
  const void* begin = nullptr;
  size_t bytes = 0;
};
thread_local Stack scheduler_stack;

transfer_t jump(fcontext_t to, void* data, const Stack& stack, Stack* from) {
  void* save = nullptr;
  if (kSanitized) __sanitizer_start_switch_fiber(&save, stack.begin, stack.bytes);
  const transfer_t back = boost::context::detail::jump_fcontext(to, data);
  Stack unused;
  if (!from) from = &unused;
  if (kSanitized) __sanitizer_finish_switch_fiber(save, &from->begin, &from->bytes);
  return back;
}
}  // namespace

struct Fiber {
  explicit Fiber(Block* block) : block(block) {
    constexpr size_t page = 4096;
    void* p = mmap(nullptr, kStack + page, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    mprotect(p, page, PROT_NONE);  // overflowing ends the program here, and nowhere else
    stack = static_cast<char*>(p) + page;
    restart();
  }
  void restart() {
    if (kSanitized) __asan_unpoison_memory_region(stack, kStack);
    at = boost::context::detail::make_fcontext(stack + kStack, kStack, body);
    busy = false;
  }
  static void body(transfer_t from) {
    if (kSanitized)
      __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack.begin, &scheduler_stack.bytes);
    Fiber& fiber = *static_cast<Fiber*>(from.data);
    Block& block = *fiber.block;
    for (block.scheduler_ = from.fctx;; fiber.leave()) {
      while (block.ready_.empty() && !block.fresh_.empty()) {
        block.begin(block.fresh_.front());
        block.fresh_.pop_front();
        block.fiber_of_[block.current] = &fiber;
        block.launch->call->run();
        block.finished();
      }
      fiber.busy = false;
      block.idle_.push_back(&fiber);
    }
  }
  void leave() {  // to the scheduler, until resumed
    block->scheduler_ = jump(block->scheduler_, nullptr, scheduler_stack, &scheduler_stack).fctx;
  }

  Block* block;
  char* stack;
  fcontext_t at;
  bool busy;
};

Block::Block() : dynamic_(dynamic_shared_begin()) {
  std::tie(shared_, shared_bytes_) = thread_local_block();
  words_.resize(shared_bytes_ / 4 + 2);
  knows_shared_variables_ = knows_shared_variables();
}

uint64_t Block::random() {  // xorshift64*, Vigna 2016
  random_ ^= random_ >> 12;
  random_ ^= random_ << 25;
  random_ ^= random_ >> 27;
  return random_ * 0x2545F4914F6CDD1Dull;
}

// A random order of the warps; in each, lanes from a random one on, up or down.
template <class Queue>
void Block::draw_order(Queue& threads) {
  unsigned shuffled[kMaxThreads / kWarp];
  for (unsigned i = 0; i < warps_.size(); ++i) {
    const unsigned j = unsigned(random() % (i + 1));
    shuffled[i] = shuffled[j];
    shuffled[j] = i;
  }
  for (unsigned i = 0; i < warps_.size(); ++i) {
    const uint64_t draw = random();
    const unsigned first = draw % kWarp, step = draw >> 32 & 1 ? 1 : kWarp - 1;
    for (unsigned k = 0; k < kWarp; ++k) {
      const unsigned lane = (first + k * step) % kWarp;
      if (warps_[shuffled[i]].alive >> lane & 1) threads.push_back(shuffled[i] * kWarp + lane);
    }
  }
}

void Block::run(Launch& what, uint64_t index) {
  launch = &what;
  const dim3 grid = what.grid;
  block = {unsigned(index % grid.x), unsigned(index / grid.x % grid.y),
           unsigned(index / grid.x / grid.y)};
  threads_ = alive_ = what.block.x * what.block.y * what.block.z;
  waiting_ = 0;
  barriers_ = static_shared_ = 0;
  first_interval_ = ++interval_;
  fiber_of_.resize(threads_);
  warps_.assign((threads_ + kWarp - 1) / kWarp, {});
  for (unsigned t = 0; t < threads_; ++t) warps_[t / kWarp].alive |= 1u << (t % kWarp);
  random_ = (what.settings.seed ^ what.number << 20 ^ index) * 0x9E3779B97F4A7C15ull | 1;
  for (int i = 0; i < 4; ++i) random();
  ready_.clear();
  fresh_.clear();
  draw_order(fresh_);
  if (what.settings.count_traffic) traffic_.start(int(threads_));

  running = this;
  while (!what.stopped && !(ready_.empty() && fresh_.empty())) {
    if (!ready_.empty()) {
      begin(ready_.front());
      ready_.pop_front();
      resume(*fiber_of_[current]);
      continue;
    }
    if (idle_.empty()) idle_.push_back(fibers_.emplace_back(new Fiber(this)));
    Fiber& fiber = *idle_.back();
    idle_.pop_back();
    fiber.busy = true;
    resume(fiber);
  }
  running = nullptr;
  if (alive_) {  // forget the threads where they stand
    if (!what.stopped)
      report_here(FaultKind::divergent_barrier, nullptr,
                  "is in a block whose threads wait for others that never come");
    what.stopped = true;
    for (Fiber* fiber : fibers_) {
      if (!fiber->busy) continue;
      fiber->restart();
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

void Block::resume(Fiber& fiber) {
  fiber_ = &fiber;
  stack_ = uintptr_t(fiber.stack);
  fiber.at = jump(fiber.at, &fiber, {fiber.stack, kStack}, nullptr).fctx;
}

void Block::begin(unsigned t) {
  const dim3 size = launch->block;
  current = t;
  thread = {t % size.x, t / size.x % size.y, t / size.x / size.y};
}

void Block::wait() {
  const unsigned mine = current;
  fiber_->leave();
  begin(mine);
}

void Block::report_here(FaultKind kind, const void* site, const std::string& what) {
  const std::string& name = launch->operation->name;
  report(kind, name, uintptr_t(site),
         text("%s: block (%u,%u,%u), thread (%u,%u,%u) %s.", name.c_str(), block.x, block.y,
              block.z, thread.x, thread.y, thread.z, what.c_str()));
}

void Block::fail(FaultKind kind, const void* site, const std::string& what) {
  report_here(kind, site, what);
  launch->stopped = true;
  fiber_->leave();
  __builtin_unreachable();
}

void Block::finished() {
  --alive_;
  const unsigned bit = 1u << (current % kWarp);
  Warp& warp = warps_[current / kWarp];
  warp.alive &= ~bit;
  for (const Meeting& meeting : warp.meetings)
    if (meeting.arrived && (meeting.mask & bit))
      fail(FaultKind::divergent_barrier, nullptr, "returned while lanes of its warp wait for it");
  if (waiting_ && waiting_ == alive_) complete_barrier();
}

int Block::barrier(int how, int value, const char* file, int line) {
  if (!waiting_) {
    std::tie(how_, file_, line_, count_) = std::tuple(how, file, line, 0);
  } else if (checks(check_barriers) && (line != line_ || how != how_ || std::strcmp(file, file_))) {
    fail(FaultKind::divergent_barrier, file + line,
         text("waits at the barrier in line %d of %s, others at that in line %d of %s", line, file,
              line_, file_));
  }
  count_ += value != 0;
  if (++waiting_ == alive_) complete_barrier();
  wait();
  return result_;
}

void Block::complete_barrier() {
  if (alive_ < threads_ && checks(check_barriers))
    fail(FaultKind::divergent_barrier, file_ + line_,
         text("is in a block of which %u threads wait at the barrier in line %d of %s, and %u have "
              "returned without it",
              alive_, line_, file_, threads_ - alive_));
  const int results[] = {0, count_, count_ == int(waiting_), count_ > 0};
  result_ = results[how_];
  waiting_ = 0;
  ++interval_;
  ++barriers_;
  draw_order(ready_);
}

void Block::meet(unsigned mask, void* mine, Act act) {
  Warp& warp = warps_[current / kWarp];
  const unsigned lane = current % kWarp, first = current - lane;
  // A last warp that is not whole may name lanes that never were.
  if (threads_ - first < kWarp) mask &= (1u << (threads_ - first)) - 1;
  Meeting* meeting = nullptr;
  for (Meeting& m : warp.meetings)
    if (!m.arrived || (m.mask & mask)) meeting = meeting && meeting->arrived ? meeting : &m;
  if (!(mask >> lane & 1) || (mask & ~warp.alive) || !meeting ||
      (meeting->arrived && (meeting->mask != mask || meeting->act != act)))
    fail(FaultKind::divergent_barrier, reinterpret_cast<void*>(act),
         text("meets lanes of its warp with the mask %08x: it is not among them, or one has "
              "returned or waits with another mask or function",
              mask));
  meeting->mask = mask;
  meeting->act = act;
  meeting->arrived |= 1u << lane;
  meeting->lanes[lane] = mine;
  if (meeting->arrived == mask) {
    if (act) act(meeting->lanes, mask);
    meeting->arrived = 0;
    ++warp.phase;
    const unsigned turn = unsigned(random());
    for (unsigned i = 0; i < kWarp; ++i)
      if (const unsigned l = (i + turn) % kWarp; mask >> l & 1) ready_.push_back(first + l);
  }
  wait();
}

unsigned active_mask() { return running->active_mask(); }
int lane_index() { return int(running->current % kWarp); }
int barrier(int how, int value, const char* file, int line) {
  return running->barrier(how, value, file, line);
}
void sync_warp(unsigned mask) { running->meet(mask, nullptr, nullptr); }

// A vote asks all lanes, a shuffle one; where that one does not take part, CUDA leaves the value
// open, and it is made one that is seen.
uint64_t exchange(unsigned mask, uint64_t value, int source) {
  struct Lane {
    uint64_t value;
    int source;  // -1: a vote
    uint64_t result;
  } mine{value, source, 0};
  running->meet(mask, &mine, [](void* const* lanes, unsigned mask) {
    auto lane = [&](int l) -> Lane& { return *static_cast<Lane*>(lanes[l]); };
    uint64_t votes = 0;
    for (int l = 0; l < kWarp; ++l)
      if (mask >> l & 1) votes |= uint64_t(lane(l).value != 0) << l;
    for (int l = 0; l < kWarp; ++l) {
      if (!(mask >> l & 1)) continue;
      const int from = lane(l).source;
      lane(l).result = from < 0 ? votes : mask >> from & 1 ? lane(from).value : ~uint64_t(0);
    }
  });
  return mine.result;
}

}  // namespace pneuma::host_cuda

using pneuma::host_cuda::running;

uint3 host_cuda_thread_index() { return running->thread; }
uint3 host_cuda_block_index() { return running->block; }
dim3 host_cuda_block_dim() { return running->launch->block; }
dim3 host_cuda_grid_dim() { return running->launch->grid; }
