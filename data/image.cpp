#include "data/image.h"

#include <algorithm>
#include <string_view>

#include "data/decode.h"
#include "data/open_below.h"
#include "data/text.h"
#include "engine/error.h"

namespace pneuma {
namespace {

using namespace std::string_view_literals;

struct Foreign {
  size_t offset;
  std::string_view signature;
  const char* what;
};

// What is met in folders of X-rays and is none of the formats that we read.
constexpr Foreign kForeign[] = {
    {0, "II*\0"sv, "a TIFF image; convert it to PNG"},
    {0, "MM\0*"sv, "a TIFF image; convert it to PNG"},
    {0, "II+\0"sv, "a BigTIFF image; convert it to PNG"},
    {0, "MM\0+"sv, "a BigTIFF image; convert it to PNG"},
    {128, "DICM"sv, "a DICOM file; convert it to PNG"},
    {0, "GIF8"sv, "a GIF image; convert it to PNG"},
    {8, "WEBP"sv, "a WebP image; convert it to PNG"},
    {4, "ftyp"sv, "a HEIF, AVIF or MP4 file; convert it to PNG"},
    {4, "jP  \r\n"sv, "a JPEG 2000 image; convert it to PNG"},
    {0, "\xFF\x4F\xFF\x51"sv, "a JPEG 2000 image; convert it to PNG"},
    {0, "P1"sv, "a bitmap as text (PBM); convert it to PNG"},
    {0, "P2"sv, "a gray picture as text (PGM); convert it to PNG"},
    {0, "P3"sv, "a picture as text (PPM); convert it to PNG"},
    {0, "P4"sv, "a PBM bitmap; convert it to PNG"},
    {0, "\x1F\x8B"sv, "a gzip archive; unpack it first"},
    {0, "PK\x03\x04"sv, "a zip archive; unpack it first"},
    {0, "%PDF"sv, "a PDF document; export its picture as PNG"},
    {0, "version https://git-lfs"sv, "a Git LFS pointer, not the image; run 'git lfs pull'"},
};

bool has_at(std::string_view text, size_t offset, std::string_view part) {
  return text.size() >= offset && text.substr(offset).starts_with(part);
}

[[noreturn]] void refuse(std::string_view text, const std::string& name) {
  if (text.empty())
    fail(Exit::data, "{}: is empty (0 bytes); fetch it again or leave it out", name);
  for (const Foreign& foreign : kForeign)
    if (has_at(text, foreign.offset, foreign.signature))
      fail(Exit::data, "{}: is {}", name, foreign.what);
  const std::string_view head = text.substr(0, 256);
  const bool is_text = std::all_of(head.begin(), head.end(), [](unsigned char c) {
    return c >= 32 || c == '\n' || c == '\r' || c == '\t';
  });
  if (is_text)
    fail(Exit::data,
         "{}: is text (it begins '{}'), not an image; perhaps an error page was saved in its "
         "place: fetch it again",
         name, printable(head, 24));
  fail(Exit::data,
       "{}: is none of PNG, JPEG, BMP, PGM, PPM (first byte 0x{:02x}); convert it to PNG", name,
       static_cast<unsigned char>(text[0]));
}

}  // namespace

Image decode_image(std::span<const std::byte> file, const std::string& path, std::string* warning) {
  const std::string name = printable(path, 4096);
  if (file.size() > kMaxImageFile)
    fail(Exit::data, "{}: has {} bytes; at most {} are read", name, file.size(), kMaxImageFile);
  const auto* data = reinterpret_cast<const uint8_t*>(file.data());
  const decode::Bytes bytes(data, file.size());
  const std::string_view text(reinterpret_cast<const char*>(data), file.size());
  if (text.starts_with("\x89PNG\r\n\x1A\n")) return decode::png(bytes, name, warning);
  if (text.starts_with("\xFF\xD8\xFF")) return decode::jpeg(bytes, name, warning);
  if (text.starts_with("BM")) return decode::bmp(bytes, name);
  if (text.starts_with("P5") || text.starts_with("P6")) return decode::pnm(bytes, name);
  refuse(text, name);
}

Image read_image(const std::filesystem::path& root, const std::string& relative) {
  return decode_image(read_file_below(root, relative, kMaxImageFile),
                      root.string() + "/" + relative);
}

namespace decode {

void check_size(int64_t width, int64_t height, size_t file_bytes, const std::string& name) {
  if (width < 1 || height < 1)
    fail(Exit::data, "{}: claims {} x {} pixels: the file is damaged", name, width, height);
  if (width > kMaxImageSide || height > kMaxImageSide || width * height > kMaxImagePixels)
    fail(Exit::data, "{}: claims {} x {} pixels; at most {} a side and {} in all are read", name,
         width, height, kMaxImageSide, kMaxImagePixels);
  constexpr int64_t kSmall = 1 << 20, kMaxPixelsPerByte = 2000;
  if (width * height > kSmall &&
      width * height / kMaxPixelsPerByte > static_cast<int64_t>(file_bytes))
    fail(Exit::data,
         "{}: claims {} x {} pixels in {} bytes: damaged, or made to exhaust the memory", name,
         width, height, file_bytes);
}

Image from_samples(std::vector<uint8_t> samples, int height, int width, int channels) {
  const int64_t n = int64_t{height} * width;
  bool gray = true;
  if (channels >= 3)
    for (int64_t y = 0; y < height && gray; ++y) {
      const uint8_t* p = samples.data() + y * width * channels;
      int difference = 0;
      for (int64_t x = 0; x < width; ++x, p += channels)
        difference |= (p[0] ^ p[1]) | (p[0] ^ p[2]);
      gray = difference == 0;
    }
  Image image{height, width, gray ? 1 : 3, std::move(samples)};
  if (image.channels == channels) return image;
  // In place: what is written lies never behind what is still to be read.
  uint8_t* p = image.pixels.data();
  for (int64_t i = 0; i < n; ++i)
    for (int c = 0; c < image.channels; ++c) p[i * image.channels + c] = p[i * channels + c];
  image.pixels.resize(static_cast<size_t>(n * image.channels));
  return image;
}

void warn_of_tail(size_t bytes, const char* format, std::string* warning) {
  if (bytes > 0 && warning)
    *warning =
        fmt::format("{} bytes follow the end of the {} image; they are ignored", bytes, format);
}

}  // namespace decode
}  // namespace pneuma
