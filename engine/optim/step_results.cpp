#include "engine/optim/step_results.h"

#include <cstring>

namespace pneuma {
namespace {

constexpr size_t kBytes = sizeof(StepState) + sizeof(double);

}  // namespace

StepResults::StepResults(Context& ctx, const Optimizer& optimizer)
    : ctx_(ctx),
      optimizer_(optimizer),
      loss_(ctx.persistent({1}, ctx.precision().master)),
      slots_{Slot(ctx), Slot(ctx)} {
  for (Slot& slot : slots_) slot.pinned.reserve(kBytes);
}

StepResults::~StepResults() {
  if (!ctx_.dry()) ctx_.backend().device.synchronize(ctx_.stream());
}

void StepResults::send() {
  Slot& slot = slots_[sent_++ % 2];
  std::byte* to = slot.pinned.reserve(kBytes);
  ctx_.copy(to, optimizer_.device_state(), sizeof(StepState));
  ctx_.copy(to + sizeof(StepState), loss_.data<void>(), loss_.bytes());
  slot.here.set();
}

StepResult StepResults::receive() {
  Slot& slot = slots_[received_++ % 2];
  slot.here.wait_on_host();
  const std::byte* from = slot.pinned.reserve(kBytes);
  StepResult result;
  std::memcpy(static_cast<void*>(&result.state), from, sizeof(StepState));
  from += sizeof(StepState);
  result.loss = loss_.dtype() == Dtype::f64 ? *reinterpret_cast<const double*>(from)
                                            : *reinterpret_cast<const float*>(from);
  return result;
}

}  // namespace pneuma
