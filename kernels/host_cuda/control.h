// What host_cuda tells and can be told: plain data, and one table of functions that a program finds
// by dlsym in the plugin (kControlSymbol). Everything may be called from any thread; settings count
// for what runs afterwards. Without a program: with PNEUMA_HOST_CUDA_PRINT=1 in the environment
// each fault is printed when it is found, and leaks when the program ends.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pneuma::host_cuda {

// What is looked for. Faults that stop a launch: those of `bounds` and misaligned addresses.
enum Check : uint32_t {
  check_bounds = 1,         // out of bounds, use after free, host memory, misaligned, guard zones
  check_unwritten = 2,      // reads of memory never written, device and shared
  check_shared_races = 4,   // two threads, one barrier interval, at least one write
  check_barriers = 8,       // threads of a block at different barriers, or gone
  check_dependencies = 16,  // work of two streams on the same memory with nothing between them
  check_all = 31,
};

struct Settings {
  uint64_t seed = 1;    // of the order of warps, lanes and blocks
  int32_t threads = 0;  // that run blocks; 0: one for each core
  uint32_t checks = check_all;
  bool count_traffic = false;        // makes a LaunchRecord of each launch; several times slower
  size_t memory = size_t(16) << 30;  // of the device; more is cudaErrorMemoryAllocation
};

enum class FaultKind : int32_t {
  out_of_bounds,
  use_after_free,
  host_memory,
  misaligned,
  unwritten,
  shared_race,
  divergent_barrier,
  dependency,
  leak,
};
struct Fault {
  FaultKind kind;
  int64_t times;       // the same kind at the same place of the same kernel is listed once
  char sentence[400];  // kernel, block, thread, address, whose memory, what
};

// What one launch did. A byte that one block touches again counts once in bytes_*; sectors are of
// 32 bytes, asked for by the lanes of a warp together; least_sectors would hold the same bytes
// packed.
struct LaunchRecord {
  char name[200];
  uint32_t grid[3], block[3];
  uint64_t static_shared, dynamic_shared;  // bytes of a block; static: of arrays that it touched
  uint64_t bytes_read, bytes_written;
  uint64_t sectors, least_sectors;
  uint64_t accesses[5];  // to global memory by one thread, of 1, 2, 4, 8 and 16 bytes
  uint64_t shared_accesses;
  uint64_t bank_conflicts;         // wavefronts more than the same bytes without conflict need
  uint64_t lanes, inactive_lanes;  // over all accesses of warps
  uint64_t barriers;               // of the block that had most
};

struct Counters {
  int64_t allocations, frees, pinned_allocations;
  int64_t host_synchronizations;  // of stream, event, device; and copies that wait
  int64_t launches, copies;
};

struct HostCudaControl {
  void (*get_settings)(Settings*);
  void (*set_settings)(const Settings*);
  // Copies at most `room` faults and returns how many there are.
  size_t (*faults)(Fault*, size_t room);
  void (*clear_faults)();
  // Moves at most `room` of the oldest records out and returns how many.
  size_t (*take_launches)(LaunchRecord*, size_t room);
  void (*counters)(Counters*);
  // Adds one fault for each allocation, stream and event that still exists; returns how many.
  size_t (*find_leaks)();
};
inline constexpr const char* kControlSymbol = "pneuma_host_cuda";

}  // namespace pneuma::host_cuda

extern "C" const pneuma::host_cuda::HostCudaControl* pneuma_host_cuda();
