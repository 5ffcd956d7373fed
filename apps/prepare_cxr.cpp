// Prepares data for training: splits a label file by patient, writes lists, makes synthetic
// radiographs, and checks files.
#include <cstdio>
#include <string>
#include <vector>

#include "apps/common/cli.h"
#include "data/lst.h"
#include "data/nih_labels.h"
#include "data/split.h"
#include "engine/error.h"
#include "engine/io/atomic_file.h"

namespace {

using namespace pneuma;

struct Settings {
  std::string labels, split = "patient", lists, output, csv;
  uint64_t seed = 0;
};

void run_split(const Settings& s) {
  const SplitMethod method = split_method(s.split);
  const std::filesystem::path labels(s.labels);
  const std::vector<LabelRow> rows = read_labels(labels);
  const std::string lists = s.lists.empty() ? labels.parent_path().string() : s.lists;
  const Split split = make_split(rows, method, s.seed, lists);
  write_split(split, rows, s.output);
  fmt::print("{}: {} images\n", s.labels, rows.size());
  for (size_t set = 0; set < 3; ++set)
    fmt::print("{:<10} {:>7} images\n", kSetNames[set], split.sets[set].size());
  if (!split.lost_patients.empty())
    fmt::print("in no set: {} patients ({})\n", split.lost_patients.size(),
               fmt::join(split.lost_patients, ", "));
  fmt::print("hash {}\nwritten to {}\n", split.hash, s.output);
}

void run_list(const Settings& s) {
  const std::vector<LabelRow> rows = read_labels(s.csv);
  write_file_atomically(s.output, format_list(list_of(rows)));
  fmt::print("{}: {} images, {} labels each\n", s.output, rows.size(), kFindingCount);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Prepares chest X-rays for training: splits, lists, synthetic data, checks.",
               "prepare_cxr");
  app.require_subcommand(1);
  Settings s;

  CLI::App* split = app.add_subcommand("split", "Split a label file by patient into three sets");
  split->add_option("--labels", s.labels, "Data_Entry_2017.csv, also .gz")->required();
  split->add_option("--split", s.split, "patient (70/10/20 % shuffled), published or official")
      ->capture_default_str();
  split->add_option("--lists", s.lists,
                    "folder of train_val_list.txt and test_list.txt (official); else the labels'");
  split->add_option("--seed", s.seed, "draws the patients")
      ->check(cli::in_range(0, 1e18))
      ->capture_default_str();
  split->add_option("--output", s.output, "folder for the three .csv and split.json")->required();

  CLI::App* list = app.add_subcommand("list", "Write a .lst from a .csv that split has written");
  list->add_option("--csv", s.csv, "traindata.csv, or any NIH label file")->required();
  list->add_option("--output", s.output, "the .lst")->required();

  return cli::run(app, argc, argv, [&] {
    if (*split) run_split(s);
    if (*list) run_list(s);
  });
}
