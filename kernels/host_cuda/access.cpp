// Every access of a kernel: whose memory it is, and whether the thread may touch it so.
#include <cstring>

#include "kernels/host_cuda/block.h"
#include "kernels/host_cuda/faults.h"

namespace pneuma::host_cuda {
namespace {

std::string words(const Access& a) {
  return text("%s %zu bytes at %p", a.writes ? "writes" : "reads", a.bytes, (void*)a.address);
}

// Have all bytes this state? Most accesses are of 4 or 16 bytes.
bool all_written(const uint8_t* states, size_t bytes) {
  constexpr uint64_t all[2] = {0x0202020202020202, 0x0202020202020202};
  if (bytes == 16) return !std::memcmp(states, all, 16);
  if (bytes == 4) return !std::memcmp(states, all, 4);
  return std::all_of(states, states + bytes, [](uint8_t s) { return s == written; });
}

}  // namespace

void Block::access(const Access& a) {
  if (a.address - stack_ < kStack) return;
  if (checks(check_bounds) && a.bytes <= 16 && !(a.bytes & (a.bytes - 1)) &&
      (a.address & (a.bytes - 1)))
    fail(FaultKind::misaligned, a.site,
         words(a) + text(", which is not a multiple of %zu", a.bytes));
  if (arena.has(a.address)) return access_global(a);
  if (a.address - shared_ < shared_bytes_) return access_shared(a);
  const bool argument = a.address - uintptr_t(launch->call) < launch->call->bytes;
  if (kSanitized || !checks(check_bounds) ||
      (!a.writes && (argument || is_constant(a.address, a.bytes))))
    return;
  fail(FaultKind::host_memory, a.site, words(a) + ", which is memory of the host");
}

void Block::access_global(const Access& a) {
  if (launch->settings.count_traffic) traffic_.access(int(current), a, false);
  uint8_t* states = arena.state(a.address);
  if (!all_written(states, a.bytes)) {
    const auto* bad = static_cast<uint8_t*>(std::memchr(states, nobodys, a.bytes));
    if (bad && checks(check_bounds))
      fail(is_freed(a.address) ? FaultKind::use_after_free : FaultKind::out_of_bounds, a.site,
           words(a) + ", of which the first bad one is " +
               describe(a.address + size_t(bad - states)));
    if (!bad && (!a.writes || a.atomic) && checks(check_unwritten))
      report_here(FaultKind::unwritten, a.site,
                  words(a) + ", " + describe(a.address) + ", of which one was never written");
    if (!bad && a.writes) std::memset(states, written, a.bytes);
  }
  if (!checks(check_dependencies)) return;
  if (const uint64_t other = touch(arena.granule(a.address), *launch->operation, a.writes))
    report_here(FaultKind::dependency, a.site,
                words(a) + ", " + describe(a.address) + ", which " + name_of_operation(other) +
                    " of another stream uses, and nothing orders the two");
}

void Block::access_shared(const Access& a) {
  if (launch->settings.count_traffic) traffic_.access(int(current), a, true);
  const size_t from_dynamic = a.address - dynamic_, offset = a.address - shared_;
  if (from_dynamic < kDynamicSharedLimit) {
    if (checks(check_bounds) && from_dynamic + a.bytes > launch->dynamic_shared)
      fail(FaultKind::out_of_bounds, a.site,
           words(a) + text(", byte %zu of dynamic shared memory of %zu bytes", from_dynamic,
                           launch->dynamic_shared));
  } else if (knows_shared_variables_) {
    const uint16_t variable = shared_variable_at(offset);
    if (checks(check_bounds) && (!variable || variable != shared_variable_at(offset + a.bytes - 1)))
      fail(FaultKind::out_of_bounds, a.site,
           words(a) + " of shared memory, " + name_of_shared(offset));
    if (variables_seen_.size() <= variable) variables_seen_.resize(variable + 1);
    if (variables_seen_[variable] != first_interval_) {  // first touched in this block
      variables_seen_[variable] = first_interval_;
      static_shared_ += shared_variable_bytes(variable);
    }
  }
  for (size_t i = 0; i < a.bytes;) {
    const size_t in_word = (a.address + i) & 3, n = std::min(a.bytes - i, 4 - in_word);
    access_word(a, words_[(a.address + i) / 4 - shared_ / 4], ((1u << n) - 1) << in_word);
    i += n;
  }
}

void Block::access_word(const Access& a, SharedWord& word, unsigned mask) {
  const unsigned warp = current / kWarp;
  const uint16_t phase = warps_[warp].phase;
  if (word.write_interval < first_interval_) word.known_mask = 0;
  // Two threads collide where no barrier, and within a warp no meeting, came between.
  auto collides = [&](uint32_t interval, unsigned thread, uint16_t at) {
    return interval == interval_ && thread != current && (thread / kWarp != warp || at == phase);
  };
  if (!a.atomic && checks(check_shared_races)) {
    const bool write =
        (word.write_mask & mask) && collides(word.write_interval, word.writer, word.write_phase);
    const bool read = a.writes && (word.read_mask & mask) && word.read_interval == interval_ &&
                      (word.readers == 2 || collides(interval_, word.reader, word.read_phase) ||
                       (word.readers == 1 && word.read_phase == phase));
    if (write || read)
      report_here(FaultKind::shared_race, a.site,
                  words(a) + " of shared memory (" + name_of_shared(a.address - shared_) +
                      text("), which thread %d touched since the last barrier",
                           write ? word.writer : word.reader));
  }
  if ((!a.writes || a.atomic) && (mask & ~word.known_mask) && checks(check_unwritten))
    report_here(FaultKind::unwritten, a.site,
                words(a) + " of shared memory (" + name_of_shared(a.address - shared_) +
                    "), which its block never wrote");
  if (a.atomic) {
    word.known_mask |= uint8_t(mask);
    word.write_interval = std::max(word.write_interval, first_interval_);
  } else if (a.writes) {
    const bool again = word.write_interval == interval_ && word.writer == current;
    word.write_mask = uint8_t(mask | (again ? word.write_mask : 0));
    word.known_mask |= uint8_t(mask);
    word.write_interval = interval_;
    word.writer = uint16_t(current);
    word.write_phase = phase;
  } else {
    if (word.read_interval != interval_) {
      word.readers = word.read_mask = 0;
    } else if (word.reader != current && word.readers < 2) {
      word.readers = word.reader / kWarp != warp ? 2 : word.read_phase == phase;
    }
    word.read_interval = interval_;
    word.reader = uint16_t(current);
    word.read_phase = phase;
    word.read_mask |= uint8_t(mask);
  }
}

}  // namespace pneuma::host_cuda
