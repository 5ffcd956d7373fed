#include "engine/optim/step_results.h"

#include <cstring>

#include "engine/host_values.h"

namespace pneuma {
namespace {

constexpr size_t kBytes = sizeof(StepState) + sizeof(double);

}  // namespace

StepResults::StepResults(Context& ctx, const Optimizer& optimizer, int64_t logits)
    : ctx_(ctx),
      optimizer_(optimizer),
      bytes_(kBytes + size_t(logits) * sizeof(double)),
      loss_(ctx.persistent({1}, ctx.precision().master)),
      slots_{Slot(ctx), Slot(ctx)} {
  for (Slot& slot : slots_) slot.pinned.reserve(bytes_);
}

StepResults::~StepResults() {
  if (!ctx_.dry()) ctx_.backend().device.synchronize(ctx_.stream());
}

void StepResults::add_logits(const Tensor& logits) {
  if (ctx_.dry()) return;
  Slot& slot = slots_[sent_ % 2];
  const int64_t count = logits.shape().count();
  const size_t at = kBytes + size_t(slot.logits) * size_of(logits.dtype());
  if (at + logits.bytes() > bytes_) fail(Exit::usage, "there is no room for {} logits", count);
  ctx_.copy(slot.pinned.reserve(bytes_) + at, logits.data<void>(), logits.bytes());
  slot.dtype = logits.dtype();
  slot.logits += count;
}

void StepResults::send() {
  Slot& slot = slots_[sent_++ % 2];
  std::byte* to = slot.pinned.reserve(bytes_);
  ctx_.copy(to, optimizer_.device_state(), sizeof(StepState));
  ctx_.copy(to + sizeof(StepState), loss_.data<void>(), loss_.bytes());
  slot.here.set();
}

StepResult StepResults::receive() {
  Slot& slot = slots_[received_++ % 2];
  slot.here.wait_on_host();
  const std::byte* from = slot.pinned.reserve(bytes_);
  StepResult result;
  std::memcpy(static_cast<void*>(&result.state), from, sizeof(StepState));
  from += sizeof(StepState);
  result.loss = loss_.dtype() == Dtype::f64 ? *reinterpret_cast<const double*>(from)
                                            : *reinterpret_cast<const float*>(from);
  from += sizeof(double);
  result.logits = values_of(slot.dtype, from, std::exchange(slot.logits, 0));
  return result;
}

}  // namespace pneuma
