#include "engine/arena.h"

#include <limits>

#include "engine/error.h"

namespace pneuma {
namespace {

constexpr int64_t kAlive = std::numeric_limits<int64_t>::max();

void* allocate_on(const Device& device, size_t bytes) {
  void* memory = nullptr;
  if (const Status status = device.allocate(bytes, &memory); !status) {
    fail(Exit::environment,
         "cannot get {:.1f} MB of memory: {}; use a smaller --mini_batch_size or --image_shape",
         double(bytes) / 1e6, status.message);
  }
  return memory;
}

}  // namespace

Arena::~Arena() {
  if (block_) device_.release(block_);
}

std::shared_ptr<Storage> Arena::allocate(size_t bytes, const char* what) {
  auto storage = std::make_shared<Storage>();
  storage->bytes = bytes;
  if (recording_) {
    storage->arena = this;
    storage->slot = uses_.size();
    uses_.push_back({bytes, clock_++, kAlive, what});
  } else if (plan_) {
    if (next_ >= plan_->uses.size() || plan_->uses[next_].bytes != bytes) {
      fail(Exit::usage, "{} asks for {} bytes that the memory plan does not know (allocation {})",
           what, bytes, next_);
    }
    storage->data = static_cast<char*>(block_) + plan_->offsets[next_++];
  } else {
    storage->data = allocate_on(device_, bytes);
    storage->device = &device_;
    ++allocations_;
  }
  return storage;
}

void Arena::release(const Storage& storage) {
  if (recording_ && storage.slot < uses_.size()) uses_[storage.slot].last = clock_++;
}

void Arena::start_recording() {
  recording_ = true;
  clock_ = 0;
  uses_.clear();
}

MemoryPlan Arena::finish_recording() {
  recording_ = false;
  for (const MemoryUse& use : uses_) {
    if (use.last == kAlive)
      fail(Exit::usage, "a tensor of '{}' outlives the recorded step", use.what);
  }
  return plan_memory(std::move(uses_));
}

void Arena::abandon() {
  recording_ = false;
  plan_ = nullptr;
}

void Arena::start_replay(const MemoryPlan& plan) {
  if (plan.peak > block_bytes_) {
    if (block_) device_.release(block_);
    block_ = nullptr;
    block_bytes_ = 0;
    block_ = allocate_on(device_, plan.peak);
    block_bytes_ = plan.peak;
    ++allocations_;
  }
  plan_ = &plan;
  next_ = 0;
}

}  // namespace pneuma
