// PNG (W3C recommendation, third edition). The chunks are walked here, so that every checksum is
// verified and nothing but IHDR, PLTE, IDAT and IEND is ever unpacked: a bomb in a text or colour
// profile stays packed. 8-bit pictures without interlacing, which is what radiographs are, go
// through libdeflate and the row filters below (twice as fast as libspng over zlib, which
// bench/loader shows); all others go through libspng.
#include <libdeflate.h>
#include <spng.h>

#include <array>
#include <cstdlib>
#include <cstring>

#include "data/decode.h"
#include "engine/error.h"

namespace pneuma::decode {
namespace {

struct Header {
  int64_t width, height;
  int depth, colour, interlace;
  int channels() const { return std::array{1, 0, 3, 1, 2, 0, 4}[colour]; }
  bool palette() const { return colour == SPNG_COLOR_TYPE_INDEXED; }
};

// `clean` is the PNG again with one IDAT chunk and nothing that the pixels do not need.
struct Chunks {
  Header header;
  std::vector<uint8_t> clean;
  size_t data_begin = 0, data_end = 0;  // the deflated pixels within clean
  size_t tail = 0;                      // bytes after IEND
};

constexpr size_t kSignature = 8;
constexpr uint8_t kEnd[] = {0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xAE, 0x42, 0x60, 0x82};

uint32_t read32(const uint8_t* p) {
  return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | p[3];
}

void write32(uint8_t* p, uint32_t v) {
  for (int i = 0; i < 4; ++i) p[i] = static_cast<uint8_t>(v >> (24 - 8 * i));
}

Header read_header(const uint8_t* p, size_t file_bytes, const std::string& name) {
  const Header h{read32(p), read32(p + 4), p[8], p[9], p[12]};
  check_size(h.width, h.height, file_bytes, name);
  // Depths allowed for each colour type, as a set of bits (PNG, table 11.1).
  constexpr uint32_t k8And16 = 1u << 8 | 1u << 16, kUpTo8 = 1u << 1 | 1u << 2 | 1u << 4 | 1u << 8;
  constexpr uint32_t kDepths[] = {kUpTo8 | k8And16, 0, k8And16, kUpTo8, k8And16, 0, k8And16};
  if (h.colour > 6 || h.depth > 16 || !(kDepths[h.colour] >> h.depth & 1) || p[10] != 0 ||
      p[11] != 0 || h.interlace > 1)
    fail(Exit::data, "{}: the PNG header is not valid (depth {}, colour type {}): damaged", name,
         h.depth, h.colour);
  return h;
}

Chunks walk(Bytes file, const std::string& name) {
  Chunks out;
  out.clean.reserve(file.size());
  out.clean.assign(file.begin(), file.begin() + kSignature);
  bool palette = false;
  std::string last;
  for (size_t at = kSignature;;) {
    const size_t left = file.size() - at;
    if (left == 0)
      fail(Exit::data, "{}: the PNG has no end (IEND): truncated; fetch it again", name);
    const uint8_t* p = file.data() + at;
    const uint32_t length = left < 8 ? 0 : read32(p);
    if (left < 12 || length > left - 12)
      fail(Exit::data, "{}: the PNG stops in the middle, at byte {}: truncated; fetch it again",
           name, file.size());
    std::string type(reinterpret_cast<const char*>(p) + 4, 4);
    if (libdeflate_crc32(0, p + 4, size_t{4} + length) != read32(p + 8 + length))
      fail(Exit::data, "{}: wrong checksum in the PNG's chunk at byte {}: damaged; fetch it again",
           name, at);
    if ((type == "IHDR") != last.empty() || (type == "IHDR" && length != 13))
      fail(Exit::data, "{}: the PNG does not begin with one header (IHDR): damaged", name);
    if (type == "IHDR") {
      out.header = read_header(p + 8, file.size(), name);
      out.clean.insert(out.clean.end(), p, p + 12 + length);
    } else if (type == "PLTE" && !palette && out.data_begin == 0) {
      palette = true;
      if (out.header.palette()) out.clean.insert(out.clean.end(), p, p + 12 + length);
    } else if (type == "IDAT" && (out.data_begin == 0 || last == "IDAT")) {
      if (out.data_begin == 0) {
        out.clean.insert(out.clean.end(), p, p + 8);
        out.data_begin = out.clean.size();
      }
      out.clean.insert(out.clean.end(), p + 8, p + 8 + length);
      out.data_end = out.clean.size();
    } else if (type == "IEND") {
      out.tail = left - 12 - length;
      break;
    } else if (type[0] >= 'A' && type[0] <= 'Z') {
      fail(Exit::data, "{}: the PNG's chunk at byte {} is unknown or out of place: damaged", name,
           at);
    }
    last = std::move(type);
    at += size_t{12} + length;
  }
  if (out.data_begin == 0) fail(Exit::data, "{}: the PNG holds no pixels (no IDAT)", name);
  return out;
}

// Bytes of the filtered rows: a filter byte and the packed samples of each (PNG, 8 and 9).
uint64_t filtered_size(const Header& h) {
  const uint64_t bits = static_cast<uint64_t>(h.channels()) * h.depth;
  const auto pass = [bits](uint64_t width, uint64_t height) {
    return width == 0 ? 0 : height * (1 + (width * bits + 7) / 8);
  };
  if (!h.interlace) return pass(h.width, h.height);
  constexpr int kAdam7[7][4] = {{0, 8, 0, 8}, {4, 8, 0, 8}, {0, 4, 4, 8}, {2, 4, 0, 4},
                                {0, 2, 2, 4}, {1, 2, 0, 2}, {0, 1, 1, 2}};
  uint64_t sum = 0;
  for (const auto& [x0, dx, y0, dy] : kAdam7)
    sum += pass((h.width - x0 + dx - 1) / dx, (h.height - y0 + dy - 1) / dy);
  return sum;
}

// One row back from its differences (PNG, 9.2). B is the distance to the pixel on the left.
// out and up are [n]; up is the row above, zeros for the first.
template <int B>
void unfilter(int filter, const uint8_t* in, const uint8_t* up, uint8_t* out, int64_t n) {
  switch (filter) {
    case 0:
      std::memcpy(out, in, static_cast<size_t>(n));
      return;
    case 1: {
      uint8_t left[B] = {};
      for (int64_t i = 0; i < n; i += B)
        for (int c = 0; c < B; ++c)
          out[i + c] = left[c] = static_cast<uint8_t>(in[i + c] + left[c]);
      return;
    }
    case 2:
      for (int64_t i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(in[i] + up[i]);
      return;
    case 3: {
      uint8_t left[B] = {};
      for (int64_t i = 0; i < n; i += B)
        for (int c = 0; c < B; ++c)
          out[i + c] = left[c] = static_cast<uint8_t>(in[i + c] + (left[c] + up[i + c]) / 2);
      return;
    }
    default: {
      int left[B] = {}, corner[B] = {};
      for (int64_t i = 0; i < n; i += B)
        for (int c = 0; c < B; ++c) {
          const int a = left[c], b = up[i + c], ab = corner[c];
          const int to_a = std::abs(b - ab), to_b = std::abs(a - ab),
                    to_ab = std::abs(a + b - 2 * ab);
          // Selections without branches: which neighbour is nearest is close to random.
          int nearest = to_b <= to_ab ? b : ab;
          nearest = to_a <= std::min(to_b, to_ab) ? a : nearest;
          left[c] = (in[i + c] + nearest) & 255;
          corner[c] = b;
          out[i + c] = static_cast<uint8_t>(left[c]);
        }
    }
  }
}

template <int B>
std::vector<uint8_t> unfilter_rows(const uint8_t* filtered, const Header& h,
                                   const std::string& name) {
  const int64_t n = h.width * B;
  const std::vector<uint8_t> zeros(static_cast<size_t>(n));
  std::vector<uint8_t> samples(static_cast<size_t>(n * h.height));
  const uint8_t* up = zeros.data();
  for (int64_t y = 0; y < h.height; ++y, filtered += n + 1) {
    if (filtered[0] > 4)
      fail(Exit::data, "{}: row {} of the PNG names the unknown filter {}: damaged", name, y,
           filtered[0]);
    uint8_t* out = samples.data() + y * n;
    unfilter<B>(filtered[0], filtered + 1, up, out, n);
    up = out;
  }
  return samples;
}

std::vector<uint8_t> inflate_8_bit(const Chunks& png, const std::string& name) {
  const size_t size = filtered_size(png.header);
  const auto filtered = std::make_unique_for_overwrite<uint8_t[]>(size);
  const std::unique_ptr<libdeflate_decompressor, decltype(&libdeflate_free_decompressor)> inflater(
      libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
  if (!inflater) throw std::bad_alloc();
  if (libdeflate_zlib_decompress(inflater.get(), png.clean.data() + png.data_begin,
                                 png.data_end - png.data_begin, filtered.get(), size,
                                 nullptr) != LIBDEFLATE_SUCCESS)
    fail(Exit::data, "{}: the PNG's pixels do not unpack to its size: damaged", name);
  switch (png.header.channels()) {
    case 1:
      return unfilter_rows<1>(filtered.get(), png.header, name);
    case 2:
      return unfilter_rows<2>(filtered.get(), png.header, name);
    case 3:
      return unfilter_rows<3>(filtered.get(), png.header, name);
    default:
      return unfilter_rows<4>(filtered.get(), png.header, name);
  }
}

// Palette, other depths, interlaced. channels: of the samples that come back.
std::vector<uint8_t> through_libspng(Chunks& png, const std::string& name, int* channels) {
  const Header& h = png.header;
  std::vector<uint8_t>& file = png.clean;
  uint8_t* data = file.data() + png.data_begin;
  const size_t length = png.data_end - png.data_begin;
  write32(data - 8, static_cast<uint32_t>(length));
  const uint32_t crc = libdeflate_crc32(0, data - 4, length + 4);
  file.resize(png.data_end + 4);
  write32(file.data() + png.data_end, crc);
  file.insert(file.end(), std::begin(kEnd), std::end(kEnd));

  const std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)> context(spng_ctx_new(0), spng_ctx_free);
  if (!context) throw std::bad_alloc();
  const int format = h.palette() ? SPNG_FMT_RGB8 : h.depth < 8 ? SPNG_FMT_G8 : SPNG_FMT_PNG;
  size_t size = 0;
  const auto check = [&](int status) {
    if (status != SPNG_OK)
      fail(Exit::data, "{}: the PNG is damaged ({})", name, spng_strerror(status));
  };
  check(spng_set_image_limits(context.get(), kMaxImageSide, kMaxImageSide));
  check(spng_set_png_buffer(context.get(), file.data(), file.size()));
  check(spng_decoded_image_size(context.get(), format, &size));
  *channels = h.palette() ? 3 : h.channels();
  const size_t count = static_cast<size_t>(h.width * h.height * *channels);
  const bool wide = h.depth == 16;
  if (size != count * (wide ? 2 : 1)) fail(Exit::data, "{}: the PNG's sizes disagree", name);
  std::vector<uint8_t> samples(size);
  check(spng_decode_image(context.get(), samples.data(), size, format, 0));
  if (!wide) return samples;
  for (size_t i = 0; i < count; ++i) {  // in place; libspng's 16 bits are in the host's order
    uint16_t v;
    std::memcpy(&v, samples.data() + 2 * i, 2);
    samples[i] = to_8_bits(v);
  }
  samples.resize(count);
  return samples;
}

}  // namespace

Image png(Bytes file, const std::string& name, std::string* warning) {
  Chunks png = walk(file, name);
  const Header h = png.header;
  // Deflate expands at most 1032 times, so a size beyond that is a lie; refuse before allocating.
  if (filtered_size(h) > 1032 * static_cast<uint64_t>(png.data_end - png.data_begin))
    fail(Exit::data, "{}: claims {} x {} pixels, more than its {} bytes can hold: damaged", name,
         h.width, h.height, file.size());
  int channels = h.channels();
  std::vector<uint8_t> samples = h.depth == 8 && !h.interlace && !h.palette()
                                     ? inflate_8_bit(png, name)
                                     : through_libspng(png, name, &channels);
  warn_of_tail(png.tail, "PNG", warning);
  return from_samples(std::move(samples), static_cast<int>(h.height), static_cast<int>(h.width),
                      channels);
}

}  // namespace pneuma::decode
