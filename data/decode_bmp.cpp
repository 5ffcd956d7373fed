// BMP through stb_image, with its other decoders compiled out, and binary PGM and PPM, read here
// because stb_image does not scale by their maximum (4095 is usual in radiology).
#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "data/decode.h"
#include "engine/error.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#define STBI_MAX_DIMENSIONS 16384
#include <stb_image.h>
#pragma GCC diagnostic pop

namespace pneuma::decode {
namespace {

uint32_t read_little(const uint8_t* p, int bytes) {
  uint32_t v = 0;
  for (int i = bytes - 1; i >= 0; --i) v = v << 8 | p[i];
  return v;
}

}  // namespace

Image bmp(Bytes file, const std::string& name) {
  constexpr size_t kHeaders = 26;  // file header and the shortest information header
  if (file.size() < kHeaders) fail(Exit::data, "{}: the BMP is truncated; fetch it again", name);
  const bool old = read_little(file.data() + 14, 4) == 12;
  if (!old && file.size() < 30) fail(Exit::data, "{}: the BMP is truncated; fetch it again", name);
  const int64_t width = old ? read_little(file.data() + 18, 2)
                            : static_cast<int32_t>(read_little(file.data() + 18, 4));
  const int64_t signed_height = old ? read_little(file.data() + 20, 2)
                                    : static_cast<int32_t>(read_little(file.data() + 22, 4));
  const int64_t height = signed_height < 0 ? -signed_height : signed_height;
  const int64_t bits = read_little(file.data() + (old ? 24 : 28), 2);
  check_size(width, height, file.size(), name);
  // stb_image reads zeros beyond the end, so what must be there is checked here.
  const int64_t need = read_little(file.data() + 10, 4) + (width * bits + 31) / 32 * 4 * height;
  if (need > static_cast<int64_t>(file.size()))
    fail(Exit::data, "{}: the BMP has {} bytes, {} are needed: truncated; fetch it again", name,
         file.size(), need);
  int w = 0, h = 0, channels = 0;
  const std::unique_ptr<uint8_t, decltype(&std::free)> rgb(
      stbi_load_from_memory(file.data(), static_cast<int>(file.size()), &w, &h, &channels, 3),
      std::free);
  if (!rgb || w != width || h != height)
    fail(Exit::data, "{}: the BMP is damaged or of a kind that is not read ({}); convert it to PNG",
         name, rgb ? "sizes disagree" : stbi_failure_reason());
  std::vector<uint8_t> samples(rgb.get(), rgb.get() + width * height * 3);
  return from_samples(std::move(samples), h, w, 3);
}

Image pnm(Bytes file, const std::string& name) {
  size_t at = 2;
  const auto damaged = [&] { fail(Exit::data, "{}: the PGM or PPM header is damaged", name); };
  const auto number = [&] {  // white space, comments to the end of their line, digits
    while (at < file.size() && (std::isspace(file[at]) || file[at] == '#'))
      if (file[at++] == '#')
        while (at < file.size() && file[at] != '\n') ++at;
    int64_t value = 0;
    const size_t begin = at;
    for (; at < file.size() && std::isdigit(file[at]) && at - begin < 9; ++at)
      value = 10 * value + (file[at] - '0');
    if (at == begin) damaged();
    return value;
  };
  const int64_t width = number(), height = number(), maximum = number();
  if (at >= file.size() || !std::isspace(file[at++]) || maximum < 1 || maximum > 65535) damaged();
  check_size(width, height, file.size(), name);
  const int channels = file[1] == '6' ? 3 : 1, wide = maximum > 255;
  const size_t count = static_cast<size_t>(width * height * channels);
  if (file.size() - at < count << wide)
    fail(Exit::data, "{}: {} bytes of pixels, {} are needed: truncated; fetch it again", name,
         file.size() - at, count << wide);
  std::vector<uint8_t> samples(count);
  const uint8_t* p = file.data() + at;
  for (size_t i = 0; i < count; ++i) {
    const int64_t v = wide ? p[2 * i] << 8 | p[2 * i + 1] : p[i];
    samples[i] = static_cast<uint8_t>((std::min(v, maximum) * 255 + maximum / 2) / maximum);
  }
  return from_samples(std::move(samples), static_cast<int>(height), static_cast<int>(width),
                      channels);
}

}  // namespace pneuma::decode
