// Copies, fills, and the work of libraries: operations that name the memory that they touch.
#include <cstring>

#include "kernels/host_cuda/host_cuda.h"
#include "kernels/host_cuda/state.h"
#include "kernels/host_cuda/timeline.h"
#include "kernels/host_cuda/traffic.h"

namespace pneuma::host_cuda {
namespace {

// `known`: what is read must have been written.
cudaError_t enqueue_checked(cudaStream_t stream, std::string name, std::function<void()> work,
                            std::vector<Range> reads, std::vector<Range> writes, bool known) {
  auto checked = [=](const Operation& operation) {
    LaunchRecord record = make_record(operation.name);
    bool usable = true;
    for (const Range& r : reads) {
      usable &= check_range(operation, r, false, known);
      record.bytes_read += r.bytes;
    }
    for (const Range& w : writes) {
      usable &= check_range(operation, w, true, false);
      record.bytes_written += w.bytes;
    }
    if (usable) {
      for (const Range& w : writes) mark_written(uintptr_t(w.memory), w.bytes);
      work();
    }
    if (settings().count_traffic) add_record(record);
  };
  return remember(enqueue(stream, std::move(name), checked) ? cudaSuccess
                                                            : cudaErrorInvalidResourceHandle);
}

}  // namespace

cudaError_t enqueue(cudaStream_t stream, const char* name, std::function<void()> work,
                    std::vector<Range> reads, std::vector<Range> writes) {
  return enqueue_checked(stream, name, std::move(work), std::move(reads), std::move(writes), true);
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
  const bool to_device = is_device(to), from_device = is_device(from);
  if (kind != cudaMemcpyDefault && kind != 2 * from_device + to_device)
    return remember(cudaErrorInvalidValue);
  ++counting().copies;
  std::vector<Range> reads, writes;
  std::shared_ptr<char[]> staged;
  if (from_device || is_pinned(from)) {
    reads = {{from, bytes}};
  } else {
    staged.reset(new char[bytes]);
    std::memcpy(staged.get(), from, bytes);
  }
  if (to_device || is_pinned(to)) writes = {{to, bytes}};
  auto work = [=] {
    std::memmove(to, staged ? staged.get() : from, bytes);
    if (to_device && !staged) copy_states(uintptr_t(to), uintptr_t(from), bytes);
  };
  const char* names[] = {"copy on the host", "copy to the device", "copy to the host",
                         "copy on the device"};
  const cudaError_t error =
      enqueue_checked(stream, names[2 * from_device + to_device], work, reads, writes, !to_device);
  return error || !writes.empty() ? error : wait_for(stream);
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  if (error != cudaSuccess || !bytes) return error;
  return is_device(to) || is_pinned(to) ? wait_for(nullptr) : error;
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (!bytes) return cudaSuccess;
  if (!to) return remember(cudaErrorInvalidValue);
  return enqueue(stream, "memset", [=] { std::memset(to, value, bytes); }, {}, {{to, bytes}});
}
cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  return cudaMemsetAsync(to, value, bytes, nullptr);
}
