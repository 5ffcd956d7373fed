#include "kernels/host_cuda/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "kernels/host_cuda/faults.h"
#include "kernels/host_cuda/state.h"

namespace pneuma::host_cuda {

Arena arena;

namespace {

constexpr size_t kPage = 4096;
constexpr uint8_t kGuardByte = 0xC5;
constexpr size_t kRemembered = 4096;  // freed allocations that a fault can still name

std::mutex mutex;
std::map<uintptr_t, Allocation> allocations;  // by begin, live ones and the last freed ones
std::vector<uintptr_t> freed;                 // a ring
size_t freed_next = 0, used = 0, live_bytes = 0;
int64_t count = 0;

size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }
size_t slot_bytes(size_t bytes) { return round_up(bytes + 2 * kGuard, kPage); }

void* reserve(size_t bytes, int protection) {
  void* p = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? nullptr : p;
}

bool open_arena() {
  for (int bits = 40; !arena.begin && bits >= 33; --bits) {
    const size_t size = size_t(1) << bits;
    void* data = reserve(size, PROT_NONE);
    void* states = reserve(size, PROT_READ | PROT_WRITE);
    void* granules = reserve(size / kGranule * sizeof(Granule), PROT_READ | PROT_WRITE);
    if (data && states && granules) {
      arena = {uintptr_t(data), size, static_cast<uint8_t*>(states),
               static_cast<Granule*>(granules)};
      break;
    }
    if (data) munmap(data, size);
    if (states) munmap(states, size);
    if (granules) munmap(granules, size / kGranule * sizeof(Granule));
  }
  return arena.begin != 0;
}

void give_back(void* begin, size_t bytes) { madvise(begin, bytes, MADV_DONTNEED); }

const Allocation* nearest(uintptr_t address) {  // REQUIRES the mutex
  auto after = allocations.upper_bound(address);
  const Allocation* best = nullptr;
  size_t distance = SIZE_MAX;
  if (after != allocations.begin()) {
    best = &std::prev(after)->second;
    const uintptr_t end = best->begin + best->bytes;
    distance = address < end ? 0 : address - end;
  }
  if (after != allocations.end() && after->first - address < distance) best = &after->second;
  return best;
}

bool guard_is_whole(const Allocation& a) {
  const auto* p = reinterpret_cast<const uint8_t*>(a.begin);
  for (size_t i = 1; i <= kGuard; ++i)
    if (p[-ptrdiff_t(i)] != kGuardByte || p[a.bytes + i - 1] != kGuardByte) return false;
  return true;
}

void verify(const Allocation& a) {
  if (guard_is_whole(a)) return;
  report(FaultKind::out_of_bounds, "guard", a.begin,
         text("Something wrote just outside of allocation %lld of %zu bytes without being seen.",
              (long long)a.number, a.bytes));
}

cudaError_t allocate(void** memory, size_t bytes, bool pinned) {
  if (!memory) return cudaErrorInvalidValue;
  *memory = nullptr;
  if (!bytes) return cudaSuccess;
  std::lock_guard lock(mutex);
  if (!pinned && (bytes > settings().memory || live_bytes + bytes > settings().memory))
    return cudaErrorMemoryAllocation;
  uintptr_t begin = 0;
  if (kSanitized) {
    begin = uintptr_t(std::aligned_alloc(kGuard, round_up(bytes, kGuard)));
    if (!begin) return cudaErrorMemoryAllocation;
  } else {
    const size_t slot = slot_bytes(bytes);
    if ((!arena.begin && !open_arena()) || slot > arena.size - used ||
        mprotect(reinterpret_cast<void*>(arena.begin + used), slot, PROT_READ | PROT_WRITE))
      return cudaErrorMemoryAllocation;
    begin = arena.begin + used + kGuard;
    used += slot;
    std::memset(reinterpret_cast<void*>(begin - kGuard), kGuardByte, kGuard);
    std::memset(reinterpret_cast<void*>(begin + bytes), kGuardByte, kGuard);
    std::memset(arena.state(begin), pinned ? written : unwritten, bytes);
  }
  allocations[begin] = {begin, bytes, pinned, false, ++count};
  if (!pinned) live_bytes += bytes;
  *memory = reinterpret_cast<void*>(begin);
  return cudaSuccess;
}

// Freeing waits for the device, as CUDA's does; that somebody still used the memory is a fault.
cudaError_t release(void* memory, bool pinned) {
  if (!memory) return cudaSuccess;
  const uintptr_t begin = uintptr_t(memory);
  {
    std::lock_guard lock(mutex);
    auto found = allocations.find(begin);
    if (found == allocations.end() || found->second.freed || found->second.pinned != pinned)
      return cudaErrorInvalidValue;
  }
  finish_before_free(memory, find_allocation(begin).bytes);
  std::lock_guard lock(mutex);
  Allocation& a = allocations[begin];
  if (!pinned) live_bytes -= a.bytes;
  if (kSanitized) {
    allocations.erase(begin);
    std::free(memory);
    return cudaSuccess;
  }
  verify(a);
  a.freed = true;
  void* slot = reinterpret_cast<void*>(begin - kGuard);
  give_back(slot, slot_bytes(a.bytes));
  mprotect(slot, slot_bytes(a.bytes), PROT_NONE);
  give_back(arena.state(begin - kGuard), slot_bytes(a.bytes));
  const uintptr_t granules = round_up(uintptr_t(&arena.granule(begin)), kPage);
  const uintptr_t granules_end = uintptr_t(&arena.granule(begin + a.bytes)) / kPage * kPage;
  if (granules < granules_end)
    give_back(reinterpret_cast<void*>(granules), granules_end - granules);
  if (freed.size() < kRemembered) {
    freed.push_back(begin);
  } else {
    allocations.erase(freed[freed_next]);
    freed[freed_next] = begin;
    freed_next = (freed_next + 1) % kRemembered;
  }
  return cudaSuccess;
}

}  // namespace

Allocation find_allocation(uintptr_t address) {
  std::lock_guard lock(mutex);
  const Allocation* a = nearest(address);
  if (!a || address + kGuard < a->begin || address >= a->begin + a->bytes + kGuard) return {};
  return *a;
}

std::string describe(uintptr_t address) {
  std::lock_guard lock(mutex);
  const Allocation* a = nearest(address);
  if (!a) return "where nothing was allocated";
  const uintptr_t end = a->begin + a->bytes;
  const char* kind = a->pinned ? "pinned allocation" : "allocation";
  const char* state = a->freed ? ", which was freed" : "";
  if (address < a->begin)
    return text("%zu bytes before %s %lld of %zu bytes%s", size_t(a->begin - address), kind,
                (long long)a->number, a->bytes, state);
  if (address >= end)
    return text("%zu bytes behind the end of %s %lld of %zu bytes%s", size_t(address - end), kind,
                (long long)a->number, a->bytes, state);
  return text("at byte %zu of %s %lld of %zu bytes%s", size_t(address - a->begin), kind,
              (long long)a->number, a->bytes, state);
}

bool in_bounds(uintptr_t address, size_t bytes) {
  std::lock_guard lock(mutex);
  const Allocation* a = nearest(address);
  return a && !a->freed && address >= a->begin && address - a->begin <= a->bytes &&
         bytes <= a->bytes - (address - a->begin);
}

bool is_pinned(const void* address) {
  std::lock_guard lock(mutex);
  const Allocation* a = nearest(uintptr_t(address));
  return a && a->pinned && !a->freed && uintptr_t(address) - a->begin < a->bytes;
}

size_t first_unwritten(uintptr_t address, size_t bytes) {
  if (kSanitized || !arena.has(address)) return bytes;
  const void* found = std::memchr(arena.state(address), unwritten, bytes);
  return found ? size_t(static_cast<const uint8_t*>(found) - arena.state(address)) : bytes;
}

void mark_written(uintptr_t address, size_t bytes) {
  if (!kSanitized && arena.has(address)) std::memset(arena.state(address), written, bytes);
}

void copy_states(uintptr_t to, uintptr_t from, size_t bytes) {
  if (kSanitized || !arena.has(to)) return;
  if (is_pinned(reinterpret_cast<void*>(to)) || !arena.has(from)) return mark_written(to, bytes);
  std::memmove(arena.state(to), arena.state(from), bytes);
}

void verify_guards() {
  if (kSanitized || !(settings().checks & check_bounds)) return;
  std::lock_guard lock(mutex);
  for (const auto& [begin, a] : allocations)
    if (!a.freed) verify(a);
}

size_t leaked_allocations() {
  std::lock_guard lock(mutex);
  size_t leaks = 0;
  for (const auto& [begin, a] : allocations) {
    if (a.freed) continue;
    ++leaks;
    report(FaultKind::leak, "memory", begin,
           text("%s %lld of %zu bytes was never freed.",
                a.pinned ? "Pinned allocation" : "Allocation", (long long)a.number, a.bytes));
  }
  return leaks;
}

}  // namespace pneuma::host_cuda

using namespace pneuma::host_cuda;

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  ++counting().allocations;
  return remember(allocate(memory, bytes, false));
}
cudaError_t cudaFree(void* memory) {
  ++counting().frees;
  return remember(release(memory, false));
}
cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  ++counting().pinned_allocations;
  return remember(allocate(memory, bytes, true));
}
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  return cudaMallocHost(memory, bytes);
}
cudaError_t cudaFreeHost(void* memory) {
  ++counting().frees;
  return remember(release(memory, true));
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  if (!free || !total) return remember(cudaErrorInvalidValue);
  std::lock_guard lock(mutex);
  *total = settings().memory;
  *free = *total - std::min(*total, live_bytes);
  return cudaSuccess;
}
