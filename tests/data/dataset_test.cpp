#include "data/dataset.h"

#include <doctest/doctest.h>

#include <numeric>

#include "tests/shared_data.h"
#include "tests/temporary.h"

using namespace pneuma;
using pneuma::testing::message_of;
using pneuma::testing::Temporary;

namespace {

LabelRow row(const std::string& image, const std::string& findings, int64_t patient) {
  return {.image = image, .labels = parse_findings(findings, ""), .patient = patient};
}

}  // namespace

TEST_CASE("images in images/ or as the NIH's tar files unpack") {
  Temporary folder;
  folder.write("images/00000001_000.png", "");
  folder.write("images_002/images/00000002_000.png", "");
  folder.write("images_012/images/odd.png", "");
  folder.write("other/images/missing.png", "");
  const std::vector<LabelRow> rows = {
      row("00000001_000.png", "Mass", 1), row("missing.png", "Mass", 9),
      row("00000002_000.png", "No Finding", 2), row("odd.png", "Atelectasis|Mass", -4)};
  const Dataset dataset = dataset_of_rows(folder.path, rows, {0, 2, 3});
  REQUIRE(dataset.samples.size() == 3);
  CHECK(dataset.num_classes == 14);
  CHECK(dataset.findings[12] == "Mass");
  CHECK(dataset.samples[0].path == "images/00000001_000.png");
  CHECK(dataset.samples[1].path == "images_002/images/00000002_000.png");
  CHECK(dataset.samples[2].path == "images_012/images/odd.png");
  CHECK(dataset.samples[0].patient == "1");
  CHECK(dataset.samples[2].patient == "odd.png");  // stands alone
  CHECK(dataset.samples[2].labels == std::vector<float>{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0});
  CHECK(positives(dataset) == std::vector<int64_t>{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0});
  const std::vector<float> weights = class_weights(dataset);
  CHECK(weights[0] == 3.0f);
  CHECK(weights[12] == 1.5f);
  CHECK(weights[1] == 1.0f);  // N_l = 0

  const auto says = [&](const std::filesystem::path& root, std::vector<size_t> chosen,
                        const char* part) {
    const std::string said = message_of(Exit::data, [&] { dataset_of_rows(root, rows, chosen); });
    CAPTURE(said);
    CHECK(said.find(part) != std::string::npos);
  };
  says(folder.path, {0, 1, 2}, "1 of 3 images are missing (missing.png)");
  says(folder.path, {1, 1, 1, 0, 1},
       "4 of 5 images are missing (missing.png, missing.png, "
       "missing.png, ...)");
  says(folder / "none", {0}, "cannot be read as a folder");
}

TEST_CASE("from a list") {
  Temporary folder;
  folder.write("images/00000013_005.png", "");
  folder.write("images/00000013_006.png", "");
  folder.write("images/odd.png", "");
  folder.write("a.lst",
               "0\t0\t1\timages/00000013_005.png\n1\t1\t1\timages/00000013_006.png\n"
               "2\t0\t0\timages/odd.png\n");
  const Dataset dataset = dataset_of_list(folder.path, folder / "a.lst", 2);
  REQUIRE(dataset.samples.size() == 3);
  CHECK(dataset.samples[0].patient == "13");
  CHECK(dataset.samples[1].patient == "13");
  CHECK(dataset.samples[2].patient == "images/odd.png");
  CHECK(dataset.findings == std::vector<std::string>{"class_0", "class_1"});
  CHECK(positives(dataset) == std::vector<int64_t>{1, 2});

  const auto says = [&](const std::string& text, int classes, bool multi, const char* part) {
    folder.write("b.lst", text);
    const std::string said = message_of(
        Exit::data, [&] { dataset_of_list(folder.path, folder / "b.lst", classes, multi); });
    CAPTURE(said);
    CHECK(said.find(part) != std::string::npos);
  };
  says("0\t0\t1\timages/none.png\n", 2, true, "1 of 1 images are missing (images/none.png)");
  says("0\t0\t1\timages\n", 2, true, "missing");
  says("0\t0\t2\timages/odd.png\n", 2, true, "is not 0 or 1");
  says("0\t0\t1\timages/odd.png\n", 3, true, "2 labels where 3 are needed");
  says("0\t5\timages/odd.png\n", 5, false, "is not a class from 0 to 4");
  says("0\t0.5\timages/odd.png\n", 5, false, "is not a class");
  says("0\t1e30\timages/odd.png\n", 5, false, "is not a class");
  folder.write("b.lst", "0\t4\timages/odd.png\n1\t0\timages/odd.png\n");
  CHECK(positives(dataset_of_list(folder.path, folder / "b.lst", 5, false)) ==
        std::vector<int64_t>{1, 0, 0, 0, 1});
}

TEST_CASE("real folders are complete") {
  const std::filesystem::path data = pneuma::testing::shared_data();
  if (data.empty()) return;
  const std::vector<std::pair<const char*, size_t>> folders = {
      {"nih_1024", 233}, {"nih_256", 728}, {"nih_64_followup", 1000}};
  for (const auto& [folder, images] : folders) {
    const std::vector<LabelRow> rows = read_labels(find_labels(data / folder).path);
    std::vector<size_t> all(rows.size());
    std::iota(all.begin(), all.end(), size_t{0});
    CHECK(dataset_of_rows(data / folder, rows, all).samples.size() == images);
  }
}
