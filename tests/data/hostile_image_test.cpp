// Files made to hurt: each is refused quickly and before memory is taken for what it claims, and
// damaged copies of good files never do worse than being refused.
#include <doctest/doctest.h>

#include <cstring>
#include <ctime>
#include <fstream>
#include <random>

#include "data/image.h"
#include "engine/error.h"
#include "tests/data/make_files.h"

using namespace pneuma;
using namespace pneuma::testing;

namespace {

// The highest resident size in KiB since the last reset (where the kernel lets us reset it).
int64_t peak_kib(bool reset) {
  if (reset) std::ofstream("/proc/self/clear_refs") << "5";
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmHWM:") {
      int64_t kib = 0;
      status >> kib;
      return kib;
    }
  return 0;
}

struct Outcome {
  std::string message;  // empty: decoded
  double seconds;
  int64_t grown_kib;
};

Outcome attempt(const Bytes& file) {
  const int64_t before = peak_kib(true);
  const std::clock_t begin = std::clock();  // the processor's time: the machine may be busy
  Outcome outcome{};
  try {
    const Image image = decode_image(as_file(file), "hostile");
    CHECK(image.pixels.size() == size_t(image.height) * image.width * image.channels);
  } catch (const Error& error) {
    outcome.message = error.what();
    CHECK(error.exit() == Exit::data);
  }
  outcome.seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  outcome.grown_kib = peak_kib(false) - before;
  return outcome;
}

#if defined(__SANITIZE_ADDRESS__)
constexpr double kSlower = 20;  // the sanitizer's own memory is counted, too
#else
constexpr double kSlower = 1;
#endif

void check_small(const Outcome& outcome) {
  CHECK(outcome.seconds < 0.1 * kSlower);
  CHECK(outcome.grown_kib < 16 * 1024 * kSlower);
}

Bytes png(uint32_t width, uint32_t height, int depth = 8, int colour = 0, int interlace = 0,
          const Bytes& data = deflated(Bytes(100))) {
  return png_file({png_header(width, height, depth, colour, interlace), chunk("IDAT", data)});
}

// Start of a JPEG that claims a size: SOI, frame header.
Bytes jpeg(int kind, int width, int height, int components, int precision = 8) {
  Bytes out = {0xFF, 0xD8, 0xFF, uint8_t(kind), 0, uint8_t(8 + 3 * components), uint8_t(precision)};
  append(out, {uint8_t(height >> 8), uint8_t(height), uint8_t(width >> 8), uint8_t(width)});
  out.push_back(uint8_t(components));
  for (int i = 0; i < components; ++i) append(out, {uint8_t(i + 1), 0x11, 0});
  return out;
}

Bytes bmp_of(uint32_t width, uint32_t height, int bits, uint32_t offset = 54) {
  Bytes out = bmp_file(4, 4);
  const auto put = [&](size_t at, uint32_t v, int n) {
    for (int i = 0; i < n; ++i) out[at + i] = uint8_t(v >> (8 * i));
  };
  put(10, offset, 4);
  put(18, width, 4);
  put(22, height, 4);
  put(28, uint32_t(bits), 2);
  return out;
}

// A progressive file with `scans` refinements of nothing.
Bytes many_scans(int scans) {
  Bytes file = jpeg_file(Bytes(64 * 64, 100), 64, 64, true);
  file.resize(file.size() - 2);  // without EOI
  size_t last = 0;               // the last scan, to be repeated
  for (size_t i = 0; i + 1 < file.size(); ++i)
    if (file[i] == 0xFF && file[i + 1] == 0xDA) last = i;
  const Bytes scan(file.begin() + std::ptrdiff_t(last), file.end());
  for (int i = 0; i < scans; ++i) append(file, scan);
  append(file, {0xFF, 0xD9});
  return file;
}

TEST_CASE("hostile headers are refused in no time and no memory") {
  constexpr uint32_t kBig = 0x7FFFFFFF, kWrap = 0x80000000, kAll = 0xFFFFFFFF;
  Bytes huge_chunk = kPngSignature, no_data = png_file({png_header(4, 4, 8, 0)});
  append(huge_chunk, png_header(4, 4, 8, 0));
  append(huge_chunk, big32(kAll));
  append(huge_chunk, text("IDAT"));
  Bytes sized_chunk = huge_chunk;
  sized_chunk.resize(sized_chunk.size() + 100000);
  const Bytes ok = deflated(Bytes(20));
  const std::vector<std::pair<std::string, Bytes>> files = {
      // PNG: sizes
      {"0 x 4", png(0, 4)},
      {"4 x 0", png(4, 0)},
      {"2^31-1 squared", png(kBig, kBig)},
      {"2^31 squared: the product wraps", png(kWrap, kWrap)},
      {"2^32-1 squared", png(kAll, kAll, 16, 6)},
      {"65536 squared: 2^32 wraps to 0", png(65536, 65536)},
      {"60000 squared", png(60000, 60000)},
      {"16385 wide", png(16385, 1)},
      {"16385 high", png(1, 16385)},
      {"16384 squared: too many pixels", png(16384, 16384)},
      {"8192 squared in a few bytes", png(8192, 8192)},
      {"8192 squared, 16-bit RGBA", png(8192, 8192, 16, 6)},
      {"8192 squared, interlaced", png(8192, 8192, 8, 0, 1)},
      {"1000 squared, which deflate cannot reach", png(1000, 1000)},
      {"16384 x 64, 16-bit RGBA", png(16384, 64, 16, 6)},
      {"wide palette", png(16384, 60, 8, 3)},
      // PNG: kinds and structure
      {"depth 0", png(4, 4, 0)},
      {"depth 3", png(4, 4, 3)},
      {"depth 255", png(4, 4, 255)},
      {"depth 1 RGB", png(4, 4, 1, 2)},
      {"depth 16 palette", png(4, 4, 16, 3)},
      {"colour type 1", png(4, 4, 8, 1)},
      {"colour type 255", png(4, 4, 8, 255)},
      {"interlace 2", png(4, 4, 8, 0, 2)},
      {"palette missing", png(4, 4, 8, 3, 0, ok)},
      {"palette of 5 bytes", png_file({png_header(2, 1, 8, 3), chunk("PLTE", {1, 2, 3, 4, 5}),
                                       chunk("IDAT", deflated({0, 0, 0}))})},
      {"no pixels", no_data},
      {"header twice",
       png_file({png_header(4, 4, 8, 0), png_header(8000, 8000, 8, 0), chunk("IDAT", ok)})},
      {"header last", png_file({chunk("IDAT", ok), png_header(4, 4, 8, 0)})},
      {"header of 12 bytes", png_file({chunk("IHDR", Bytes(12)), chunk("IDAT", ok)})},
      {"header of 0 bytes", png_file({chunk("IHDR", {}), chunk("IDAT", ok)})},
      {"chunk of 2^32-1 bytes", huge_chunk},
      {"chunk of 2^32-1 bytes in a longer file", sized_chunk},
      {"unknown critical chunk",
       png_file({png_header(4, 4, 8, 0), chunk("EVIL", {1}), chunk("IDAT", ok)})},
      {"data in two places", png_file({png_header(4, 4, 8, 0), chunk("IDAT", ok),
                                       chunk("tEXt", {1}), chunk("IDAT", ok)})},
      {"filter 5", png(3, 1, 8, 0, 0, deflated({5, 1, 2, 3}))},
      {"not deflate", png(3, 1, 8, 0, 0, Bytes(50, 0xAA))},
      {"too few pixels", png(3, 2, 8, 0, 0, deflated({0, 1, 2, 3}))},
      {"too many pixels: 30 MB behind a 3 x 1", png(3, 1, 8, 0, 0, deflated(Bytes(30 << 20)))},
      {"interlaced, too few pixels", png(9, 9, 8, 0, 1, deflated(Bytes(10)))},
      // JPEG
      {"65500 squared", jpeg(0xC0, 65500, 65500, 3)},
      {"progressive 65500 squared", jpeg(0xC2, 65500, 65500, 3)},
      {"16000 squared in nothing", jpeg(0xC2, 16000, 16000, 4)},
      {"8000 squared in nothing", jpeg(0xC0, 8000, 8000, 1)},
      {"width 0", jpeg(0xC0, 0, 100, 1)},
      {"height 0", jpeg(0xC0, 100, 0, 1)},
      {"200 components", jpeg(0xC0, 16, 16, 80)},
      {"2 components", jpeg(0xC0, 16, 16, 2)},
      {"12 bits", jpeg(0xC1, 16, 16, 1, 12)},
      {"lossless", jpeg(0xC3, 16, 16, 1)},
      {"no scan", jpeg(0xC0, 16, 16, 1)},
      {"three bytes", {0xFF, 0xD8, 0xFF}},
      {"80,000 scans", many_scans(80000)},
      {"120 scans", many_scans(120)},
      // BMP, PNM
      {"BMP 2^31-1 squared", bmp_of(kBig, kBig, 24)},
      {"BMP -2^31 high", bmp_of(4, kWrap, 24)},
      {"BMP 16384 squared", bmp_of(16384, 16384, 1)},
      {"BMP 8000 squared", bmp_of(8000, 8000, 32)},
      {"BMP truncated", bmp_of(5, 5, 24)},
      {"BMP of 65535 bits", bmp_of(4, 4, 65535)},
      {"BMP pixels at 2^32-1", bmp_of(4, 4, 24, kAll)},
      {"BMP of 2 bytes", text("BM")},
      {"PPM 99999 squared", text("P6 99999 99999 255\n")},
      {"PPM with endless digits", text("P6 " + std::string(100000, '9') + " 1 255\n")},
      {"PGM truncated", text("P5 900 900 255\nabc")},
      {"PGM 8000 squared", text("P5 8000 8000 65535\n")},
      {"PGM maximum 0", text("P5 1 1 0\nabc")},
      {"PGM maximum 65536", text("P5 1 1 65536\nabc")},
      {"PGM with an endless comment", text("P5 #" + std::string(1 << 20, 'x'))},
  };
  CHECK(files.size() >= 60);
  attempt(files[0].second);  // the first call loads code
  for (const auto& [what, file] : files) {
    CAPTURE(what);
    const Outcome outcome = attempt(file);
    CAPTURE(outcome.message);
    CHECK_FALSE(outcome.message.empty());
    check_small(outcome);
  }
}

TEST_CASE("bombs in chunks that the pixels do not need stay packed") {
  const Bytes bomb = deflated(Bytes(60 << 20));
  const Bytes pixel = chunk("IDAT", deflated({0, 7}));
  for (const std::string type : {"zTXt", "iCCP", "iTXt"}) {
    Bytes data = text("name");
    append(data, type == "iTXt" ? Bytes{0, 1, 0, 0, 0} : Bytes{0, 0});
    append(data, bomb);
    Bytes file = kPngSignature;
    append(file, png_header(1, 1, 8, 0));
    for (int i = 0; i < 50; ++i) append(file, chunk(type, data));
    append(file, pixel);
    append(file, chunk("IEND", {}));
    const Outcome outcome = attempt(file);
    CHECK(outcome.message.empty());
    check_small(outcome);
  }
}

TEST_CASE("damaged copies of good files are decoded or refused, never worse") {
  Bytes pixels, rgba, palette_rows;
  for (int y = 0; y < 24; ++y) {
    rgba.push_back(uint8_t(y % 5));
    palette_rows.push_back(0);
    for (int x = 0; x < 32; ++x) {
      pixels.push_back(uint8_t(x * 7 + y * y));
      palette_rows.push_back(uint8_t((x + y) % 16));
      append(rgba, {uint8_t(x), uint8_t(x * y), uint8_t(y), 255});
    }
  }
  Bytes palette(48);
  for (size_t i = 0; i < palette.size(); ++i) palette[i] = uint8_t(5 * i);
  Bytes pgm = text("P5 32 24 255\n");
  append(pgm, pixels);
  const std::vector<Bytes> good = {
      png_file({png_header(32, 24, 8, 6), chunk("IDAT", deflated(rgba))}),
      png_file({png_header(32, 24, 8, 3), chunk("PLTE", palette),
                chunk("IDAT", deflated(palette_rows))}),
      png_file({png_header(8, 8, 16, 0, 1), chunk("IDAT", deflated(Bytes(143)))}),
      jpeg_file(pixels, 24, 32),
      jpeg_file(pixels, 24, 32, true),
      bmp_file(31, 24),
      pgm};
  std::mt19937 random(7);
  int decoded = 0, refused = 0;
  for (const Bytes& file : good) {
    const Outcome whole = attempt(file);
    CAPTURE(whole.message);
    CHECK(whole.message.empty());
    for (int round = 0; round < 1500; ++round) {
      Bytes bad = file;
      for (int n = 1 + int(random() % 4); n > 0; --n) {
        const size_t at = random() % bad.size();
        switch (random() % 4) {
          case 0:
            bad[at] ^= uint8_t(1u << (random() % 8));
            break;
          case 1:
            bad[at] = uint8_t(random());
            break;
          case 2:
            bad.resize(std::max<size_t>(at, 1));
            break;
          default:
            bad.insert(bad.begin() + std::ptrdiff_t(at), random() % 16, uint8_t(random()));
        }
      }
      // Half of the PNGs get right checksums, so that the damage reaches the decoders.
      if (round % 2 == 0 && bad.size() > 8 &&
          std::equal(bad.begin(), bad.begin() + 8, kPngSignature.begin()))
        for (size_t p = 8; p + 12 <= bad.size();) {
          const size_t length = size_t{bad[p]} << 24 | size_t{bad[p + 1]} << 16 |
                                size_t{bad[p + 2]} << 8 | bad[p + 3];
          if (length > bad.size() - p - 12) break;
          const Bytes crc = big32(uint32_t(crc32(0, &bad[p + 4], uInt(length + 4))));
          std::copy(crc.begin(), crc.end(), bad.begin() + std::ptrdiff_t(p + 8 + length));
          p += 12 + length;
        }
      try {
        decode_image(as_file(bad), "damaged");
        ++decoded;
      } catch (const Error& error) {
        CHECK(std::strlen(error.what()) > 20);
        ++refused;
      }
    }
  }
  MESSAGE("decoded " << decoded << ", refused " << refused);
  CHECK(refused > decoded);
  CHECK(decoded > 100);
}

}  // namespace
