#include "data/phantom/phantom.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "data/image.h"
#include "data/nih_labels.h"
#include "data/phantom/findings.h"
#include "data/split.h"
#include "engine/io/atomic_file.h"
#include "tests/temporary.h"

using namespace pneuma;
using namespace pneuma::phantom;
using pneuma::testing::message_of;
using pneuma::testing::Temporary;
namespace fs = std::filesystem;

namespace {

constexpr int kDemoPatients = 5000;

std::string all_bytes(const fs::path& folder) {
  std::set<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files.insert(entry.path());
  std::string all;
  for (const fs::path& file : files) all += file.filename().string() + read_file(file, 1 << 20);
  return all;
}

// Mann-Whitney, by its definition.
double auc(const std::vector<float>& score, const std::vector<bool>& positive) {
  double wins = 0, pairs = 0;
  for (size_t i = 0; i < score.size(); ++i)
    for (size_t j = 0; positive[i] && j < score.size(); ++j)
      if (!positive[j]) {
        ++pairs;
        wins += score[i] > score[j] ? 1 : score[i] == score[j] ? 0.5 : 0;
      }
  return wins / pairs;
}

}  // namespace

TEST_CASE("the same seed gives the same bytes on any number of threads") {
  const Temporary folder;
  write_phantoms(folder / "one", 12, 24, 7, 1);
  int last = 0;
  write_phantoms(folder / "four", 12, 24, 7, 4, [&](int done, int total) {
    CHECK(done == ++last);
    CHECK(total == 12);
  });
  write_phantoms(folder / "other", 12, 24, 8, 1);
  CHECK(last == 12);
  CHECK(all_bytes(folder / "one") == all_bytes(folder / "four"));
  CHECK(all_bytes(folder / "one") != all_bytes(folder / "other"));
}

TEST_CASE("the folder is laid out as the NIH's") {
  const Temporary folder;
  write_phantoms(folder / "new", 40, 33, 3, 2);
  const std::string csv = folder.read("new/Data_Entry_2017.csv");
  CHECK(csv.substr(0, csv.find('\n')) ==
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
        "View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]");
  const std::vector<LabelRow> rows = read_labels(folder / "new/Data_Entry_2017.csv");
  CHECK(rows.size() > 50);
  CHECK(rows.back().patient == 40);
  int64_t patient = 0, image = 0;
  for (const LabelRow& row : rows) {
    image = row.patient == patient ? image + 1 : 0;
    patient = row.patient;
    CHECK(row.labels == draw_history(3, uint32_t(patient)).at(size_t(image)));
    CHECK(row.image == fmt::format("{:08}_{:03}.png", patient, image));
    const Image picture = read_image(folder / "new/images", row.image);
    CHECK(picture.channels == 1);
    CHECK(picture.height == 33);
    CHECK(picture.width == 33);
  }
  CHECK(rows.size() == size_t(std::distance(fs::directory_iterator(folder / "new/images"), {})));
}

TEST_CASE("an output that is not empty and settings out of range are refused") {
  const Temporary folder;
  folder.write("full/mine", "precious");
  message_of(Exit::usage, [&] { write_phantoms(folder / "full", 1, 32, 1, 1); });
  CHECK(folder.read("full/mine") == "precious");
  message_of(Exit::environment, [&] { write_phantoms(folder / "full/mine/new", 1, 32, 1, 1); });
  message_of(Exit::usage, [&] { write_phantoms(folder / "new", 0, 32, 1, 1); });
  message_of(Exit::usage, [&] { write_phantoms(folder / "new", 1, 8, 1, 1); });
  message_of(Exit::usage, [&] { write_phantoms(folder / "new", 1, 1 << 20, 1, 1); });
  CHECK(!fs::exists(folder / "new"));
}

TEST_CASE("without its last file the folder is not taken for a whole one") {
  const Temporary folder;
  const auto stop = [](int done, int) {
    if (done == 3) fail(Exit::environment, "stopped");
  };
  CHECK(message_of(Exit::environment, [&] { write_phantoms(folder / "new", 9, 32, 1, 2, stop); }) ==
        "stopped");
  CHECK(fs::exists(folder / "new/images"));
  CHECK(!fs::exists(folder / "new/Data_Entry_2017.csv"));
}

TEST_CASE("every finding is common enough to be counted, and unequally common") {
  for (uint64_t seed : {1, 2, 3}) {
    CAPTURE(seed);
    std::vector<LabelRow> rows;
    for (int patient = 1; patient <= kDemoPatients; ++patient)
      for (const FindingSet present : draw_history(seed, uint32_t(patient)))
        rows.push_back({fmt::format("{}.png", rows.size()), present, patient, ""});
    std::array<double, kFindingCount> share{};
    double none = 0;
    for (const LabelRow& row : rows) {
      none += row.labels.none() / double(rows.size());
      for (size_t f = 0; f < kFindingCount; ++f) share[f] += row.labels[f] / double(rows.size());
    }
    CHECK(none > 0.33);
    CHECK(none < 0.5);
    CHECK(*std::min_element(share.begin(), share.end()) > 0.035);
    CHECK(*std::max_element(share.begin(), share.end()) > 0.11);
    std::array<int, kFindingCount> tested{};
    const Split split = make_split(rows, SplitMethod::patient, seed);
    for (size_t i : split.test())
      for (size_t f = 0; f < kFindingCount; ++f) tested[f] += rows[i].labels[f];
    CHECK(*std::min_element(tested.begin(), tested.end()) >= 10);
  }
}

TEST_CASE("each finding changes the picture, and where it should") {
  const auto in_lungs = [](const Chest& c, Point p) { return c.lung(p) > -0.02; };
  const auto near_heart = [](const Chest& c, Point p) { return distance(p, c.heart) < 0.6; };
  const auto base = [](const Chest& c, Point p) { return p.y > c.dome[0] - 0.7; };
  const auto rim = [](const Chest&, Point p) { return std::fabs(p.x) > 0.2; };
  const auto trunk = [](const Chest&, Point p) { return p.y > -0.8; };
  struct Expectation {
    double least, most;  // share of the pixels that change
    bool (*region)(const Chest&, Point);
  };
  const std::array<Expectation, kFindingCount> expected{{{0.01, 0.2, trunk},
                                                         {0.01, 0.1, in_lungs},
                                                         {0.02, 0.2, in_lungs},
                                                         {0.02, 0.25, in_lungs},
                                                         {0.02, 0.25, in_lungs},
                                                         {0.05, 0.5, trunk},
                                                         {0.02, 0.2, base},
                                                         {0.004, 0.3, base},
                                                         {0.02, 0.2, in_lungs},
                                                         {0.002, 0.1, rim},
                                                         {0.02, 0.2, near_heart},
                                                         {0.001, 0.02, in_lungs},
                                                         {0.01, 0.06, in_lungs},
                                                         {0.01, 0.06, near_heart}}};
  for (size_t f = 0; f < kFindingCount; ++f)
    for (uint32_t patient = 1; patient <= 8; ++patient) {
      CAPTURE(kFindings[f]);
      CAPTURE(patient);
      Random random(5, Purpose::test, patient);
      const Chest c = draw_chest(random);
      Film without(96, 1, 0, {}), with(96, 1, 0, {});
      draw_phantom(without, c, {}, 5, patient);
      draw_phantom(with, c, FindingSet().set(f), 5, patient);
      double changed = 0, right = 0;
      const auto seen = [](const Film& film, int i) {
        return film.tissue[i] + film.air[i] * (film.marks[i] - 0.58 * (1 - film.haze[i]));
      };
      with.each([&](int i, Point p) {
        const double change = std::fabs(seen(with, i) - seen(without, i));
        if (change < 0.05) return;
        ++changed;
        right += expected[f].region(c, p);
      });
      const double share = changed / (96 * 96);
      CHECK(share > expected[f].least);
      CHECK(share < expected[f].most);
      CHECK(right > 0.9 * changed);
    }
}

// What the network is asked for must not be had from brightness alone: a logistic regression on
// 16x16 thumbnails stays well below it (scikit-learn's, C = 0.01, agrees with this one).
TEST_CASE("a linear model on thumbnails does not find the findings") {
  const Temporary folder;
  write_phantoms(folder / "new", kDemoPatients, 32, 1, 2);
  const std::vector<LabelRow> rows = read_labels(folder / "new/Data_Entry_2017.csv");
  const Split split = make_split(rows, SplitMethod::patient, 1);
  constexpr int kPixels = 256;
  std::vector<std::array<float, kPixels>> thumbnails(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const Image image = read_image(folder / "new/images", rows[i].image);
    thumbnails[i].fill(0);
    for (int p = 0; p < 32 * 32; ++p) thumbnails[i][p / 64 * 16 + p % 32 / 2] += image.pixels[p];
  }
  const double n = double(split.train().size());
  for (int p = 0; p < kPixels; ++p) {
    double mean = 0, square = 0;
    for (size_t i : split.train()) mean += thumbnails[i][p] / n;
    for (size_t i : split.train()) square += std::pow(thumbnails[i][p] - mean, 2) / n;
    for (auto& x : thumbnails) x[p] = float((x[p] - mean) / (std::sqrt(square) + 1e-6));
  }
  const auto score = [&](const std::array<float, kPixels>& w, size_t i) {
    std::array<float, 8> sums{};
    for (int p = 0; p < kPixels; ++p) sums[p % 8] += w[p] * thumbnails[i][p];
    float sum = 0;
    for (float s : sums) sum += s;
    return sum;
  };
  double macro = 0;
  for (size_t f = 0; f < kFindingCount; ++f) {  // gradient descent with momentum, all rows at once
    std::array<float, kPixels> w{}, velocity{};
    float bias = 0;
    for (int step = 0; step < 120; ++step) {
      std::array<float, kPixels> gradient{};
      double bias_gradient = 0;
      for (size_t i : split.train()) {
        const float error = 1 / (1 + std::exp(-score(w, i) - bias)) - rows[i].labels[f];
        bias_gradient += error / n;
        for (int p = 0; p < kPixels; ++p) gradient[p] += error * thumbnails[i][p];
      }
      bias -= float(2 * bias_gradient);
      for (int p = 0; p < kPixels; ++p) {
        velocity[p] = 0.9f * velocity[p] - 0.02f * (gradient[p] / float(n) + 0.024f * w[p]);
        w[p] += velocity[p];
      }
    }
    std::vector<float> scores;
    std::vector<bool> positive;
    for (size_t i : split.test()) {
      scores.push_back(score(w, i));
      positive.push_back(rows[i].labels[f]);
    }
    macro += auc(scores, positive) / kFindingCount;
  }
  MESSAGE("macro AUC " << macro);
  CHECK(macro < 0.80);
  CHECK(macro > 0.55);  // it has learnt something, so the bound above means something
}
