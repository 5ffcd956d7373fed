#include "kernels/host_cuda/timeline.h"

#include "kernels/host_cuda/faults.h"
#include "kernels/host_cuda/state.h"

namespace pneuma::host_cuda {

uint64_t touch(Granule& granule, const Operation& operation, bool writes) {
  constexpr auto relaxed = std::memory_order_relaxed;
  const uint64_t me = operation.number, writer = granule.writer.load(relaxed);
  if (writer == me) return 0;
  uint64_t conflict = is_before(writer, operation.clock) ? 0 : writer;
  if (writes) {
    for (auto& slot : granule.readers) {
      const uint64_t reader = slot.load(relaxed);
      if (!is_before(reader, operation.clock)) conflict = reader;
    }
    granule.writer.store(me, relaxed);
    return conflict;
  }
  // A reader that came before this one need not be kept: who comes after this one comes after both.
  for (auto& slot : granule.readers) {
    const uint64_t reader = slot.load(relaxed);
    if (reader == me) return conflict;
    if (is_before(reader, operation.clock)) {
      slot.store(me, relaxed);
      return conflict;
    }
  }
  granule.readers[0].store(me, relaxed);
  return conflict;
}

bool check_range(const Operation& operation, const Range& range, bool writes,
                 bool must_be_written) {
  const uintptr_t address = uintptr_t(range.memory);
  const uint32_t checks = settings().checks;
  const std::string& name = operation.name;
  const std::string words =
      name + text(": %s %zu bytes at %p, ", writes ? "writes" : "reads", range.bytes, range.memory);
  if (!range.bytes) return true;
  if ((checks & check_bounds) && !in_bounds(address, range.bytes)) {
    report(is_freed(address) ? FaultKind::use_after_free : FaultKind::out_of_bounds, name, address,
           words + "of which the first is " + describe(address) + ".");
    return false;
  }
  if (kSanitized || !arena.has(address)) return true;
  const size_t offset = first_unwritten(address, range.bytes);
  if (must_be_written && (checks & check_unwritten) && offset < range.bytes)
    report(FaultKind::unwritten, name, address,
           words + "of which one was never written: " + describe(address + offset) + ".");
  if (!(checks & check_dependencies)) return true;
  uint64_t other = 0;
  for (uintptr_t a = address / kGranule * kGranule; a < address + range.bytes; a += kGranule)
    if (const uint64_t found = touch(arena.granule(a), operation, writes)) other = found;
  if (other)
    report(FaultKind::dependency, name, stream_of(other),
           words + describe(address) + ", which " + name_of_operation(other) +
               " of another stream uses, and nothing orders the two.");
  return true;
}

}  // namespace pneuma::host_cuda
