// verify_images finds every fault, whatever the number of threads.
#include "data/verify.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <fstream>

#include "data/write_png.h"
#include "tests/shared_data.h"

using namespace pneuma;
namespace fs = std::filesystem;

namespace {

TEST_CASE("faults are listed by path, with warnings marked, for any number of threads") {
  const fs::path root = fs::temp_directory_path() / ("pneuma_verify_" + std::to_string(getpid()));
  fs::create_directories(root / "below" / "empty");
  for (int i = 0; i < 20; ++i)
    write_png(root / ("good" + std::to_string(i) + ".png"), {3, 2, 1, {1, 2, 3, 4, 5, 6}});
  write_png(root / "below" / "tail.PNG", {1, 1, 1, {7}});
  std::ofstream(root / "below" / "tail.PNG", std::ios::app) << "garbage";
  std::ofstream(root / "below" / "empty.jpg");
  std::ofstream(root / "a.png") << "version https://git-lfs.github.com/spec/v1\n";
  std::ofstream(root / "labels.csv") << "not an image, and not asked for\n";
  std::ofstream(root / "cut.png") << "\x89PNG\r\n\x1A\n";

  std::vector<std::string> first;
  for (const int threads : {1, 2, 7}) {
    int64_t calls = 0, total = 0;
    const auto faults = verify_images({root, root, root / "none.png", root / "below" / "empty"},
                                      threads, [&](int64_t done, int64_t all) {
                                        CHECK(done == ++calls);
                                        total = all;
                                      });
    CHECK(calls == 25);  // each once, although root is named twice
    CHECK(total == 25);
    std::vector<std::string> lines;
    for (const Fault& f : faults)
      lines.push_back(fs::path(f.path).lexically_relative(root).string() + (f.warning ? " W" : ""));
    CHECK(lines == std::vector<std::string>{"a.png", "below/empty", "below/empty.jpg",
                                            "below/tail.PNG W", "cut.png", "none.png"});
    CHECK(faults[0].reason.find("git lfs pull") != std::string::npos);
    CHECK(faults[1].reason.find("no images") != std::string::npos);
    CHECK(faults[5].reason.find("no such file") != std::string::npos);
    if (first.empty()) first = lines;
    CHECK(lines == first);
  }
  fs::remove_all(root);
}

TEST_CASE("the odd images: every bad one is found, every other one is sound") {
  const fs::path data = testing::shared_data();
  if (data.empty()) return;
  int bad = 0, warnings = 0;
  for (const Fault& fault : verify_images({data / "odd_images"}, 2)) {
    const std::string name = fs::path(fault.path).filename().string();
    CAPTURE(fault.reason);
    CHECK((name.starts_with("bad_") || name.find("tif") != std::string::npos));
    CHECK(fault.warning == (name.find("trailing_garbage") != std::string::npos));
    (fault.warning ? warnings : bad)++;
  }
  CHECK(bad == 13);  // 11 bad ones and two TIFFs
  CHECK(warnings == 1);
}

}  // namespace
