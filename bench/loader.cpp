// Images a second on one core: decoding the files of a folder (held in memory), and decoding with
// resizing of the shorter side. bench/peers/loader_torchvision.py does the same with torchvision.
// The last line is one JSON object.
// usage: bench_loader FOLDER [repeats]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <vector>

#include "data/image.h"
#include "data/open_below.h"
#include "data/resize.h"
#include "engine/error.h"

int main(int argc, char** argv) try {
  if (argc < 2)
    pneuma::fail(
        pneuma::Exit::usage,
        "usage: bench_loader FOLDER [repeats], where FOLDER holds images, for example the NIH's");
  std::vector<std::filesystem::path> names;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1]))
    if (entry.is_regular_file()) names.push_back(entry.path());
  if (names.empty()) pneuma::fail(pneuma::Exit::data, "{}: has no files", argv[1]);
  std::sort(names.begin(), names.end());
  std::vector<std::vector<std::byte>> files;
  for (const auto& name : names)
    files.push_back(pneuma::read_image_file(name, pneuma::kMaxImageFile));

  std::string figures;
  const int repeats = argc > 2 ? std::max(1, std::atoi(argv[2])) : 3;
  for (const int size : {0, 256, 896}) {  // 0: decode only
    std::vector<double> seconds;
    uint64_t sum = 0;  // keeps the work from being optimised away
    for (int r = 0; r < repeats; ++r) {
      const auto begin = std::chrono::steady_clock::now();
      for (size_t i = 0; i < files.size(); ++i) {
        pneuma::Image image = pneuma::decode_image(files[i], names[i].string());
        if (size > 0)
          image = pneuma::resize_shorter_side(image, size, pneuma::ResizeFilter::antialias);
        sum += image.pixels.back();
      }
      seconds.push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    std::sort(seconds.begin(), seconds.end());
    const std::string what = size == 0 ? "decode" : fmt::format("decode_resize_{}", size);
    const double rate = static_cast<double>(files.size()) / seconds[seconds.size() / 2];
    fmt::print("pneuma {} {:.1f} images/s a core (median of {}, {} files, checksum {})\n", what,
               rate, repeats, files.size(), sum);
    figures += fmt::format(", \"{}_images_per_second\": {:.2f}", what, rate);
  }
  fmt::print("{{\"what\": \"{} files, one core\"{}}}\n", files.size(), figures);
} catch (const pneuma::Error& error) {
  fmt::print(stderr, "loader: {}\n", error.what());
  return static_cast<int>(error.exit());
}
