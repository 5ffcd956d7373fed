#include "engine/context.h"

namespace pneuma {

Context::Context(const Backend& backend, const Precision& precision, bool dry)
    : backend_(backend), precision_(precision), arena_(backend.device), dry_(dry) {
  if (!dry) check(backend_.device.create_stream(&stream_), "create_stream");
}

Context::~Context() {
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
  Tensor t(storage, shape, dtype);
  const std::vector<char> zeros(storage->bytes);
  check(backend_.device.copy(stream_, storage->data, zeros.data(), zeros.size()), "copy");
  synchronize();
  return t;
}

void Context::upload(const Tensor& to, const void* from, size_t bytes) {
  if (dry()) return;
  if (bytes > to.bytes())
    fail(Exit::usage, "upload of {} bytes to a tensor of {}", bytes, to.bytes());
  check(backend_.device.copy(stream_, to.data<void>(), from, bytes), "copy");
  synchronize();
}

void Context::download(void* to, const Tensor& from, size_t bytes) {
  if (dry()) return;
  if (bytes > from.bytes())
    fail(Exit::usage, "download of {} bytes from a tensor of {}", bytes, from.bytes());
  check(backend_.device.copy(stream_, to, from.data<void>(), bytes), "copy");
  synchronize();
}

void Context::synchronize() { check(backend_.device.synchronize(stream_), "synchronize"); }

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
