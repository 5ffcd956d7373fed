// Resizing against Pillow (equal) and PyTorch without antialiasing (within one level), through
// tests/golden/images.json.
#include "data/resize.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "tests/data/source_picture.h"

using namespace pneuma;
using pneuma::testing::source;

namespace {

nlohmann::json golden() {
  std::ifstream file(std::string(PNEUMA_SOURCE_DIR) + "/tests/golden/images.json");
  return nlohmann::json::parse(file);
}

TEST_CASE("resize equals Pillow, and PyTorch within one level") {
  const auto cases = golden()["resize"];
  REQUIRE(cases.size() == 20);
  for (const auto& one : cases) {
    const auto from = one["from"].get<std::vector<int>>();
    const auto to = one["to"].get<std::vector<int>>();
    CAPTURE(one["from"].dump());
    CAPTURE(one["to"].dump());
    const Image image = source(from[0], from[1], from[2]);

    const Image smooth = resize(image, to[0], to[1], ResizeFilter::antialias);
    CHECK(smooth.height == to[0]);
    CHECK(smooth.width == to[1]);
    CHECK(smooth.channels == from[2]);
    REQUIRE(smooth.pixels.size() == static_cast<size_t>(to[0] * to[1] * from[2]));
    CHECK(crc32(0, smooth.pixels.data(), static_cast<uInt>(smooth.pixels.size())) ==
          one["pillow_crc32"].get<uint32_t>());

    const Image linear = resize(image, to[0], to[1], ResizeFilter::linear);
    const auto hex = one["linear"].get<std::string>();
    const size_t count = hex.size() / 2, size = linear.pixels.size();
    int worst = 0;
    for (size_t i = 0; i < count; ++i) {
      const int expected = std::stoi(hex.substr(2 * i, 2), nullptr, 16);
      const int got = linear.pixels[i * (size - 1) / std::max<size_t>(count - 1, 1)];
      worst = std::max(worst, std::abs(expected - got));
    }
    CHECK(worst <= 1);
  }
}

TEST_CASE("the shorter side gets the size, the other one is rounded down") {
  const auto shape = [](int height, int width, int size) {
    const Image out = resize_shorter_side(source(height, width, 1), size, ResizeFilter::linear);
    return std::pair(out.height, out.width);
  };
  CHECK(shape(30, 50, 20) == std::pair(20, 33));
  CHECK(shape(50, 30, 20) == std::pair(33, 20));
  CHECK(shape(50, 50, 7) == std::pair(7, 7));
  CHECK(shape(3, 299, 2) == std::pair(2, 199));
}

TEST_CASE("a flat picture stays flat") {
  Image image{37, 53, 3, std::vector<uint8_t>(37 * 53 * 3, 255)};
  for (const auto filter : {ResizeFilter::antialias, ResizeFilter::linear}) {
    const Image out = resize(image, 101, 11, filter);
    CHECK(std::all_of(out.pixels.begin(), out.pixels.end(), [](int v) { return v == 255; }));
  }
}

TEST_CASE("sizes beyond the limits are refused") {
  const Image thin{1, 16000, 1, std::vector<uint8_t>(16000)};
  CHECK_THROWS_AS(resize_shorter_side(thin, 2, ResizeFilter::linear), Error);
  CHECK_THROWS_AS(resize(thin, 0, 5, ResizeFilter::linear), Error);
  CHECK_THROWS_AS(resize(thin, 16384, 16384, ResizeFilter::antialias), Error);
}

}  // namespace
