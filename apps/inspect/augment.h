// inspect_cxr augment: a sheet of what training makes of a picture, by its own loader and kernel.
#pragma once

#include "apps/common/train_settings.h"

namespace pneuma::inspect {

struct AugmentSettings : TrainSettings {
  int count = 24, columns = 5;
};

CLI::App* add_augment_command(CLI::App& app, AugmentSettings& settings);
// The picture as validation sees it, then its draws in epochs 0, 1, ... (as sample 0 of its data
// set), each with a line on stdout of what was drawn.
void draw_sheet(AugmentSettings settings);

}  // namespace pneuma::inspect
