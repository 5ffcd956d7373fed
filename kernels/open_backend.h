// Finds the backend of a device by name. The only file that knows them all: reference and cpu are
// linked in, the others are plugins beside the program (libpneuma_<name>.so), opened when they are
// asked for.
#pragma once

#include <string>

#include "kernels/kernels.h"

namespace pneuma {

// device: auto | cpu | reference | cuda | host_cuda. `why` gets one sentence for `auto`: what was
// taken and why. Returns null where there is no such device, with the reason in `why`.
const Backend* open_backend(const std::string& device, std::string* why);

// What a plugin exports beside its table, such as host_cuda's control.h. Null where there is no
// such symbol, or where the backend is linked in.
void* plugin_symbol(const Backend& backend, const char* name);

}  // namespace pneuma
