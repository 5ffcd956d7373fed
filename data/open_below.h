// Reading whole files whose names come from a list. The names are hostile: nothing outside of the
// root folder can be reached through them, neither by "..", nor absolutely, nor by a link.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace pneuma {

// The bytes of root/relative, a regular file of at most max_bytes. Uses openat2(RESOLVE_BENEATH),
// and where the kernel lacks it, compares real paths. root itself is trusted and may be a link.
// Throws Error(Exit::data): the file is missing, forbidden, a folder, too big, or out of root.
std::vector<std::byte> read_file_below(const std::filesystem::path& root,
                                       const std::string& relative, size_t max_bytes);

// The same for a path that the user named directly, so that no root applies.
std::vector<std::byte> read_image_file(const std::filesystem::path& path, size_t max_bytes);

}  // namespace pneuma
