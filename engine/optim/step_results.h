// What a step leaves for the host, read one step later, so that the device always has the next
// step while the host reads.
#pragma once

#include "engine/optim/optimizer.h"
#include "engine/streams.h"

namespace pneuma {

struct StepResult {
  double loss;
  StepState state;
  std::vector<double> logits;  // [images,classes], where add_logits() was called
};

class StepResults {
 public:
  // logits: so many at most that a step leaves.
  StepResults(Context&, const Optimizer&, int64_t logits = 0);
  ~StepResults();  // waits for what is under way

  // [1]: where the step puts its loss.
  const Tensor& loss() const { return loss_; }
  // In a step: these stand in its result, behind those of its parts before.
  void add_logits(const Tensor&);
  // Behind a step: its results start on their way. REQUIRES waiting() < 2.
  void send();
  // The oldest results that were sent; waits for their step alone.
  StepResult receive();
  int64_t waiting() const { return sent_ - received_; }

 private:
  struct Slot {
    explicit Slot(Context& ctx) : pinned(ctx), here(ctx) {}
    Pinned pinned;  // the state, the loss, then the logits
    Dtype dtype = Dtype::f32;
    int64_t logits = 0;
    Mark here;
  };

  Context& ctx_;
  const Optimizer& optimizer_;
  const size_t bytes_;  // of a slot
  Tensor loss_;
  Slot slots_[2];
  int64_t sent_ = 0, received_ = 0;
};

}  // namespace pneuma
