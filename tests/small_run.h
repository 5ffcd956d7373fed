// The settings of a run that takes a second, for tests that hold a Trainer in their hands.
#pragma once

#include "apps/common/train_settings.h"
#include "tests/temporary.h"

namespace pneuma::testing {

// Trains on folder/data, leaves folder/run.
inline TrainSettings small_settings(const Temporary& folder) {
  TrainSettings settings;
  settings.data = (folder / "data").string();
  settings.output = (folder / "run").string();
  settings.num_layers = 10;
  settings.base_width = 4;
  settings.image_shape = "3,32,32";
  settings.mini_batch_size = 4;
  settings.threads = 1;
  return settings;
}

}  // namespace pneuma::testing
