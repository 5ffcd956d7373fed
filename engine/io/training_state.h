// last.state and previous.state: all that an exact resume needs. Parameters, buffers, moments and
// the step state bit for bit, and the program's own progress as a JSON text. A save never leaves
// less than one complete file.
#pragma once

#include <filesystem>

#include "engine/optim/optimizer.h"

namespace pneuma {

// Writes folder/last.state; the one before becomes folder/previous.state. Throws Exit::environment.
void save_training_state(Context&, const Parameters&, const Optimizer&, const std::string& progress,
                         const std::filesystem::path& folder);

// Loads last.state, or, where that is missing or damaged, previous.state, and then says so in
// `note`. Returns the progress text. Throws Exit::data where neither loads, or where it belongs to
// another network or optimizer.
std::string load_training_state(Context&, const Parameters&, Optimizer&,
                                const std::filesystem::path& folder, std::string* note);

}  // namespace pneuma
