// Image files made byte by byte, good and bad, for the tests of the decoders.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

// jpeglib.h needs what stands above.
#include <jpeglib.h>

namespace pneuma::testing {

using Bytes = std::vector<uint8_t>;

inline std::span<const std::byte> as_file(const Bytes& bytes) {
  return std::as_bytes(std::span(bytes));
}

inline void append(Bytes& to, const Bytes& from) { to.insert(to.end(), from.begin(), from.end()); }
inline Bytes text(const std::string& s) { return Bytes(s.begin(), s.end()); }

inline Bytes big32(uint32_t v) {
  return {uint8_t(v >> 24), uint8_t(v >> 16), uint8_t(v >> 8), uint8_t(v)};
}

inline Bytes deflated(const Bytes& raw) {
  uLongf size = compressBound(raw.size());
  Bytes out(size);
  compress2(out.data(), &size, raw.data(), raw.size(), 6);
  out.resize(size);
  return out;
}

inline Bytes chunk(const std::string& type, const Bytes& data) {
  Bytes out = big32(static_cast<uint32_t>(data.size()));
  append(out, text(type));
  append(out, data);
  append(out, big32(static_cast<uint32_t>(crc32(0, out.data() + 4, data.size() + 4))));
  return out;
}

inline const Bytes kPngSignature = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

inline Bytes png_header(uint32_t width, uint32_t height, int depth, int colour, int interlace = 0) {
  Bytes data = big32(width);
  append(data, big32(height));
  append(data, {uint8_t(depth), uint8_t(colour), 0, 0, uint8_t(interlace)});
  return chunk("IHDR", data);
}

inline Bytes png_file(const std::vector<Bytes>& chunks) {
  Bytes out = kPngSignature;
  for (const Bytes& c : chunks) append(out, c);
  append(out, chunk("IEND", {}));
  return out;
}

// A gray baseline or progressive JPEG of pixels [H,W].
inline Bytes jpeg_file(const Bytes& pixels, int height, int width, bool progressive = false) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &memory, &size);
  info.image_width = static_cast<JDIMENSION>(width);
  info.image_height = static_cast<JDIMENSION>(height);
  info.input_components = 1;
  info.in_color_space = JCS_GRAYSCALE;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 95, TRUE);
  if (progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = const_cast<uint8_t*>(pixels.data()) + size_t{info.next_scanline} * width;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  Bytes out(memory, memory + size);
  std::free(memory);
  jpeg_destroy_compress(&info);
  return out;
}

// 24-bit BMP of random-looking pixels; rows from below.
inline Bytes bmp_file(int width, int height) {
  const auto little = [](Bytes& to, uint32_t v, int n) {
    for (int i = 0; i < n; ++i) to.push_back(static_cast<uint8_t>(v >> (8 * i)));
  };
  const int stride = (width * 3 + 3) / 4 * 4;
  Bytes out = text("BM");
  little(out, static_cast<uint32_t>(54 + stride * height), 4);
  little(out, 0, 4);
  little(out, 54, 4);
  little(out, 40, 4);
  little(out, static_cast<uint32_t>(width), 4);
  little(out, static_cast<uint32_t>(height), 4);
  little(out, 1, 2);
  little(out, 24, 2);
  for (int i = 0; i < 6; ++i) little(out, 0, 4);
  for (int i = 0; i < stride * height; ++i) out.push_back(static_cast<uint8_t>(i * 31 + i / 7));
  return out;
}

}  // namespace pneuma::testing
