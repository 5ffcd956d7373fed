#include "kernels/host_cuda/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>

#include "kernels/host_cuda/faults.h"
#include "kernels/host_cuda/state.h"

namespace pneuma::host_cuda {

Arena arena;

namespace {

constexpr size_t kPage = 4096;
constexpr uint8_t kGuardByte = 0xC5;

std::mutex mutex;
// Never destroyed: streams may run on while the program ends.
auto& allocations = *new std::map<uintptr_t, Allocation>;  // by begin, live and freed ones
auto& live = *new std::set<uintptr_t>;                     // begins
size_t used = 0, live_bytes = 0;
int64_t count = 0;

size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }
size_t slot_bytes(size_t bytes) { return round_up(bytes + 2 * kGuard, kPage); }

void* reserve(size_t bytes, int protection) {
  void* p = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? nullptr : p;
}

bool open_arena() {
  constexpr size_t size = size_t(1) << 40;
  void* data = reserve(size, PROT_NONE);
  void* states = reserve(size, PROT_READ | PROT_WRITE);
  void* granules = reserve(size / kGranule * sizeof(Granule), PROT_READ | PROT_WRITE);
  if (data && states && granules)
    arena = {uintptr_t(data), size, static_cast<uint8_t*>(states), static_cast<Granule*>(granules)};
  return arena.begin != 0;
}

// Memory of whole pages between the two.
void give_back(void* begin, void* end) {
  const uintptr_t first = round_up(uintptr_t(begin), kPage), last = uintptr_t(end) / kPage * kPage;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

void fill_guards(uintptr_t begin, size_t bytes) {
  std::memset(reinterpret_cast<void*>(begin - kGuard), kGuardByte, kGuard);
  std::memset(reinterpret_cast<void*>(begin + bytes), kGuardByte, kGuard);
}

void verify(const Allocation& a) {
  const auto* p = reinterpret_cast<const uint8_t*>(a.begin);
  bool whole = true;
  for (size_t i = 0; i < kGuard; ++i)
    whole &= (p - kGuard)[i] == kGuardByte && p[a.bytes + i] == kGuardByte;
  if (whole) return;
  fill_guards(a.begin, a.bytes);
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
    fill_guards(begin, bytes);
    std::memset(arena.state(begin), pinned ? written : unwritten, bytes);
  }
  allocations[begin] = {begin, bytes, pinned, false, ++count};
  live.insert(begin);
  if (!pinned) live_bytes += bytes;
  *memory = reinterpret_cast<void*>(begin);
  return cudaSuccess;
}

// Freeing waits for the device, as CUDA's does; that somebody still used the memory is a fault.
cudaError_t release(void* memory, bool pinned) {
  if (!memory) return cudaSuccess;
  const uintptr_t begin = uintptr_t(memory);
  const Allocation found = find_allocation(begin);
  if (found.begin != begin || found.freed || found.pinned != pinned) return cudaErrorInvalidValue;
  finish_before_free();
  std::lock_guard lock(mutex);
  Allocation& a = allocations[begin];
  live.erase(begin);
  if (!pinned) live_bytes -= a.bytes;
  if (kSanitized) {
    allocations.erase(begin);
    std::free(memory);
    return cudaSuccess;
  }
  verify(a);
  a.freed = true;
  const uintptr_t slot = begin - kGuard, end = slot + slot_bytes(a.bytes);
  give_back(reinterpret_cast<void*>(slot), reinterpret_cast<void*>(end));
  mprotect(reinterpret_cast<void*>(slot), end - slot, PROT_NONE);
  give_back(arena.state(slot), arena.state(end));
  give_back(&arena.granule(slot), &arena.granule(end));
  return cudaSuccess;
}

}  // namespace

Allocation find_allocation(uintptr_t address) {
  std::lock_guard lock(mutex);
  const auto after = allocations.upper_bound(address + kGuard);
  return after == allocations.begin() ? Allocation{} : std::prev(after)->second;
}

std::string describe(uintptr_t address) {
  const Allocation a = find_allocation(address);
  const uintptr_t end = a.begin + a.bytes;
  const std::string where = address < a.begin ? text("%zu bytes before", a.begin - address)
                            : address < end   ? text("at byte %zu of", address - a.begin)
                                              : text("%zu bytes behind the end of", address - end);
  return text("%s %sallocation %lld of %zu bytes%s", where.c_str(), a.pinned ? "pinned " : "",
              (long long)a.number, a.bytes, a.freed ? ", which was freed" : "");
}

bool in_bounds(uintptr_t address, size_t bytes) {
  const Allocation a = find_allocation(address);
  return !a.freed && address - a.begin <= a.bytes && bytes <= a.bytes - (address - a.begin);
}
bool is_freed(uintptr_t address) {
  const Allocation a = find_allocation(address);
  return a.freed && address - a.begin < a.bytes;
}
bool is_pinned(const void* memory) {
  return in_bounds(uintptr_t(memory), 1) && find_allocation(uintptr_t(memory)).pinned;
}
bool is_device(const void* memory) {
  return (arena.has(uintptr_t(memory)) || in_bounds(uintptr_t(memory), 1)) && !is_pinned(memory);
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
  if (!kSanitized && arena.has(to) && arena.has(from))
    std::memmove(arena.state(to), arena.state(from), bytes);
}

void verify_guards() {
  if (kSanitized || !(settings().checks & check_bounds)) return;
  std::lock_guard lock(mutex);
  for (uintptr_t begin : live) verify(allocations[begin]);
}

size_t leaked_allocations() {
  std::lock_guard lock(mutex);
  for (uintptr_t begin : live)
    report(FaultKind::leak, "memory", begin,
           text("Allocation %lld of %zu bytes was never freed.",
                (long long)allocations[begin].number, allocations[begin].bytes));
  return live.size();
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
cudaError_t cudaFreeHost(void* memory) {
  ++counting().frees;
  return remember(release(memory, true));
}
