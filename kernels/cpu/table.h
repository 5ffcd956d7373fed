// The cpu backend's one entry.
#pragma once

#include "kernels/kernels.h"

namespace pneuma {

const Backend& cpu_backend();

}  // namespace pneuma
