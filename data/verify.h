// Decodes every picture to see whether it is sound: files, folders, lists and records.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace pneuma {

struct Fault {
  std::string path, reason;  // reason: one sentence, path and place included
  bool warning = false;      // readable, but odd
  int64_t place = 0;         // line of a list, number of a record
};

// A picture to be tried, and where a fault of it belongs. decode throws, or leaves a warning.
struct Picture {
  std::string path;
  int64_t place = 0;
  std::function<void(std::string* warning)> decode;
};

// What is wrong with a list's lines or a file's records (and its .idx, if there is one) apart from
// their pictures, and those pictures.
void collect_list(const std::filesystem::path& list, const std::filesystem::path& root,
                  std::vector<Picture>& pictures, std::vector<Fault>& faults);
void collect_records(const std::filesystem::path& records, std::vector<Picture>& pictures,
                     std::vector<Fault>& faults);  // data/record/verify_records.cpp

// Images, whatever their names, but .lst is a list of images below `root` (empty: the list's
// folder) and .rec are records; of a folder, every file below it that is .rec or has an image's
// extension (png jpg jpeg bmp pgm ppm pnm tif tiff dcm gif, in any case). Faults come sorted by
// path and place and do not depend on `threads` (at least 1). Folders that are missing, unreadable
// or without images are faults too. progress(done, total) of pictures is called on this thread or
// another, never twice at once.
std::vector<Fault> verify_images(const std::vector<std::filesystem::path>& files_or_folders,
                                 int threads,
                                 const std::function<void(int64_t, int64_t)>& progress = {},
                                 const std::filesystem::path& root = {});

}  // namespace pneuma
