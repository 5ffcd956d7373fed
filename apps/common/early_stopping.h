// When a run ends because its validation no longer improves.
#pragma once

#include <cmath>
#include <cstdint>

namespace pneuma {

struct EarlyStopping {
  bool on = false;
  int64_t min_epochs = 10, patience = 5;
  double tolerance = 0;  // relative to the best so far

  // Of a score where larger is better. A tie is none, whatever the tolerance.
  bool is_improvement(double score, double best) const {
    return score > best && score - best >= tolerance * std::fabs(best);
  }
  // After `epochs` of them, the last `without` of which brought no improvement.
  bool ends(int64_t epochs, int64_t without) const {
    return on && epochs >= min_epochs && without >= patience;
  }
};

}  // namespace pneuma
