// `./pneuma demo` keeps its promises: on phantoms of three seeds, on shuffled labels, on real
// images.
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "data/nih_labels.h"
#include "engine/random.h"
#include "tests/program.h"
#include "tests/shared_data.h"

namespace pneuma::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const fs::path kDemo = fs::path(PNEUMA_SOURCE_DIR) / "build" / "demo";

// Runs the demo with these flags; seconds it took.
double demo(const std::string& flags) {
  const auto start = std::chrono::steady_clock::now();
  const std::string command = fmt::format("'{}/pneuma' demo {}", PNEUMA_SOURCE_DIR, flags);
  REQUIRE(std::system(command.c_str()) == 0);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Json read_json(const fs::path& file) {
  std::ifstream in(file);
  return Json::parse(in);
}

}  // namespace

TEST_CASE("phantoms of seeds 1, 2, 3: macro AUC of at least 0.90 within five minutes") {
  for (const char* seed : {"1", "2", "3"}) {
    const double seconds = demo(fmt::format("--seed {}", seed));
    const Json auc = read_json(kDemo / "run" / "auc.json");
    MESSAGE("seed ", seed, ": macro AUC ", auc["macro_auc"].dump(), " in ", seconds, " s");
    CHECK(auc["macro_auc"].get<double>() >= 0.90);
    CHECK(auc["classes_counted"] == 14);
    for (const Json& c : auc["classes"]) CHECK(c["positives"].get<int>() >= 10);
    CHECK(seconds < 300);
  }
}

TEST_CASE("shuffled labels teach nothing") {
  if (!fs::exists(kDemo / "data" / "Data_Entry_2017.csv")) demo("--max_steps 1");
  const Temporary folder;
  fs::copy(kDemo / "data" / "images", folder / "images");
  const std::vector<LabelRow> rows = read_labels(kDemo / "data" / "Data_Entry_2017.csv");
  std::vector<FindingSet> labels;
  for (const LabelRow& row : rows) labels.push_back(row.labels);
  shuffle(labels, Random(1, Purpose::test));
  std::string csv;
  for (size_t i = 0; i < rows.size(); ++i) {
    std::string findings;
    for (size_t f = 0; f < kFindingCount; ++f) {
      if (!labels[i][f]) continue;
      if (!findings.empty()) findings += '|';
      findings += kFindings[f];
    }
    csv += fmt::format("{},{},0,{}\n", rows[i].image,
                       findings.empty() ? std::string(kNoFinding) : findings, rows[i].patient);
  }
  folder.write("Data_Entry_2017.csv", csv);
  demo(
      fmt::format("--data '{}' --image_shape 3,64,64 --resize none --mini_batch_size 32 --epochs 4 "
                  "--augmentation_type crop --use_weighted_loss",
                  folder.path.string()));
  const double macro = read_json(kDemo / "run" / "auc.json")["macro_auc"].get<double>();
  MESSAGE("shuffled labels: macro AUC ", macro);
  CHECK(macro >= 0.45);
  CHECK(macro <= 0.55);
}

TEST_CASE("real images: 728 of 256 pixels, and 896 of 1024") {
  const fs::path data = shared_data();
  if (data.empty()) return;
  demo(fmt::format("--data '{}'", (data / "nih_256").string()));
  CHECK(read_json(kDemo / "run" / "auc.json")["images"].get<int>() > 100);
  demo(fmt::format("--data '{}' --image_shape 3,896,896 --mini_batch_size 2 --max_steps 20",
                   (data / "nih_1024").string()));
  CHECK(read_json(kDemo / "run" / "auc.json")["images"].get<int>() > 20);
}

}  // namespace pneuma::testing
