#include "engine/context.h"

#include <chrono>

namespace pneuma {

Context::Context(const Backend& backend, const Precision& precision, bool dry)
    : backend_(backend), precision_(precision), arena_(backend.device), dry_(dry) {
  if (!dry) check(backend_.device.create_stream(&stream_), "create_stream");
}

Context::~Context() {
  for (Event event : traced_) {
    if (event) backend_.device.destroy_event(event);
  }
  if (!dry_) backend_.device.destroy_stream(stream_);
}

void Context::check(const Status& status, const char* what) const {
  if (status) return;
  const Exit exit = status.code == StatusCode::invalid ? Exit::usage : Exit::environment;
  fail(exit, "{} on device {}: {}", what, backend_.name, status.message);
}

Tensor Context::tensor(Shape shape, Dtype dtype, const char* what) {
  return Tensor(arena_.allocate(size_t(shape.count()) * size_of(dtype), what), shape, dtype);
}

Tensor Context::persistent(Shape shape, Dtype dtype) {
  auto storage = std::make_shared<Storage>();
  storage->bytes = size_t(shape.count()) * size_of(dtype);
  persistent_bytes_ += storage->bytes;
  if (dry_) return Tensor(storage, shape, dtype);
  storage->device = &backend_.device;
  check(backend_.device.allocate(storage->bytes, &storage->data), "allocate");
  ++counts.allocations;
  Tensor t(storage, shape, dtype);
  const std::vector<char> zeros(storage->bytes);
  copy(storage->data, zeros.data(), zeros.size());
  synchronize();
  return t;
}

void Context::upload(const Tensor& to, const void* from, size_t bytes) {
  if (dry()) return;
  if (bytes > to.bytes())
    fail(Exit::usage, "upload of {} bytes to a tensor of {}", bytes, to.bytes());
  copy(to.data<void>(), from, bytes);
  synchronize();
}

void Context::download(void* to, const Tensor& from, size_t bytes) {
  if (dry()) return;
  if (bytes > from.bytes())
    fail(Exit::usage, "download of {} bytes from a tensor of {}", bytes, from.bytes());
  copy(to, from.data<void>(), bytes);
  synchronize();
}

void Context::copy(void* to, const void* from, size_t bytes) {
  if (!dry() && bytes) check(backend_.device.copy(stream_, to, from, bytes), "copy");
}

void Context::synchronize() {
  if (dry()) return;
  ++counts.synchronisations;
  check(backend_.device.synchronize(stream_), "synchronize");
}

Context::Range::Range(const Context& ctx, const char* name, const char* what) {
  const Device& device = ctx.backend().device;
  if (!device.push_range || ctx.dry()) return;
  device.push_range(what ? fmt::format("{} {}", name, what).c_str() : name);
  pop_ = device.pop_range;
}

double Launch::bytes() const {
  double sum = 0;
  for (const Operand& o : operands) sum += o.read + o.written;
  return sum;
}

void Context::traced(const char* kernel, const Operands& operands,
                     const std::function<Status()>& run) {
  const Device& device = backend_.device;
  const auto start = std::chrono::steady_clock::now();
  if (!device.elapsed) {
    check(run(), kernel);
    synchronize();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    return trace({kernel, took.count(), operands});
  }
  for (Event& event : traced_) {
    if (!event) check(device.create_event(&event), "create_event");
  }
  check(device.record(traced_[0], stream_), "record");
  check(run(), kernel);
  check(device.record(traced_[1], stream_), "record");
  synchronize();
  float milliseconds = 0;
  check(device.elapsed(traced_[0], traced_[1], &milliseconds), "elapsed");
  trace({kernel, milliseconds * 1e-3, operands});
}

MemoryPlan Context::record(const std::function<void()>& step) {
  arena_.start_recording();
  try {
    step();
  } catch (...) {
    arena_.abandon();
    throw;
  }
  return arena_.finish_recording();
}

void Context::replay(const MemoryPlan& plan, const std::function<void()>& step) {
  arena_.start_replay(plan);
  try {
    step();
  } catch (...) {
    arena_.abandon();
    throw;
  }
  arena_.finish_replay();
}

}  // namespace pneuma
