// Pictures from files: 8-bit gray or RGB, whatever the file held. The content decides the format,
// never the file's name. Files are hostile until proven otherwise: every size is checked before
// memory is taken for it, and damage of any kind (checksum, truncation, a decoder's warning) is an
// error rather than a picture with a gray patch.
//
// PNG (all colour types, 1 to 16 bits, interlaced), JPEG (gray, RGB, CMYK, progressive; turned as
// EXIF says), BMP, PGM and PPM. Alpha is dropped, 16 bits become 8 by rounding v*255/65535, and an
// RGB picture whose three channels are equal becomes a gray one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace pneuma {

struct Image {
  int height = 0, width = 0;
  int channels = 0;             // 1 (gray) or 3 (RGB)
  std::vector<uint8_t> pixels;  // [H,W,C]
};

inline constexpr int kMaxImageSide = 16384;
inline constexpr int64_t kMaxImagePixels = int64_t{1} << 26;
inline constexpr size_t kMaxImageFile = size_t{256} << 20;  // bytes

// `name` stands in the messages. What is odd but harmless (bytes after the end of the picture) goes
// to `warning` if given, else nowhere. Throws Error(Exit::data).
Image decode_image(std::span<const std::byte> file, const std::string& name,
                   std::string* warning = nullptr);

// Reads and decodes root/relative; never leaves root (see open_below.h). Throws Error(Exit::data).
Image read_image(const std::filesystem::path& root, const std::string& relative);

}  // namespace pneuma
