// Every access of a kernel: whose memory it is, and whether the thread may touch it so.
#include <cstring>

#include "kernels/host_cuda/block.h"
#include "kernels/host_cuda/faults.h"

namespace pneuma::host_cuda {

// The fast way: of a global access, all is well when its bytes are of state `written` (or, for a
// write, not nobody's) and its granule knows this operation already.
void Block::access(uintptr_t address, size_t bytes, bool writes, bool atomic, const void* site) {
  if (address - stack_begin_ < kStack) return;
  if ((launch->settings.checks & check_bounds) && bytes <= 16 && !(bytes & (bytes - 1)) &&
      (address & (bytes - 1))) {
    report_here(FaultKind::misaligned, site,
                text("%s %zu bytes at %p, which is not a multiple of %zu",
                     writes ? "writes" : "reads", bytes, (void*)address, bytes));
    stop();
  }
  if (arena.has(address)) return access_global(address, bytes, writes, atomic, site);
  if (address - shared_begin_ < shared_bytes_)
    return access_shared(address, bytes, writes, atomic, site);
  if (!writes &&
      (address - uintptr_t(launch->call) < launch->call->bytes || is_constant(address, bytes)))
    return;
  if (kSanitized || !(launch->settings.checks & check_bounds)) return;
  report_here(FaultKind::host_memory, site,
              text("%s %zu bytes at %p, which is memory of the host", writes ? "writes" : "reads",
                   bytes, (void*)address));
  stop();
}

namespace {

template <class T>
T load(const uint8_t* p) {
  T v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

// The least and greatest of some bytes' states say all.
struct Span {
  bool some_nobodys, some_unwritten;
};
Span look(const uint8_t* states, size_t bytes) {
  constexpr uint64_t all = 0x0202020202020202;
  if (bytes == 16 && load<uint64_t>(states) == all && load<uint64_t>(states + 8) == all)
    return {false, false};
  if (bytes == 4 && load<uint32_t>(states) == uint32_t(all)) return {false, false};
  Span span{false, false};
  for (size_t i = 0; i < bytes; ++i) {
    span.some_nobodys |= states[i] == nobodys;
    span.some_unwritten |= states[i] == unwritten;
  }
  return span;
}

void set_written(uint8_t* states, size_t bytes) { std::memset(states, written, bytes); }

}  // namespace

void Block::access_global(uintptr_t address, size_t bytes, bool writes, bool atomic,
                          const void* site) {
  const uint32_t checks = launch->settings.checks;
  if (launch->settings.count_traffic) traffic_.access(current, address, bytes, writes, false, site);
  uint8_t* states = arena.state(address);
  const Span span = look(states, bytes);
  const char* verb = writes ? "writes" : "reads";
  if (span.some_nobodys && (checks & check_bounds)) {
    size_t first = 0;
    while (states[first] != nobodys) ++first;
    const Allocation a = find_allocation(address);
    report_here(a.freed ? FaultKind::use_after_free : FaultKind::out_of_bounds, site,
                text("%s %zu bytes at %p, of which the first bad one is %s", verb, bytes,
                     (void*)address, describe(address + first).c_str()));
    stop();
  }
  if (span.some_unwritten) {
    if ((!writes || atomic) && (checks & check_unwritten))
      report_here(FaultKind::unwritten, site,
                  text("reads %zu bytes at %p, %s, of which one was never written", bytes,
                       (void*)address, describe(address).c_str()));
    if (writes) set_written(states, bytes);
  }
  if (!(checks & check_dependencies)) return;
  if (const uint64_t other = touch(arena.granule(address), *launch->operation, writes))
    report_here(FaultKind::dependency, site,
                text("%s memory %s, which %s of another stream uses, and nothing orders the two",
                     verb, describe(address).c_str(), name_of_operation(other).c_str()));
}

void Block::access_shared(uintptr_t address, size_t bytes, bool writes, bool atomic,
                          const void* site) {
  if (launch->settings.count_traffic) traffic_.access(current, address, bytes, writes, true, site);
  const size_t offset = address - shared_begin_;
  if (launch->settings.checks & check_bounds) {
    const SharedArray* array = last_array_;
    if (!array || offset - array->begin >= array->bytes) last_array_ = array = shared_array(offset);
    size_t begin = array ? array->begin : 0, end = begin + (array ? array->bytes : shared_bytes_);
    const bool dynamic = address - dynamic_begin_ < kDynamicSharedLimit;
    if (dynamic) end = dynamic_begin_ - shared_begin_ + dynamic_bytes_;
    if (offset + bytes > end || offset < begin) {
      report_here(FaultKind::out_of_bounds, site,
                  text("%s %zu bytes at byte %zu of %s shared memory of %zu bytes",
                       writes ? "writes" : "reads", bytes, offset - begin,
                       dynamic ? "dynamic"
                       : array ? array->name.c_str()
                               : "static",
                       end - begin));
      stop();
    }
  }
  for (size_t i = 0; i < bytes;) {
    const size_t in_word = (address + i) & 3, n = std::min(bytes - i, 4 - in_word);
    access_word(address + i, words_[((address + i) / 4) - shared_begin_ / 4],
                ((1u << n) - 1) << in_word, writes, atomic, site);
    i += n;
  }
}

void Block::access_word(uintptr_t address, SharedWord& word, unsigned mask, bool writes,
                        bool atomic, const void* site) {
  const uint32_t checks = launch->settings.checks;
  const int warp = current / kWarp;
  const uint16_t phase = warps_[size_t(warp)].phase;
  if (word.write_interval < first_interval_) word.known_mask = 0;
  // Two threads collide where no barrier, and within a warp no meeting, came between.
  auto collides = [&](uint32_t interval, int thread, uint16_t at) {
    return interval == interval_ && thread != current && (thread / kWarp != warp || at == phase);
  };
  if (!atomic && (checks & check_shared_races)) {
    int other = -1;
    if ((word.write_mask & mask) && collides(word.write_interval, word.writer, word.write_phase))
      other = word.writer;
    if (writes && (word.read_mask & mask) && word.read_interval == interval_ &&
        (word.readers == 2 || collides(interval_, word.reader, word.read_phase) ||
         (word.readers == 1 && (word.reader / kWarp != warp || word.read_phase == phase))))
      other = word.reader;
    if (other >= 0)
      report_here(
          FaultKind::shared_race, site,
          text("%s shared memory at %p (%s), which thread %d touched since the last barrier",
               writes ? "writes" : "reads", (void*)address,
               name_of_shared(address - shared_begin_).c_str(), other));
  }
  if ((!writes || atomic) && (mask & ~word.known_mask) && (checks & check_unwritten))
    report_here(FaultKind::unwritten, site,
                text("reads shared memory at %p (%s) that its block never wrote", (void*)address,
                     name_of_shared(address - shared_begin_).c_str()));
  if (atomic) {
    word.known_mask |= uint8_t(mask);
    word.write_interval = std::max(word.write_interval, first_interval_);
    return;
  }
  if (writes) {
    if (!word.known_mask && address - dynamic_begin_ >= kDynamicSharedLimit) static_shared_ += 4;
    word.write_mask =
        uint8_t(mask) |
        (word.write_interval == interval_ && word.writer == current ? word.write_mask : uint8_t(0));
    word.known_mask |= uint8_t(mask);
    word.write_interval = interval_;
    word.writer = uint16_t(current);
    word.write_phase = phase;
    return;
  }
  if (word.read_interval != interval_) {
    word.readers = 0;
    word.read_mask = 0;
  } else if (word.reader != current) {
    if (word.reader / kWarp != warp)
      word.readers = 2;
    else if (word.read_phase != phase)
      word.readers = word.readers == 2 ? 2 : 0;
    else if (word.readers == 0)
      word.readers = 1;
  }
  word.read_interval = interval_;
  word.reader = uint16_t(current);
  word.read_phase = phase;
  word.read_mask |= uint8_t(mask);
}

}  // namespace pneuma::host_cuda
