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

void check_range(const Operation& operation, const void* memory, size_t bytes, bool writes,
                 bool must_be_written) {
  const uintptr_t address = uintptr_t(memory);
  const uint32_t checks = settings().checks;
  const char* verb = writes ? "writes" : "reads";
  const std::string& name = operation.name;
  if (!bytes) return;
  if ((checks & check_bounds) && !in_bounds(address, bytes)) {
    const Allocation a = find_allocation(address);
    report(a.freed ? FaultKind::use_after_free : FaultKind::out_of_bounds, name, address,
           text("%s: %s %zu bytes at %p, of which the first is %s.", name.c_str(), verb, bytes,
                memory, describe(address).c_str()));
    return;
  }
  if (kSanitized || !arena.has(address)) return;
  if (must_be_written && (checks & check_unwritten)) {
    const size_t offset = first_unwritten(address, bytes);
    if (offset < bytes)
      report(FaultKind::unwritten, name, address,
             text("%s: reads %zu bytes, of which one was never written: %s.", name.c_str(), bytes,
                  describe(address + offset).c_str()));
  }
  if (!(checks & check_dependencies)) return;
  for (uintptr_t a = address / kGranule * kGranule; a < address + bytes; a += kGranule)
    if (const uint64_t other = touch(arena.granule(a), operation, writes)) {
      report(FaultKind::dependency, name, stream_of(other),
             text("%s: %s memory %s, which %s of another stream uses, and nothing orders the two.",
                  name.c_str(), verb, describe(std::max(a, address)).c_str(),
                  name_of_operation(other).c_str()));
      return;
    }
}

}  // namespace pneuma::host_cuda
