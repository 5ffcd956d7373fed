// Which weights a run starts from: --init FILE; the published training job's --use_pretrained_model
// 1 with --pretrained FILE, which is the same; or its incremental training, --model_channel. What
// is in the file says which network it is of.
#pragma once

#include <set>

#include "apps/common/train_settings.h"

namespace pneuma {

// Sets init to the file, and arch, num_layers and base_width to its network's. `given` names the
// settings that somebody asked for: where the file has another network, that is Exit::usage, and
// else a note. --pretrained may be $PNEUMA_PRETRAINED. --model_channel is a model file, an archive
// of one, or the folder with it; its depth, image shape and classes (0: not known yet) must be
// those of the settings. REQUIRES resolved settings.
void settle_start(TrainSettings& settings, const std::set<std::string>& given,
                  std::vector<std::string>* notes);

}  // namespace pneuma
