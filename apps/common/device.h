// --device: opens the backend that it names and says which it is. --conv_table: what it is told to
// choose.
#pragma once

#include <string>

#include "kernels/kernels.h"

namespace pneuma {

// Prints one line: the device and, for `auto`, why; and a note where this precision is slow there.
// Throws Exit::usage for an unknown name, a precision that it lacks or a table that it refuses,
// Exit::environment where the device does not answer. threads 0: the device's own choice.
// table: a file, or "". precision: the name of a policy.
const Backend& device_named(const std::string& name, int threads, const std::string& table = "",
                            const std::string& precision = "float32");

}  // namespace pneuma
