// Learning rates: a pure function of a run's settings and of the updates before, so that a resumed
// run and every rank use the same. Each begins with a linear rise, the last of whose updates, as
// all after it, has what the rule gives (Goyal et al. 2017, 2.2).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pneuma {

enum class ScheduleKind {
  constant,
  step,   // times `factor` once for each of `steps` that is over
  cosine  // half a cosine from the warm-up's end down to 0 after `total` (Loshchilov, Hutter 2017)
};
ScheduleKind schedule_named(const std::string& name);  // throws

struct Schedule {
  ScheduleKind kind = ScheduleKind::constant;
  double learning_rate = 5e-4;
  double factor = 0.1;
  std::vector<int64_t> steps;  // updates
  int64_t warmup = 0, total = 0;
};

// Of the update that `update` others went before.
double learning_rate_at(const Schedule&, int64_t update);

}  // namespace pneuma
