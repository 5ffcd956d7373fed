// A few files as one .tar.gz (POSIX ustar, gzip): model.tar.gz of the published training job.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pneuma {

struct ArchivedFile {
  std::string name;
  std::string bytes;
};

// Atomically; same files, same bytes. REQUIRES names of at most 99 bytes, and less than
// 4 GB in all.
void write_archive(const std::filesystem::path& path, std::span<const ArchivedFile> files);

// The plain files whose names, without folders, are wanted. The archive is hostile: memory is taken
// as data come, and files that claim more than 64 times the archive's size are refused. Damage is
// an Error(Exit::data).
std::vector<ArchivedFile> read_archive(const std::filesystem::path& path,
                                       const std::function<bool(std::string_view name)>& wanted);

}  // namespace pneuma
