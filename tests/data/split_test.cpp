#include "data/split.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/random.h"
#include "tests/shared_data.h"
#include "tests/temporary.h"

using namespace pneuma;
using pneuma::testing::message_of;
using pneuma::testing::Temporary;

namespace {

// `patients` patients of one to four images; ids with gaps.
std::vector<LabelRow> make_rows(int patients) {
  std::vector<LabelRow> rows;
  Random random(1, Purpose::test);
  for (int p = 1; p <= patients; ++p) {
    for (uint32_t i = 0, n = 1 + random.below(4); i < n; ++i) {
      LabelRow row{.image = fmt::format("{:08}_{:03}.png", 3 * p, i), .patient = 3 * p};
      row.labels = FindingSet(random.below(1 << 14));
      row.line = fmt::format("{},Mass,{},{}", row.image, i, row.patient);
      rows.push_back(row);
    }
  }
  return rows;
}

std::array<std::set<int64_t>, 3> patients_of(const Split& split,
                                             const std::vector<LabelRow>& rows) {
  std::array<std::set<int64_t>, 3> sets;
  for (int s = 0; s < 3; ++s)
    for (const size_t i : split.sets[s]) sets[s].insert(rows[i].patient);
  return sets;
}

std::vector<LabelRow> real_rows() {
  const std::filesystem::path data = pneuma::testing::shared_data();
  if (data.empty()) return {};
  return read_labels(data / "nih_labels" / "Data_Entry_2017_v2020.csv.gz");
}

}  // namespace

TEST_CASE("patient: nobody lost, nobody twice, 70/10/20, by seed") {
  for (const int n : {3, 4, 7, 10, 29, 100, 1000}) {
    CAPTURE(n);
    const std::vector<LabelRow> rows = make_rows(n);
    const Split split = make_split(rows, SplitMethod::patient, 5);
    const auto sets = patients_of(split, rows);
    CHECK(sets[0].size() + sets[1].size() + sets[2].size() == size_t(n));
    CHECK(split.train().size() + split.validation().size() + split.test().size() == rows.size());
    std::set<int64_t> all;
    for (const auto& set : sets) all.insert(set.begin(), set.end());
    CHECK(all.size() == size_t(n));
    CHECK(split.lost_patients.empty());
    CHECK(sets[1].size() == size_t(std::max(1, n / 10)));
    CHECK(sets[2].size() == size_t(std::max(1, n / 5)));
    CHECK(make_split(rows, SplitMethod::patient, 5).hash == split.hash);
    if (n >= 100) CHECK(make_split(rows, SplitMethod::patient, 6).hash != split.hash);
  }
  CHECK(message_of(Exit::data, [] {
          make_split(make_rows(2), SplitMethod::patient, 0);
        }).find("at least 3") != std::string::npos);
}

TEST_CASE("the hash knows sets, patients, images and labels, not their order or spelling") {
  std::vector<LabelRow> rows = make_rows(40);
  const std::string hash = make_split(rows, SplitMethod::patient, 1).hash;
  CHECK(hash == "75b7034e3194f9e0716dee74d1484964");  // pinned: the same on any machine
  std::reverse(rows.begin(), rows.end());
  rows[3].line += ",";
  CHECK(make_split(rows, SplitMethod::patient, 1).hash == hash);
  rows[3].labels.flip(2);
  CHECK(make_split(rows, SplitMethod::patient, 1).hash != hash);
  rows[3].labels.flip(2);
  rows[3].image += "x";
  CHECK(make_split(rows, SplitMethod::patient, 1).hash != hash);
}

TEST_CASE("published: the recipe's arithmetic on real labels, to the last image") {
  const std::vector<LabelRow> rows = real_rows();
  if (rows.empty()) return;
  const Split split = make_split(rows, SplitMethod::published, 0);
  const auto sets = patients_of(split, rows);
  CHECK(sets[0].size() == 21563);
  CHECK(*sets[0].begin() == 1);
  CHECK(*sets[0].rbegin() == 21563);
  CHECK(sets[1].size() == 3079);
  CHECK(sets[2].size() == 6161);
  CHECK(split.train().size() == 87306);
  CHECK(split.validation().size() == 7615);
  CHECK(split.test().size() == 17197);
  CHECK(split.lost_patients == std::vector<int64_t>{21564, 24644});
  const auto json = nlohmann::json::parse(split_json(split, rows));
  CHECK(json["lost_images"] == 2);
  CHECK(json["hash"] == split.hash);
  CHECK(json["sets"]["train"]["no_finding"] == 47261);
  CHECK(json["sets"]["validation"]["no_finding"] == 4285);
  CHECK(json["sets"]["test"]["no_finding"] == 8814);
  CHECK(json["sets"]["validation"]["positives"]["Hernia"] == 10);
  CHECK(json["sets"]["test"]["positives"]["Hernia"] == 26);
  const std::vector<std::pair<int, double>> table = {
      {9163, 9.53},  {3789, 23.04}, {14889, 5.86}, {3818, 22.87}, {1894, 46.10},
      {1943, 44.93}, {1494, 58.44}, {10257, 8.51}, {1150, 75.92}, {2615, 33.39},
      {2215, 39.42}, {4909, 17.78}, {4636, 18.83}, {191, 457.1}};
  for (size_t i = 0; i < kFindingCount; ++i) {
    const int n = json["sets"]["train"]["positives"][std::string(kFindings[i])];
    CHECK(n == table[i].first);
    CHECK(std::abs(87306.0 / n - table[i].second) < (i == 13 ? 0.05 : 0.005));
  }
}

TEST_CASE("official: the NIH's own lists") {
  const std::vector<LabelRow> rows = real_rows();
  if (rows.empty()) return;
  const auto lists = pneuma::testing::shared_data() / "nih_labels";
  const Split split = make_split(rows, SplitMethod::official, 3, lists);
  CHECK(split.test().size() == 25596);
  CHECK(split.train().size() + split.validation().size() == 86524);
  CHECK(split.lost_patients.empty());
  const auto sets = patients_of(split, rows);
  CHECK(sets[1].size() == (sets[0].size() + sets[1].size()) / 8);
  const Split other = make_split(rows, SplitMethod::official, 4, lists);
  CHECK(other.hash != split.hash);
  CHECK(other.test() == split.test());
}

TEST_CASE("official: lists that do not fit") {
  Temporary folder;
  const std::vector<LabelRow> rows = make_rows(10);
  const auto says = [&](const std::function<bool(const LabelRow&)>& train,
                        const std::function<bool(const LabelRow&)>& test, const char* part) {
    std::string a = "other.png\n", b = "another.png";
    for (const LabelRow& row : rows) {
      if (train(row)) a += row.image + "\r\n";
      if (test(row)) b += "\n" + row.image;
    }
    folder.write("train_val_list.txt", a);
    folder.write("test_list.txt", b);
    const std::string said =
        message_of(Exit::data, [&] { make_split(rows, SplitMethod::official, 1, folder.path); });
    CAPTURE(said);
    CHECK(said.find(part) != std::string::npos);
  };
  const auto low = [](const LabelRow& row) { return row.patient <= 15; };
  const auto high = [](const LabelRow& row) { return row.patient > 15; };
  const auto second = [](const LabelRow& row) { return row.image.ends_with("_001.png"); };
  const auto first = [](const LabelRow& row) { return !row.image.ends_with("_001.png"); };
  const auto all = [](const LabelRow&) { return true; };
  const auto none = [](const LabelRow&) { return false; };
  says(low, none, "in neither");
  says(low, none, "00000018_000.png the first");
  says(all, high, "is also in");
  says(first, second, "images in both lists");
  says(all, none, "no patient in the test set");
  says(none, all, "no patient in the train set");
  std::filesystem::remove(folder / "test_list.txt");
  CHECK(message_of(Exit::data, [&] {
          make_split(rows, SplitMethod::official, 1, folder.path);
        }).find("test_list.txt") != std::string::npos);
}

TEST_CASE("the proof finds a single leaked image, in any two sets") {
  const std::vector<LabelRow> rows = make_rows(30);
  const Split good = make_split(rows, SplitMethod::patient, 2);
  prove_apart(good, rows);
  int leaks = 0;
  for (int from = 0; from < 3; ++from) {
    for (const size_t image : good.sets[from]) {
      const auto same = [&](size_t i) { return rows[i].patient == rows[image].patient; };
      if (std::count_if(good.sets[from].begin(), good.sets[from].end(), same) < 2) continue;
      Split leaked = good;
      std::erase(leaked.sets[from], image);
      leaked.sets[(from + 1) % 3].push_back(image);
      CHECK(message_of(Exit::data, [&] { prove_apart(leaked, rows); }).find("two sides") !=
            std::string::npos);
      ++leaks;
    }
  }
  CHECK(leaks > 20);
}

TEST_CASE("published: too few patients leave a set empty; methods by name") {
  CHECK(message_of(Exit::data, [] {
          make_split(make_rows(15), SplitMethod::published, 0);
        }).find("validation set; use more data or --split patient") != std::string::npos);
  CHECK(split_method("official") == SplitMethod::official);
  message_of(Exit::usage, [] { split_method("patients"); });
}

TEST_CASE("the files: rows as in the source, and they read back") {
  Temporary folder;
  const std::vector<LabelRow> rows = make_rows(30);
  const Split split = make_split(rows, SplitMethod::patient, 9);
  write_split(split, rows, folder / "new/folder");
  const char* files[] = {"new/folder/traindata.csv", "new/folder/valdata.csv",
                         "new/folder/testdata.csv"};
  for (int s = 0; s < 3; ++s) {
    std::string text;
    for (const size_t i : split.sets[s]) text += rows[i].line + "\n";
    CHECK(folder.read(files[s]) == text);
    CHECK(read_labels(folder / files[s]).size() == split.sets[s].size());
  }
  const auto json = nlohmann::json::parse(folder.read("new/folder/split.json"));
  CHECK(json["method"] == "patient");
  CHECK(json["seed"] == 9);
  CHECK(json["sets"]["train"]["images"] == split.train().size());
}
