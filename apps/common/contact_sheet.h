// Pictures of one size in rows, white between them.
#pragma once

#include <span>

#include "data/image.h"

namespace pneuma {

// REQUIRES one cell at least, all of equal size. Throws Exit::usage over kMaxImagePixels.
Image contact_sheet(std::span<const Image> cells, int columns);

}  // namespace pneuma
