// Decodes every picture to see whether it is sound.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace pneuma {

struct Fault {
  std::string path, reason;  // reason: one sentence, path included
  bool warning;              // readable, but odd
};

// Files are decoded whatever their names; of a folder, every file below it that has an image's
// extension (png jpg jpeg bmp pgm ppm pnm tif tiff dcm gif, in any case). Faults come sorted by
// path and do not depend on `threads` (at least 1). Folders that are missing, unreadable or without
// images are faults too. progress(done, total) is called on this thread or another, never twice at
// once.
std::vector<Fault> verify_images(const std::vector<std::filesystem::path>& files_or_folders,
                                 int threads,
                                 const std::function<void(int64_t, int64_t)>& progress = {});

}  // namespace pneuma
