// JPEG through libjpeg-turbo. Its warnings (truncation above all) are errors here, the number of
// scans is limited, and CMYK is converted as its Adobe marker says.
#include <csetjmp>
#include <cstring>

#include "data/decode.h"
#include "engine/error.h"

// clang-format off
#include <cstdio>     // jpeglib.h uses FILE and size_t without including them
#include <jpeglib.h>
// clang-format on

namespace pneuma::decode {
namespace {

constexpr int kMaxScans = 100;  // a usual progressive file has 10
constexpr long kMaxMemory = 640l << 20;

// libjpeg reports errors by longjmp, so between its frames and `escape` no object may need a
// destructor: the Decoder and the pixels belong to the caller of the two functions that set it.
struct Decoder {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf escape;
  char message[JMSG_LENGTH_MAX] = "";
  ~Decoder() { jpeg_destroy_decompress(&info); }
};

[[noreturn]] void leave(j_common_ptr info) {
  auto* decoder = static_cast<Decoder*>(info->client_data);
  info->err->format_message(info, decoder->message);
  std::longjmp(decoder->escape, 1);
}

void on_message(j_common_ptr info, int level) {
  if (level < 0) leave(info);  // a warning: damaged data
}

void on_progress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMaxScans) return;
  auto* decoder = static_cast<Decoder*>(info->client_data);
  std::snprintf(decoder->message, sizeof decoder->message, "more than %d scans", kMaxScans);
  std::longjmp(decoder->escape, 1);
}

bool read_header(Decoder& d, Bytes file) {
  d.info.err = jpeg_std_error(&d.errors);
  d.info.client_data = &d;
  d.errors.error_exit = leave;
  d.errors.emit_message = on_message;
  d.progress.progress_monitor = on_progress;
  if (setjmp(d.escape)) return false;
  jpeg_create_decompress(&d.info);
  d.info.progress = &d.progress;
  d.info.mem->max_memory_to_use = kMaxMemory;
  jpeg_mem_src(&d.info, file.data(), static_cast<unsigned long>(file.size()));
  jpeg_save_markers(&d.info, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(&d.info, TRUE);
  return true;
}

// rows: one pointer a row.
bool read_pixels(Decoder& d, uint8_t** rows) {
  if (setjmp(d.escape)) return false;
  jpeg_start_decompress(&d.info);
  while (d.info.output_scanline < d.info.output_height)
    jpeg_read_scanlines(&d.info, rows + d.info.output_scanline,
                        d.info.output_height - d.info.output_scanline);
  jpeg_finish_decompress(&d.info);
  return true;
}

// The orientation 1..8 of an EXIF block (EXIF 2.32, tag 0x0112 of the first directory), else 1.
int exif_orientation(Bytes exif) {
  if (exif.size() < 14 || std::memcmp(exif.data(), "Exif\0\0", 6) != 0) return 1;
  const Bytes tiff = exif.subspan(6);
  const bool big = tiff[0] == 'M';
  const auto read = [&](size_t at, int bytes) {  // 0 beyond the end
    uint32_t v = 0;
    if (at > tiff.size() || tiff.size() - at < static_cast<size_t>(bytes)) return v;
    for (int i = 0; i < bytes; ++i) v = v << 8 | tiff[at + (big ? i : bytes - 1 - i)];
    return v;
  };
  const size_t directory = read(4, 4);
  const uint32_t entries = read(directory, 2);
  for (uint32_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + size_t{12} * i;
    if (read(entry, 2) != 0x0112) continue;
    const uint32_t value = read(entry + 8, 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

// Turns the picture upright. Orientations 5 to 8 swap the sides.
Image upright(Image in, int orientation) {
  if (orientation == 1) return in;
  const bool swap = orientation >= 5;
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image out{swap ? in.width : in.height, swap ? in.height : in.width, in.channels, {}};
  out.pixels.resize(in.pixels.size());
  uint8_t* to = out.pixels.data();
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x) {
      const int u = swap ? y : x, v = swap ? x : y;  // where in `in`, before the flips
      const int64_t from =
          int64_t{flip_y ? in.height - 1 - v : v} * in.width + (flip_x ? in.width - 1 - u : u);
      for (int c = 0; c < in.channels; ++c)
        *to++ = in.pixels[static_cast<size_t>(from * in.channels + c)];
    }
  return out;
}

// CMYK [N,4] to RGB [N,3]: (255 - ink) * (255 - black) / 255, rounded. Adobe stores 255 - ink.
std::vector<uint8_t> cmyk_to_rgb(const std::vector<uint8_t>& cmyk, bool inverted) {
  std::vector<uint8_t> rgb(cmyk.size() / 4 * 3);
  const int flip = inverted ? 0 : 255;
  for (size_t i = 0; i < cmyk.size() / 4; ++i)
    for (size_t c = 0; c < 3; ++c)
      rgb[3 * i + c] =
          static_cast<uint8_t>(((cmyk[4 * i + c] ^ flip) * (cmyk[4 * i + 3] ^ flip) + 127) / 255);
  return rgb;
}

}  // namespace

Image jpeg(Bytes file, const std::string& name, std::string* warning) {
  Decoder d;
  const auto damaged = [&] {
    fail(Exit::data, "{}: the JPEG is damaged or of a kind that is not read ({}); fetch it again",
         name, d.message);
  };
  if (!read_header(d, file)) damaged();
  check_size(d.info.image_width, d.info.image_height, file.size(), name);
  const bool cmyk = d.info.num_components == 4;
  if (d.info.num_components != 1 && d.info.num_components != 3 && !cmyk)
    fail(Exit::data, "{}: a JPEG of {} components; 1, 3 or 4 are read", name,
         d.info.num_components);
  d.info.out_color_space = cmyk ? JCS_CMYK : d.info.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  int orientation = 1;
  for (auto* marker = d.info.marker_list; marker && orientation == 1; marker = marker->next)
    orientation = exif_orientation({marker->data, marker->data_length});

  const int height = static_cast<int>(d.info.image_height);
  const int width = static_cast<int>(d.info.image_width);
  const int channels = d.info.num_components;
  std::vector<uint8_t> samples(static_cast<size_t>(height) * width * channels);
  std::vector<uint8_t*> rows(static_cast<size_t>(height));
  for (size_t y = 0; y < rows.size(); ++y) rows[y] = samples.data() + y * width * channels;
  if (!read_pixels(d, rows.data())) damaged();
  warn_of_tail(d.info.src->bytes_in_buffer, "JPEG", warning);
  if (cmyk) samples = cmyk_to_rgb(samples, d.info.saw_Adobe_marker);
  return upright(from_samples(std::move(samples), height, width, cmyk ? 3 : channels), orientation);
}

}  // namespace pneuma::decode
