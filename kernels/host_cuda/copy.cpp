// Copies, fills, and the work of libraries: operations that name the memory that they touch.
#include <cstring>

#include "kernels/host_cuda/host_cuda.h"
#include "kernels/host_cuda/state.h"
#include "kernels/host_cuda/timeline.h"
#include "kernels/host_cuda/traffic.h"

namespace pneuma::host_cuda {
namespace {

void count(const Operation& operation, size_t read, size_t written) {
  if (!settings().count_traffic) return;
  LaunchRecord record = make_record(operation.name);
  record.bytes_read = read;
  record.bytes_written = written;
  add_record(record);
}

bool usable(const Range& range) {
  return !range.bytes || (range.memory && (!(settings().checks & check_bounds) ||
                                           in_bounds(uintptr_t(range.memory), range.bytes)));
}

bool on_device(const void* memory) {
  return find_allocation(uintptr_t(memory)).number && !is_pinned(memory);
}

}  // namespace

cudaError_t enqueue(cudaStream_t stream, const char* name, std::function<void()> work,
                    std::vector<Range> reads, std::vector<Range> writes) {
  auto checked = [work = std::move(work), reads = std::move(reads),
                  writes = std::move(writes)](const Operation& operation) {
    size_t read = 0, written = 0;
    bool all = true;
    for (const Range& r : reads) {
      check_range(operation, r.memory, r.bytes, false, true);
      read += r.bytes;
      all = all && usable(r);
    }
    for (const Range& w : writes) {
      check_range(operation, w.memory, w.bytes, true, false);
      written += w.bytes;
      all = all && usable(w);
    }
    if (all) {
      work();
      for (const Range& w : writes) mark_written(uintptr_t(w.memory), w.bytes);
    }
    count(operation, read, written);
  };
  return remember(enqueue(stream, std::string(name), std::move(checked))
                      ? cudaSuccess
                      : cudaErrorInvalidResourceHandle);
}

}  // namespace pneuma::host_cuda

using namespace pneuma::host_cuda;

// As CUDA: pageable memory is read at the call, and written before it returns; pinned memory is
// touched when the stream comes to it.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault)
    return remember(cudaErrorInvalidMemcpyDirection);
  if (!bytes) return cudaSuccess;
  if (!to || !from) return remember(cudaErrorInvalidValue);
  const bool to_device = on_device(to), from_device = on_device(from);
  if (kind != cudaMemcpyDefault &&
      (to_device != (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice) ||
       from_device != (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice)))
    return remember(cudaErrorInvalidValue);
  ++counting().copies;
  const bool watch_to = to_device || is_pinned(to), watch_from = from_device || is_pinned(from);
  std::shared_ptr<char[]> staged;
  if (!watch_from) {
    staged.reset(new char[bytes]);
    std::memcpy(staged.get(), from, bytes);
  }
  auto work = [=](const Operation& operation) {
    const void* source = staged ? staged.get() : from;
    if (watch_from) check_range(operation, from, bytes, false, !to_device);
    if (watch_to) check_range(operation, to, bytes, true, false);
    if ((!watch_from || usable({from, bytes})) && (!watch_to || usable({to, bytes}))) {
      std::memmove(to, source, bytes);
      if (watch_to) copy_states(uintptr_t(to), watch_from ? uintptr_t(from) : 0, bytes);
    }
    count(operation, from_device ? bytes : 0, to_device ? bytes : 0);
  };
  const char* names[2][2] = {{"copy on the host", "copy to the device"},
                             {"copy to the host", "copy on the device"}};
  if (!enqueue(stream, std::string(names[from_device][to_device]), work))
    return remember(cudaErrorInvalidResourceHandle);
  return watch_to ? cudaSuccess : wait_for(stream);
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  if (error != cudaSuccess || !bytes) return error;
  const bool waited = !on_device(to) && !is_pinned(to);
  return waited ? error : wait_for(nullptr);
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (!bytes) return cudaSuccess;
  if (!to) return remember(cudaErrorInvalidValue);
  return enqueue(stream, "memset", [=] { std::memset(to, value, bytes); }, {}, {{to, bytes}});
}
cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  return cudaMemsetAsync(to, value, bytes, nullptr);
}
