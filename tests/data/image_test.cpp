// Decoding, against what Pillow makes of the odd images (tests/golden/images.json) and against
// stb_image on PNGs of every kind made here. Hostile files are in hostile_image_test.cpp.
#include "data/image.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "data/open_below.h"
#include "data/write_png.h"
#include "engine/error.h"
#include "tests/data/make_files.h"
#include "tests/shared_data.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_ONLY_PNM
#include <stb_image.h>
#pragma GCC diagnostic pop

using namespace pneuma;
using namespace pneuma::testing;

namespace {

// What the second decoder sees, brought to the form that decode_image promises.
Image second_decoder(std::span<const std::byte> file) {
  const auto* data = reinterpret_cast<const stbi_uc*>(file.data());
  const int size = static_cast<int>(file.size());
  int width = 0, height = 0, channels = 0;
  std::vector<uint8_t> samples;
  if (stbi_is_16_bit_from_memory(data, size)) {
    stbi_us* p = stbi_load_16_from_memory(data, size, &width, &height, &channels, 0);
    REQUIRE(p);
    for (int i = 0; i < width * height * channels; ++i)
      samples.push_back(static_cast<uint8_t>(p[i] * 255. / 65535. + 0.5));
    stbi_image_free(p);
  } else {
    stbi_uc* p = stbi_load_from_memory(data, size, &width, &height, &channels, 0);
    REQUIRE(p);
    samples.assign(p, p + width * height * channels);
    stbi_image_free(p);
  }
  bool gray = true;
  for (int i = 0; i < width * height && channels >= 3; ++i)
    gray &= samples[i * channels] == samples[i * channels + 1] &&
            samples[i * channels] == samples[i * channels + 2];
  Image image{height, width, gray ? 1 : 3, {}};
  for (int i = 0; i < width * height; ++i)
    for (int c = 0; c < image.channels; ++c) image.pixels.push_back(samples[i * channels + c]);
  return image;
}

void check_equal(const Image& a, const Image& b, int tolerance = 0) {
  CHECK(a.height == b.height);
  CHECK(a.width == b.width);
  CHECK(a.channels == b.channels);
  REQUIRE(a.pixels.size() == b.pixels.size());
  int worst = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i)
    worst = std::max(worst, std::abs(a.pixels[i] - b.pixels[i]));
  CHECK(worst <= tolerance);
}

TEST_CASE("every PNG colour type, depth, filter and interlacing equals stb_image's") {
  std::mt19937 random(1);
  const int kinds[][2] = {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {0, 16}, {2, 8}, {2, 16}, {3, 1},
                          {3, 2}, {3, 4}, {3, 8}, {4, 8}, {4, 16}, {6, 8}, {6, 16}};
  const int kChannels[] = {1, 0, 3, 1, 2, 0, 4};
  for (const auto& [colour, depth] : kinds)
    for (const int interlace : {0, 1})
      for (const auto& [width, height] : {std::pair(1, 1), {3, 2}, {8, 8}, {13, 11}, {5, 40}}) {
        CAPTURE(colour);
        CAPTURE(depth);
        CAPTURE(interlace);
        CAPTURE(width);
        // Any bytes after the filter bytes are a picture.
        Bytes raw;
        const auto pass = [&](int w, int h) {
          for (int y = 0; y < h && w > 0; ++y) {
            raw.push_back(static_cast<uint8_t>(random() % 5));
            for (int i = 0; i < (w * kChannels[colour] * depth + 7) / 8; ++i)
              raw.push_back(static_cast<uint8_t>(random()));
          }
        };
        if (!interlace) {
          pass(width, height);
        } else {
          const int x0[] = {0, 4, 0, 2, 0, 1, 0}, dx[] = {8, 8, 4, 4, 2, 2, 1};
          const int y0[] = {0, 0, 4, 0, 2, 0, 1}, dy[] = {8, 8, 8, 4, 4, 2, 2};
          for (int p = 0; p < 7; ++p)
            pass((width - x0[p] + dx[p] - 1) / dx[p], (height - y0[p] + dy[p] - 1) / dy[p]);
        }
        std::vector<Bytes> chunks = {png_header(width, height, depth, colour, interlace)};
        if (colour == 3) {
          Bytes palette(3u << depth);
          for (auto& v : palette) v = static_cast<uint8_t>(random());
          chunks.push_back(chunk("PLTE", palette));
        }
        const Bytes deflate = deflated(raw);  // in two chunks
        const auto middle = deflate.begin() + static_cast<std::ptrdiff_t>(deflate.size() / 2);
        chunks.push_back(chunk("IDAT", Bytes(deflate.begin(), middle)));
        chunks.push_back(chunk("IDAT", Bytes(middle, deflate.end())));
        const Bytes file = png_file(chunks);
        check_equal(decode_image(as_file(file), "made.png"), second_decoder(as_file(file)));
      }
}

TEST_CASE("transparency is dropped, the colour beneath it stays") {
  const Bytes gray =
      png_file({png_header(2, 1, 8, 0), chunk("tRNS", {0, 7}), chunk("IDAT", deflated({0, 7, 9}))});
  CHECK(decode_image(as_file(gray), "a").pixels == Bytes{7, 9});
  const Bytes palette = png_file({png_header(2, 1, 8, 3), chunk("PLTE", {5, 5, 5, 1, 2, 3}),
                                  chunk("tRNS", {0, 128}), chunk("IDAT", deflated({0, 0, 1}))});
  CHECK(decode_image(as_file(palette), "a").pixels == Bytes{5, 5, 5, 1, 2, 3});
  const Bytes rgba =
      png_file({png_header(2, 1, 8, 6), chunk("IDAT", deflated({0, 4, 4, 4, 0, 6, 6, 6, 255}))});
  const Image image = decode_image(as_file(rgba), "a");
  CHECK(image.channels == 1);
  CHECK(image.pixels == Bytes{4, 6});
}

TEST_CASE("16 bits are rounded to 8") {
  Bytes raw = {0};
  for (int v = 0; v < 65536; ++v) append(raw, {uint8_t(v >> 8), uint8_t(v)});
  // One row is wider than the limit of a side, so four of them.
  Bytes rows;
  for (int y = 0; y < 4; ++y) {
    rows.push_back(0);
    rows.insert(rows.end(), raw.begin() + 1 + y * 32768, raw.begin() + 1 + (y + 1) * 32768);
  }
  const Bytes file = png_file({png_header(16384, 4, 16, 0), chunk("IDAT", deflated(rows))});
  const Image image = decode_image(as_file(file), "a");
  REQUIRE(image.pixels.size() == 65536);
  int wrong = 0;
  for (int v = 0; v < 65536; ++v)
    wrong += image.pixels[v] != static_cast<int>(v * 255.0 / 65535.0 + 0.5);
  CHECK(wrong == 0);
}

TEST_CASE("JPEG equals stb_image's within 2 levels; EXIF turns it") {
  const int height = 16, width = 24;
  Bytes pixels;  // four flat corners
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      pixels.push_back(static_cast<uint8_t>(50 * (1 + (x >= width / 2) + 2 * (y >= height / 2))));
  for (const bool progressive : {false, true}) {
    const Bytes file = jpeg_file(pixels, height, width, progressive);
    check_equal(decode_image(as_file(file), "a.jpg"), second_decoder(as_file(file)), 2);
  }
  // Orientation: the stored corner (row, column) that a person must see at top left, top right.
  const int expected[9][2] = {{},     {0, 1}, {1, 0}, {3, 2}, {2, 3},
                              {0, 2}, {2, 0}, {3, 1}, {1, 3}};  // corner = 2 * row + column
  for (int orientation = 1; orientation <= 8; ++orientation)
    for (const bool big : {false, true}) {
      CAPTURE(orientation);
      const uint8_t o = static_cast<uint8_t>(orientation);
      Bytes exif = text(std::string("Exif\0\0", 6));
      append(exif, big ? Bytes{'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, o}
                       : Bytes{'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, o, 0});
      Bytes file = jpeg_file(pixels, height, width);
      Bytes marker = {0xFF, 0xE1, 0, static_cast<uint8_t>(exif.size() + 2)};
      append(marker, exif);
      file.insert(file.begin() + 2, marker.begin(), marker.end());
      const Image image = decode_image(as_file(file), "a.jpg");
      CHECK(image.width == (orientation >= 5 ? height : width));
      CHECK(image.height == (orientation >= 5 ? width : height));
      const auto corner = [&](int x) { return (image.pixels[x] + 10) / 50 - 1; };
      CHECK(corner(0) == expected[orientation][0]);
      CHECK(corner(image.width - 1) == expected[orientation][1]);
    }
}

TEST_CASE("BMP and PNM") {
  const Bytes bmp = bmp_file(13, 7);
  check_equal(decode_image(as_file(bmp), "a.bmp"), second_decoder(as_file(bmp)));
  Bytes ppm = text("P6 # comment\n2 1\n255\n");
  append(ppm, {1, 2, 3, 4, 5, 6});
  check_equal(decode_image(as_file(ppm), "a"), second_decoder(as_file(ppm)));
  Bytes pgm = text("P5\n3 1\n4095\n");
  append(pgm, {0, 0, 0x08, 0x00, 0x0F, 0xFF});
  CHECK(decode_image(as_file(pgm), "a").pixels == Bytes{0, 128, 255});
}

TEST_CASE("what write_png writes is read back, with the same bytes each time") {
  Image image{17, 9, 3, {}};
  for (int i = 0; i < 17 * 9 * 3; ++i) image.pixels.push_back(static_cast<uint8_t>(i * i / 3));
  const auto path =
      std::filesystem::temp_directory_path() / ("pneuma_" + std::to_string(::getpid()) + ".png");
  write_png(path, image);
  const auto bytes = read_image_file(path, kMaxImageFile);
  check_equal(decode_image(bytes, path.string()), image);
  write_png(path, image);
  CHECK(bytes == read_image_file(path, kMaxImageFile));
  // The same on every machine: these are the bytes of stb_image_write 1.16.
  CHECK(crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())) ==
        1532314278u);
  std::filesystem::remove(path);
  CHECK_THROWS_AS(write_png("/nonexistent/a.png", image), Error);
}

TEST_CASE("the odd images that are good equal Pillow's") {
  const auto data = shared_data();
  if (data.empty()) return;
  std::ifstream file(std::string(PNEUMA_SOURCE_DIR) + "/tests/golden/images.json");
  const auto golden = nlohmann::json::parse(file)["files"];
  REQUIRE(golden.size() == 11);
  for (const auto& one : golden) {
    const auto name = one["name"].get<std::string>();
    CAPTURE(name);
    const auto bytes = read_image_file(data / "odd_images" / name, kMaxImageFile);
    const Image image = decode_image(bytes, name);
    CHECK(std::vector<int>{image.height, image.width, image.channels} ==
          one["shape"].get<std::vector<int>>());
    if (one.contains("crc32")) {
      CHECK(crc32(0, image.pixels.data(), static_cast<uInt>(image.pixels.size())) ==
            one["crc32"].get<uint32_t>());
      check_equal(image, second_decoder(bytes));
      continue;
    }
    double sum = 0;
    for (const int v : image.pixels) sum += v;
    CHECK(sum / static_cast<double>(image.pixels.size()) ==
          doctest::Approx(one["mean"].get<double>()).epsilon(1e-3));
    const auto picks = one["pixels"].get<std::vector<int>>();
    int worst = 0;
    for (size_t i = 0; i < picks.size(); ++i)
      worst =
          std::max(worst, std::abs(picks[i] - image.pixels[i * (image.pixels.size() - 1) / 63]));
    CHECK(worst <= 1);
    if (name.find("cmyk") == std::string::npos && name.find("exif") == std::string::npos &&
        name.find("420") == std::string::npos)
      check_equal(image, second_decoder(bytes), 3);
  }
}

TEST_CASE("the odd images that are bad are refused, each with its reason") {
  const auto data = shared_data();
  if (data.empty()) return;
  const std::pair<const char*, const char*> bad[] = {
      {"bad_00000003_001_claims_0x0.png", "0 x 0"},
      {"bad_00000003_001_claims_60000x60000.png", "60000 x 60000"},
      {"bad_00000003_001_idat_bitflip.png", "checksum"},
      {"bad_00000003_001_ihdr_crc.png", "checksum"},
      {"bad_00000003_001_no_iend.png", "no end (IEND)"},
      {"bad_00000003_001_truncated_half.jpg", "JPEG is damaged"},
      {"bad_00000003_001_truncated_half.png", "truncated"},
      {"bad_00000003_001_truncated_header20.png", "truncated"},
      {"bad_empty.png", "is empty"},
      {"bad_git_lfs_pointer.png", "git lfs pull"},
      {"bad_text.png", "is text"},
      {"derived_00000003_001.tif", "a TIFF image; convert it to PNG"},
      {"derived_00000003_001_renamed_tiff.png", "a TIFF image; convert it to PNG"},
  };
  for (const auto& [name, reason] : bad) {
    CAPTURE(name);
    std::string message;
    try {
      read_image(data / "odd_images", name);
    } catch (const Error& error) {
      message = error.what();
      CHECK(error.exit() == Exit::data);
    }
    CAPTURE(message);
    CHECK(message.find(name) != std::string::npos);
    CHECK(message.find(reason) != std::string::npos);
  }
  std::string warning;
  const std::string name = "bad_00000003_001_trailing_garbage.png";
  decode_image(read_image_file(data / "odd_images" / name, kMaxImageFile), name, &warning);
  CHECK(warning.find("bytes follow the end of the PNG") != std::string::npos);
}

TEST_CASE("foreign formats are named") {
  const auto says = [](Bytes bytes, const char* part) {
    bytes.resize(std::max<size_t>(bytes.size(), 200));
    try {
      decode_image(as_file(bytes), "dir/x.png");
      FAIL("not refused");
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find(part) != std::string::npos);
    }
  };
  Bytes dicom(128);
  append(dicom, text("DICM"));
  says(dicom, "DICOM");
  says(text("GIF89a"), "GIF");
  says({'M', 'M', 0, '*'}, "TIFF");
  says({0x1F, 0x8B, 8}, "gzip");
  says({1, 2, 3}, "none of PNG");
}

}  // namespace
