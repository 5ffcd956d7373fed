// --device: opens the backend that it names and says which it is.
#pragma once

#include <string>

#include "kernels/kernels.h"

namespace pneuma {

// Prints one line: the device and, for `auto`, why. Throws Exit::usage for an unknown name,
// Exit::environment where the device does not answer. threads 0: the device's own choice.
const Backend& device_named(const std::string& name, int threads);

}  // namespace pneuma
