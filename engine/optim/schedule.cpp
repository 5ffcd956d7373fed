#include "engine/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/error.h"

namespace pneuma {

ScheduleKind schedule_named(const std::string& name) {
  if (name == "constant") return ScheduleKind::constant;
  if (name == "step") return ScheduleKind::step;
  if (name == "cosine") return ScheduleKind::cosine;
  fail(Exit::usage, "--lr_scheduler {} is not known; known are constant, step, cosine", name);
}

double learning_rate_at(const Schedule& s, int64_t update) {
  double rate = s.learning_rate;
  if (s.kind == ScheduleKind::step) {
    for (const int64_t step : s.steps)
      if (update >= step) rate *= s.factor;
  }
  if (update < s.warmup) return rate * double(update + 1) / double(s.warmup);
  if (s.kind == ScheduleKind::cosine && s.total > s.warmup) {
    const double done = double(update - s.warmup) / double(s.total - s.warmup);
    rate *= (1 + std::cos(std::numbers::pi * std::min(done, 1.0))) / 2;
  }
  return rate;
}

}  // namespace pneuma
