#include "engine/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "kernels/view.h"

namespace pneuma {

MemoryPlan plan_memory(std::vector<MemoryUse> uses) {
  MemoryPlan plan{std::move(uses), {}, 0};
  const auto& all = plan.uses;
  plan.offsets.assign(all.size(), 0);
  std::vector<size_t> order(all.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return all[a].bytes > all[b].bytes; });

  const auto rounded = [&](size_t i) {
    return (all[i].bytes + kAlignment - 1) / kAlignment * kAlignment;
  };
  std::vector<size_t> placed;  // by offset
  for (const size_t i : order) {
    size_t offset =
        0;  // the lowest place not met so far; `placed` is sorted, so one walk finds the first gap
    for (const size_t other : placed) {
      if (all[other].last <= all[i].first || all[i].last <= all[other].first) continue;
      if (plan.offsets[other] >= offset + rounded(i)) break;
      offset = std::max(offset, plan.offsets[other] + rounded(other));
    }
    plan.offsets[i] = offset;
    plan.peak = std::max(plan.peak, offset + rounded(i));
    const auto by_offset = [&](size_t a, size_t b) { return plan.offsets[a] < plan.offsets[b]; };
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i, by_offset), i);
  }
  return plan;
}

size_t bytes_alive_at(const MemoryPlan& plan, std::string_view op) {
  const auto at = std::ranges::find_if(
      plan.uses, [&](const MemoryUse& use) { return std::string_view(use.what).ends_with(op); });
  size_t bytes = 0;
  if (at == plan.uses.end()) return bytes;
  for (const MemoryUse& use : plan.uses)
    if (use.first <= at->first && at->first < use.last) bytes += use.bytes;
  return bytes;
}

}  // namespace pneuma
