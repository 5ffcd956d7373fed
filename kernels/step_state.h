// The state of mixed-precision training that a step changes: plain data, one copy where the
// gradients are, and the state machine that host and device both run. Micikevicius et al. 2018,
// "Mixed precision training".
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define PN_HOST_DEVICE __host__ __device__
#else
#define PN_HOST_DEVICE
#endif

namespace pneuma {

struct ScalerPolicy {
  bool dynamic = false;  // false: the scale never moves; a bad step is skipped all the same
  double start = 1, growth = 2, backoff = 0.5, floor = 1;
  int64_t interval = 2000;  // clean steps until the scale grows
};

struct StepState {
  double loss_scale = 1;      // for the next loss
  double gradient_scale = 1;  // that the checked gradients carry
  double gradient_norm = 0;   // of the last good step, unscaled
  int64_t step = 0;           // updates applied; Adam's t
  int64_t clean = 0;          // good steps since the scale last moved
  int64_t skipped = 0;        // in all
  int64_t skipped_in_a_row = 0;
  int64_t first_bad = -1;  // index of the first tensor with inf or nan in the last step, -1: none
  int64_t good = 1;        // 0: the last step is to be skipped

  // After a pass over the gradients: `bad` is the first tensor that was not finite, or -1.
  PN_HOST_DEVICE void check(int64_t bad, double norm, const ScalerPolicy& policy) {
    gradient_scale = loss_scale;
    first_bad = bad;
    good = bad < 0;
    if (good) {
      gradient_norm = norm;
      ++step;
      ++clean;
      skipped_in_a_row = 0;
      if (policy.dynamic && clean >= policy.interval) {
        loss_scale *= policy.growth;
        clean = 0;
      }
    } else {
      ++skipped;
      ++skipped_in_a_row;
      clean = 0;
      if (policy.dynamic) {
        const double lower = loss_scale * policy.backoff;
        loss_scale = lower < policy.floor ? policy.floor : lower;
      }
    }
  }
};

}  // namespace pneuma
