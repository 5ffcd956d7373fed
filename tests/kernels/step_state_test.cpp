// Every transition of StepState::check, as a table: what the state was, what a step brought, what
// it is then.
#include "kernels/step_state.h"

#include <doctest/doctest.h>

namespace pneuma {
namespace {

constexpr ScalerPolicy kFixed = {};
constexpr ScalerPolicy kDynamic = {.dynamic = true, .interval = 3};
constexpr ScalerPolicy kOther = {
    .dynamic = true, .growth = 8, .backoff = 0.25, .floor = 16, .interval = 1};
constexpr ScalerPolicy kStill = {.dynamic = true, .growth = 1, .backoff = 1, .interval = 1};

StepState state(double scale, int64_t step, int64_t clean, int64_t skipped, int64_t in_a_row) {
  StepState s;
  s.loss_scale = scale;
  s.gradient_norm = 5;
  s.step = step;
  s.clean = clean;
  s.skipped = skipped;
  s.skipped_in_a_row = in_a_row;
  return s;
}

struct Transition {
  const char* what;
  ScalerPolicy policy;
  StepState before;
  int64_t bad;      // the first bad tensor, -1: none
  StepState after;  // loss_scale, step, clean, skipped, skipped_in_a_row
};

const Transition kTransitions[] = {
    {"a good step counts", kFixed, state(1, 4, 4, 0, 0), -1, state(1, 5, 5, 0, 0)},
    {"a fixed scale never grows", kFixed, state(8, 1999, 1999, 0, 0), -1,
     state(8, 2000, 2000, 0, 0)},
    {"a bad step is skipped, a fixed scale stays", kFixed, state(8, 4, 4, 0, 0), 2,
     state(8, 4, 0, 1, 1)},
    {"a good step before the interval", kDynamic, state(8, 1, 1, 0, 0), -1, state(8, 2, 2, 0, 0)},
    {"the interval's last good step doubles", kDynamic, state(8, 2, 2, 0, 0), -1,
     state(16, 3, 0, 0, 0)},
    {"after doubling the count begins anew", kDynamic, state(16, 3, 0, 0, 0), -1,
     state(16, 4, 1, 0, 0)},
    {"a bad step halves", kDynamic, state(8, 4, 2, 0, 0), 0, state(4, 4, 0, 1, 1)},
    {"a second bad one halves again", kDynamic, state(4, 4, 0, 1, 1), 7, state(2, 4, 0, 2, 2)},
    {"a good step ends a row of bad ones", kDynamic, state(2, 4, 0, 2, 2), -1,
     state(2, 5, 1, 2, 0)},
    {"the floor holds", kDynamic, state(1, 4, 0, 9, 9), 1, state(1, 4, 0, 10, 10)},
    {"and is met from above", kDynamic, state(1.5, 4, 0, 0, 0), 1, state(1, 4, 0, 1, 1)},
    {"growth, after each step", kOther, state(64, 4, 0, 2, 1), -1, state(512, 5, 0, 2, 0)},
    {"backoff", kOther, state(512, 4, 0, 0, 0), 3, state(128, 4, 0, 1, 1)},
    {"floor", kOther, state(32, 4, 0, 1, 1), 3, state(16, 4, 0, 2, 2)},
    {"a factor of 1 keeps it on a good step", kStill, state(32, 4, 0, 0, 0), -1,
     state(32, 5, 0, 0, 0)},
    {"and on a bad one", kStill, state(32, 4, 0, 0, 0), 3, state(32, 4, 0, 1, 1)},
};

}  // namespace

TEST_CASE("transitions of the state of a step") {
  for (const Transition& t : kTransitions) {
    CAPTURE(t.what);
    StepState s = t.before;
    s.check(t.bad, 0.25, t.policy);
    CHECK(s.loss_scale == t.after.loss_scale);
    CHECK(s.step == t.after.step);
    CHECK(s.clean == t.after.clean);
    CHECK(s.skipped == t.after.skipped);
    CHECK(s.skipped_in_a_row == t.after.skipped_in_a_row);
    CHECK(s.gradient_scale == t.before.loss_scale);  // what these gradients carried
    CHECK(s.first_bad == t.bad);
    CHECK(s.good == (t.bad < 0));
    CHECK(s.gradient_norm == (t.bad < 0 ? 0.25 : 5));  // of the last good step
  }
}

TEST_CASE("the published defaults: doubling after 2000 clean steps, halving, never under 1") {
  const ScalerPolicy policy = {.dynamic = true};
  StepState s;
  s.loss_scale = 65536;
  for (int k = 0; k < 1999; ++k) s.check(-1, 1, policy);
  CHECK(s.loss_scale == 65536);
  s.check(-1, 1, policy);
  CHECK(s.loss_scale == 131072);
  for (int k = 0; k < 50; ++k) s.check(3, 1, policy);
  CHECK(s.loss_scale == 1);
  CHECK(s.skipped_in_a_row == 50);
  CHECK(s.step == 2000);
}

}  // namespace pneuma
