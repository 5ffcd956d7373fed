#include "data/split.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "data/text.h"
#include "engine/error.h"
#include "engine/io/atomic_file.h"
#include "engine/random.h"

namespace pneuma {
namespace {

enum Set : int { kNone = -1, kTrain = 0, kValidation = 1, kTest = 2 };

using Sides = std::unordered_map<int64_t, int>;  // patient -> Set

template <class Rows>
std::vector<int64_t> ascending_patients(const Rows& rows) {
  std::set<int64_t> ids;
  for (const LabelRow& row : rows) ids.insert(row.patient);
  return {ids.begin(), ids.end()};
}

void assign(Sides& sides, const std::vector<int64_t>& ids, size_t begin, size_t end, int set) {
  for (size_t i = begin; i < end && i < ids.size(); ++i) sides[ids[i]] = set;
}

Sides patient_sides(std::vector<int64_t> ids, uint64_t seed) {
  shuffle(ids, Random(seed, Purpose::split));
  const size_t n = ids.size();
  const size_t validation = std::max<size_t>(1, n / 10), test = std::max<size_t>(1, n / 5);
  if (n < 3) fail(Exit::data, "{} patients cannot be split into three sets; give at least 3", n);
  const size_t train = n - validation - test;
  Sides sides;
  assign(sides, ids, 0, train, kTrain);
  assign(sides, ids, train, train + validation, kValidation);
  assign(sides, ids, train + validation, n, kTest);
  return sides;
}

// With T = int(0.7 n) and V = T + int(0.1 n) the recipe takes ids[:T], ids[T+1:V] and ids[V+1:]:
// ids[T] and ids[V] fall into no set. Kept as it is, so that its numbers can be reproduced.
Sides published_sides(const std::vector<int64_t>& ids) {
  const size_t n = ids.size(), t = size_t(0.7 * double(n)), v = t + size_t(0.1 * double(n));
  Sides sides;
  assign(sides, ids, 0, t, kTrain);
  assign(sides, ids, t + 1, v, kValidation);
  assign(sides, ids, v + 1, n, kTest);
  return sides;
}

// Image -> line of a list of the NIH.
std::unordered_map<std::string, int64_t> read_names(const std::filesystem::path& file) {
  std::unordered_map<std::string, int64_t> names;
  for_each_line(read_text(file),
                [&](int64_t number, std::string_view line) { names.emplace(trim(line), number); });
  if (names.empty()) fail(Exit::data, "{}: holds no names; fetch it again", file.string());
  return names;
}

Sides official_sides(const std::vector<LabelRow>& rows, uint64_t seed,
                     const std::filesystem::path& lists) {
  const std::filesystem::path train_file = lists / "train_val_list.txt";
  const std::filesystem::path test_file = lists / "test_list.txt";
  const auto train_names = read_names(train_file), test_names = read_names(test_file);
  Sides sides;
  std::vector<LabelRow> train_rows;
  size_t missing = 0;
  std::string first_missing;
  for (const LabelRow& row : rows) {
    const auto in_train = train_names.find(row.image), in_test = test_names.find(row.image);
    if (in_train != train_names.end() && in_test != test_names.end())
      fail(Exit::data, "{}:{}: {} is also in {}:{}; an image can be on one side only",
           train_file.string(), in_train->second, row.image, test_file.string(), in_test->second);
    if (in_train == train_names.end() && in_test == test_names.end()) {
      if (missing++ == 0) first_missing = row.image;
      continue;
    }
    const int side = in_test != test_names.end() ? kTest : kTrain;
    const auto [before, is_new] = sides.try_emplace(row.patient, side);
    if (!is_new && before->second != side)
      fail(Exit::data,
           "{}: patient {} has images in both lists ({} among them); lists must keep "
           "a patient on one side",
           lists.string(), patient_name(row), row.image);
    if (side == kTrain) train_rows.push_back(row);
  }
  if (missing)
    fail(Exit::data,
         "{}: {} of {} images ({} the first) are in neither train_val_list.txt nor test_list.txt; "
         "these lists belong to other labels, use --split patient",
         lists.string(), missing, rows.size(), first_missing);
  std::vector<int64_t> ids = ascending_patients(train_rows);
  shuffle(ids, Random(seed, Purpose::split));
  assign(sides, ids, 0, std::max<size_t>(1, ids.size() / 8), kValidation);
  return sides;
}

std::string hash_of(const Split& split, const std::vector<LabelRow>& rows) {
  std::vector<std::string> lines;
  for (size_t set = 0; set < 3; ++set) {
    for (const size_t index : split.sets[set]) {
      const LabelRow& row = rows[index];
      std::string labels(kFindingCount, '0');
      for (size_t i = 0; i < kFindingCount; ++i) labels[i] = row.labels[i] ? '1' : '0';
      lines.push_back(
          fmt::format("{}\t{}\t{}\t{}\n", kSetNames[set], patient_name(row), row.image, labels));
    }
  }
  std::sort(lines.begin(), lines.end());
  const std::string text = fmt::format("{}", fmt::join(lines, ""));
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace

std::string_view name_of(SplitMethod method) {
  constexpr std::string_view kNames[] = {"patient", "published", "official"};
  return kNames[int(method)];
}

SplitMethod split_method(std::string_view name) {
  for (const auto method : {SplitMethod::patient, SplitMethod::published, SplitMethod::official})
    if (name == name_of(method)) return method;
  fail(Exit::usage, "--split '{}' is unknown; take patient, published or official",
       printable(name));
}

void prove_apart(const Split& split, const std::vector<LabelRow>& rows) {
  Sides sides;
  for (int set = 0; set < 3; ++set) {
    if (split.sets[set].empty())
      fail(Exit::data, "the {} split leaves no patient in the {} set; use more data{}",
           name_of(split.method), kSetNames[set],
           split.method == SplitMethod::patient ? "" : " or --split patient");
    for (const size_t index : split.sets[set])
      if (sides.try_emplace(rows[index].patient, set).first->second != set)
        fail(Exit::data, "patient {} is on two sides of the {} split", patient_name(rows[index]),
             name_of(split.method));
  }
}

Split make_split(const std::vector<LabelRow>& rows, SplitMethod method, uint64_t seed,
                 const std::filesystem::path& lists) {
  const std::vector<int64_t> ids = ascending_patients(rows);
  const Sides sides = method == SplitMethod::patient     ? patient_sides(ids, seed)
                      : method == SplitMethod::published ? published_sides(ids)
                                                         : official_sides(rows, seed, lists);
  Split split{.method = method, .seed = seed};
  for (size_t i = 0; i < rows.size(); ++i)
    if (const auto side = sides.find(rows[i].patient); side != sides.end())
      split.sets[side->second].push_back(i);
  for (const int64_t id : ids)
    if (!sides.contains(id)) split.lost_patients.push_back(id);
  prove_apart(split, rows);
  split.hash = hash_of(split, rows);
  return split;
}

std::string split_json(const Split& split, const std::vector<LabelRow>& rows) {
  nlohmann::ordered_json json = {{"method", name_of(split.method)},
                                 {"seed", split.seed},
                                 {"hash", split.hash},
                                 {"lost_patients", split.lost_patients}};
  size_t kept = 0;
  for (size_t set = 0; set < 3; ++set) {
    std::set<int64_t> patients;
    std::array<int64_t, kFindingCount> positives{};
    int64_t no_finding = 0;
    for (const size_t index : split.sets[set]) {
      patients.insert(rows[index].patient);
      no_finding += rows[index].labels.none();
      for (size_t i = 0; i < kFindingCount; ++i) positives[i] += rows[index].labels[i];
    }
    nlohmann::ordered_json& entry = json["sets"][kSetNames[set]];
    entry = {{"patients", patients.size()},
             {"images", split.sets[set].size()},
             {"no_finding", no_finding}};
    for (size_t i = 0; i < kFindingCount; ++i)
      entry["positives"][std::string(kFindings[i])] = positives[i];
    kept += split.sets[set].size();
  }
  json["lost_images"] = rows.size() - kept;
  return json.dump(2) + "\n";
}

void write_split(const Split& split, const std::vector<LabelRow>& rows,
                 const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    fail(Exit::environment, "{}: cannot be made ({}); choose another --output", folder.string(),
         error.message());
  constexpr const char* kFiles[] = {"traindata.csv", "valdata.csv", "testdata.csv"};
  for (size_t set = 0; set < 3; ++set) {
    std::string text;
    for (const size_t index : split.sets[set]) text += rows[index].line + "\n";
    write_file_atomically(folder / kFiles[set], text);
  }
  write_file_atomically(folder / "split.json", split_json(split, rows));
}

}  // namespace pneuma
