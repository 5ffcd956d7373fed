// The decoders behind decode_image, one file each, and what they share. Each gets a whole file that
// begins with its format's signature and throws Error(Exit::data) unless every pixel is sound.
#pragma once

#include <memory>

#include "data/image.h"

namespace pneuma::decode {

using Bytes = std::span<const uint8_t>;

Image png(Bytes file, const std::string& name, std::string* warning);
Image jpeg(Bytes file, const std::string& name, std::string* warning);
Image bmp(Bytes file, const std::string& name);
Image pnm(Bytes file, const std::string& name);

// Throws unless 1 <= width, height <= kMaxImageSide, the pixels are at most kMaxImagePixels, and
// the picture, if not small, has at most 2000 pixels a byte of its file.
void check_size(int64_t width, int64_t height, size_t file_bytes, const std::string& name);

// An Image of samples [H,W,C], C = 1 gray, 2 gray+alpha, 3 RGB, 4 RGB+alpha: drops alpha, and makes
// one channel out of three equal ones.
Image from_samples(std::vector<uint8_t> samples, int height, int width, int channels);

// round(v * 255 / 65535)
inline uint8_t to_8_bits(uint16_t v) { return static_cast<uint8_t>((v * 255u + 32767u) / 65535u); }

void warn_of_tail(size_t bytes, const char* format, std::string* warning);

}  // namespace pneuma::decode
