// Writes a picture as PNG. The same pixels give the same bytes on every machine, whatever zlib it
// has, because stb_image_write brings its own compressor.
#pragma once

#include <filesystem>

#include "data/image.h"

namespace pneuma {

// Overwrites. Throws Error(Exit::environment) if the file cannot be written in full.
void write_png(const std::filesystem::path& path, const Image& image);

}  // namespace pneuma
