// The reference backend's one entry.
#pragma once

#include "kernels/kernels.h"

namespace pneuma {

const Backend& reference_backend();

}  // namespace pneuma
