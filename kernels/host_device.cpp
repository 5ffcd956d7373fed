#include "kernels/host_device.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace pneuma {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

// Large blocks are aligned to huge pages, so that the arena costs few page faults.
Status allocate(size_t bytes, void** memory) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : kAlignment;
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  *memory =
      rounded < bytes ? nullptr : std::aligned_alloc(alignment, rounded ? rounded : alignment);
  if (!*memory) return {StatusCode::out_of_memory, "the host has no memory left"};
  if (alignment == kHugePage) madvise(*memory, rounded, MADV_HUGEPAGE);
  return {};
}
Status release(void* memory) {
  std::free(memory);
  return {};
}
Status copy(Stream, void* to, const void* from, size_t bytes) {
  std::memmove(to, from, bytes);
  return {};
}
Status create(void** handle) {
  *handle = nullptr;
  return {};
}
Status done(void*) { return {}; }
Status done_pair(void*, void*) { return {}; }

}  // namespace

size_t host_memory() { return size_t(sysconf(_SC_PHYS_PAGES)) * size_t(sysconf(_SC_PAGESIZE)); }

Device host_device(Status (*properties)(DeviceProperties*), Status (*set_threads)(int)) {
  return {.properties = properties,
          .set_threads = set_threads,
          .allocate = allocate,
          .release = release,
          .allocate_host = allocate,
          .release_host = release,
          .copy = copy,
          .create_stream = create,
          .destroy_stream = done,
          .synchronize = done,
          .create_event = create,
          .destroy_event = done,
          .record = done_pair,
          .wait = done_pair,
          .wait_on_host = done};
}

}  // namespace pneuma
