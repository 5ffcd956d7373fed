// --device: opens the backend that it names and says which it is. --conv_table: what it is told to
// choose.
#pragma once

#include <string>

#include "kernels/kernels.h"

namespace pneuma {

// Prints one line: the device and, for `auto`, why. Throws Exit::usage for an unknown name,
// Exit::environment where the device does not answer, Exit::usage for a table that it refuses.
// threads 0: the device's own choice. table: a file, or "".
const Backend& device_named(const std::string& name, int threads, const std::string& table = "");

}  // namespace pneuma
