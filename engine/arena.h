// Memory of one step. Three ways to run the same code:
//   record   no memory at all; writes down who lives when (MemoryUse)
//   replay   hands out the planned offsets of one block: no allocation, the peak known before the
//   run direct   each tensor its own allocation: tests, examples, shapes met once
#pragma once

#include "engine/memory_plan.h"
#include "engine/tensor.h"

namespace pneuma {

class Arena {
 public:
  explicit Arena(const Device& device) : device_(device) {}
  ~Arena();
  Arena(const Arena&) = delete;

  std::shared_ptr<Storage> allocate(size_t bytes, const char* what);
  void release(const Storage&);

  void start_recording();
  MemoryPlan finish_recording();  // throws where a recorded tensor is still held

  // Until finish_replay, the k-th allocation gets plan.offsets[k]; throws where it asks for another
  // size. The block grows to the largest plan seen and stays.
  void start_replay(const MemoryPlan& plan);
  void finish_replay() { plan_ = nullptr; }

  void abandon();  // after an exception: back to direct

  bool recording() const { return recording_; }
  int64_t allocations() const { return allocations_; }  // real ones, so far: none in a steady step

 private:
  const Device& device_;
  void* block_ = nullptr;
  size_t block_bytes_ = 0;
  bool recording_ = false;
  int64_t clock_ = 0;
  std::vector<MemoryUse> uses_;
  const MemoryPlan* plan_ = nullptr;
  size_t next_ = 0;
  int64_t allocations_ = 0;
};

}  // namespace pneuma
