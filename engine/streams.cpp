#include "engine/streams.h"

namespace pneuma {

SideStream::SideStream(Context& ctx) : ctx_(ctx) {
  if (!ctx.dry()) ctx.check(ctx.backend().device.create_stream(&stream_), "create_stream");
}

SideStream::~SideStream() {
  if (ctx_.dry()) return;
  ctx_.backend().device.synchronize(stream_);
  ctx_.backend().device.destroy_stream(stream_);
}

Mark::Mark(Context& ctx) : ctx_(ctx) {
  if (!ctx.dry()) ctx.check(ctx.backend().device.create_event(&event_), "create_event");
}

Mark::~Mark() {
  if (!ctx_.dry()) ctx_.backend().device.destroy_event(event_);
}

void Mark::set() {
  if (ctx_.dry()) return;
  ctx_.check(ctx_.backend().device.record(event_, ctx_.stream()), "record");
  set_ = true;
}

void Mark::wait() {
  if (set_) ctx_.check(ctx_.backend().device.wait(ctx_.stream(), event_), "wait");
}

void Mark::wait_on_host() {
  if (!set_) return;
  ++ctx_.counts.late_waits;
  ctx_.check(ctx_.backend().device.wait_on_host(event_), "wait_on_host");
}

Pinned::~Pinned() {
  if (memory_) ctx_.backend().device.release_host(memory_);
}

std::byte* Pinned::reserve(size_t bytes) {
  const Device& device = ctx_.backend().device;
  if (bytes > bytes_ && !ctx_.dry()) {
    if (memory_) device.release_host(memory_);
    memory_ = nullptr;
    bytes_ = 0;
    ctx_.check(device.allocate_host(with_room(bytes), &memory_), "allocate_host");
    bytes_ = with_room(bytes);
    ++ctx_.counts.allocations;
  }
  return static_cast<std::byte*>(memory_);
}

}  // namespace pneuma
