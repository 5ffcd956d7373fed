// Prepares data for training: splits a label file by patient, writes lists and records, makes
// synthetic radiographs, and checks files.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "apps/common/cli.h"
#include "apps/common/record_command.h"
#include "data/lst.h"
#include "data/nih_labels.h"
#include "data/phantom/phantom.h"
#include "data/split.h"
#include "data/verify.h"
#include "engine/error.h"
#include "engine/io/atomic_file.h"

namespace {

using namespace pneuma;

struct Settings {
  std::string labels, split = "patient", lists, output, csv, root;
  uint64_t seed = 1;
  int patients = 0, size = 256;
  std::vector<std::filesystem::path> paths;
  int threads = int(std::max(1u, std::thread::hardware_concurrency()));
};

// Counts on one line of a terminal; silent elsewhere.
void show_progress(int64_t done, int64_t total) {
  if (!isatty(STDERR_FILENO)) return;
  if (done == total || done % 16 == 0) fmt::print(stderr, "\r{} of {}", done, total);
  if (done == total) fmt::print(stderr, "\n");
}

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

void run_phantoms(const Settings& s) {
  write_phantoms(s.output, s.patients, s.size, s.seed, s.threads, show_progress);
  fmt::print("{}: phantoms of {} patients, drawings and no radiographs\n", s.output, s.patients);
}

// Faults first, then warnings; a fault is exit 3.
void run_verify(const Settings& s) {
  int64_t images = 0;
  const auto progress = [&](int64_t done, int64_t total) {
    images = total;
    show_progress(done, total);
  };
  std::vector<Fault> found = verify_images(s.paths, s.threads, progress, s.root);
  std::stable_partition(found.begin(), found.end(), [](const Fault& f) { return !f.warning; });
  const auto faults =
      std::count_if(found.begin(), found.end(), [](const Fault& f) { return !f.warning; });
  for (const Fault& f : found) fmt::print("{}: {}\n", f.warning ? "warning" : "fault", f.reason);
  fmt::print("images: {}, faults: {}, warnings: {}\n", images, faults,
             int64_t(found.size()) - faults);
  if (faults) fail(Exit::data, "{} faults in {} images; the list says why", faults, images);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Prepares chest X-rays for training: splits, lists, records, synthetic data, checks.",
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

  const std::function<void()> record = add_record_command(app, show_progress);

  CLI::App* phantoms =
      app.add_subcommand("phantoms", "Draw synthetic radiographs in the NIH's layout");
  phantoms->add_option("--output", s.output, "an empty or new folder")->required();
  phantoms->add_option("--patients", s.patients, "one to several images each")
      ->required()
      ->check(cli::in_range(1));
  phantoms->add_option("--size", s.size, "pixels a side")
      ->check(cli::in_range(1))
      ->capture_default_str();
  phantoms->add_option("--seed", s.seed, "draws everything")
      ->check(cli::in_range(0, 1e18))
      ->capture_default_str();
  phantoms->add_option("--threads", s.threads)
      ->check(cli::in_range(1, 1024))
      ->capture_default_str();

  CLI::App* verify = app.add_subcommand("verify", "Decode every image and list the faults");
  verify->add_option("paths", s.paths, "images, .lst, .rec (with its .idx), or folders")
      ->required();
  verify->add_option("--root", s.root, "folder of a .lst's images (default: the list's)");
  verify->add_option("--threads", s.threads)->check(cli::in_range(1, 1024))->capture_default_str();

  return cli::run(app, argc, argv, [&] {
    if (*split) run_split(s);
    if (*list) run_list(s);
    record();
    if (*phantoms) run_phantoms(s);
    if (*verify) run_verify(s);
  });
}
