// The device's memory and pinned memory: one reserved range of addresses, of which an allocation is
// a piece with guard zones around it; addresses are not used twice. Beside it lie, at a fixed
// distance, one byte of state for each byte, and one Granule for each 256. A sanitizer build takes
// plain memory instead and leaves bounds to the sanitizer.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/host_cuda/runtime_api.h"

namespace pneuma::host_cuda {

#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// Who last wrote and who last read: numbers of operations (see timeline.h), 0 for nobody.
struct Granule {
  std::atomic<uint64_t> writer, readers[3];
};
inline constexpr size_t kGranule = 256, kGuard = 256;
enum ByteState : uint8_t { nobodys = 0, unwritten = 1, written = 2 };

struct Arena {
  uintptr_t begin = 0;
  size_t size = 0;
  uint8_t* states = nullptr;
  Granule* granules = nullptr;

  bool has(uintptr_t address) const { return address - begin < size; }
  uint8_t* state(uintptr_t address) const { return states + (address - begin); }
  Granule& granule(uintptr_t address) const { return granules[(address - begin) / kGranule]; }
};
extern Arena arena;

struct Allocation {
  uintptr_t begin = 0;
  size_t bytes = 0;
  bool pinned = false, freed = false;
  int64_t number = 0;  // of this allocation, from 1
};

// The last allocation that begins before `address`, its guard zone included; else number is 0.
Allocation find_allocation(uintptr_t address);
// "4 bytes behind the end of allocation 3 of 4096 bytes", for a fault's sentence.
std::string describe(uintptr_t address);

// Do [address, address + bytes) lie in one live allocation; have all of them been written?
bool in_bounds(uintptr_t address, size_t bytes);
bool is_freed(uintptr_t address);
bool is_pinned(const void* memory);
bool is_device(const void* memory);  // or was, or is near it
size_t first_unwritten(uintptr_t address,
                       size_t bytes);  // offset, or `bytes` where all are written
void mark_written(uintptr_t address, size_t bytes);
void copy_states(uintptr_t to, uintptr_t from, size_t bytes);
// Looks at every guard zone for bytes that somebody changed unseen; records faults.
void verify_guards();

}  // namespace pneuma::host_cuda
