// train_cxr and eval_cxr straight from records: the same bits as from the files that were packed,
// resume, bad images, and what is said of bad input.
#include <nlohmann/json.hpp>

#include "apps/common/trainer.h"
#include "data/lst.h"
#include "data/phantom/phantom.h"
#include "kernels/open_backend.h"
#include "tests/data/make_records.h"
#include "tests/program.h"
#include "tests/run_files.h"
#include "tests/shared_data.h"

namespace pneuma::testing {
namespace {

namespace fs = std::filesystem;

// The images of a list, passed through, and their labels.
std::string pack(const fs::path& root, const std::vector<ListEntry>& entries) {
  std::vector<std::string> payloads;
  for (const ListEntry& entry : entries)
    payloads.push_back(
        image_payload(uint64_t(entry.index), entry.labels, read_file(root / entry.path, 1 << 24)));
  return record_stream(payloads).first;
}

// Phantoms as files with a list, and as records: train.rec, and a channel's folder with one .rec.
struct Job {
  Temporary folder;
  std::string data = (folder / "data").string(), lst = (folder / "all.lst").string(),
              rec = (folder / "train.rec").string(), channel = (folder / "channel").string();
  Job() {
    write_phantoms(data, 24, 32, 7, 1);
    const std::vector<ListEntry> entries = list_of(read_labels(data + "/Data_Entry_2017.csv"));
    folder.write("all.lst", format_list(entries));
    folder.write("train.rec", pack(data, entries));
    folder.write("channel/any name.rec", pack(data, entries));
  }
  static const Job& get() {
    static const Job job;
    return job;
  }
};

Ran train(std::vector<std::string> sets, const fs::path& output, std::vector<std::string> more) {
  std::vector<std::string> flags = small_job("", output, std::move(more));
  flags.erase(flags.begin(), flags.begin() + 2);  // --data
  flags.insert(flags.begin(), sets.begin(), sets.end());
  return run_program("train_cxr", flags);
}

// predictions.csv without names of images and patients.
std::vector<std::string> answers(const fs::path& folder) {
  std::vector<std::string> lines;
  std::istringstream text(read_file(folder / "predictions.csv", 1 << 20));
  for (std::string line; std::getline(text, line);)
    lines.push_back(line.substr(line.find(',', line.find(',') + 1)));
  return lines;
}

// A small network in this process: the same state, metrics and answers from files and records.
void check_same_training(const std::string& images, const std::string& lst,
                         const std::string& train_rec, const std::string& test_rec) {
  std::string why;
  const Backend& backend = *open_backend("cpu", &why);
  Temporary folder;
  const auto run = [&](const std::string& name, bool records) {
    TrainSettings s;
    s.train = s.validation = records ? train_rec : images;
    s.test = records ? test_rec : images;
    if (!records) s.train_lst = s.validation_lst = s.test_lst = lst;
    s.output = folder / name;
    s.num_layers = 10;
    s.base_width = 4;
    s.image_shape = "3,32,32";
    s.mini_batch_size = 4;
    s.epochs = 2;
    s.threads = 1;
    s.augmentation_type = "crop";
    s.use_weighted_loss = true;
    std::vector<std::string> notes;
    resolve(s, &notes);
    const TrainData data = load_train_data(s);
    Trainer trainer(s, data, backend, false);
    trainer.open(RunFolder::create(s.output), false);
    trainer.run([] { return 0; });
    trainer.test([] { return 0; });
  };
  run("files", false);
  run("records", true);
  check_equal_tensors(folder / "files/last.state", folder / "records/last.state");
  check_equal_tensors(folder / "files/best.safetensors", folder / "records/best.safetensors");
  CHECK(timeless_metrics_of(folder / "files") == timeless_metrics_of(folder / "records"));
  CHECK(timeless_metrics_of(folder / "files").size() > 10);
  CHECK(answers(folder / "files") == answers(folder / "records"));
}

}  // namespace

TEST_CASE("records give the bits that the packed files give") {
  const Job& job = Job::get();
  check_same_training(job.data, job.lst, job.rec, job.channel);
  const fs::path data = shared_data();
  if (data.empty()) return;
  const std::string base = data / "recordio" / "mx191_nih24_png_passthrough_14labels";
  check_same_training(data / "nih_256" / "images", base + ".lst", base + ".rec", base + ".rec");
  // One label an image, in the header: a class, or what a list says.
  const std::string one = data / "recordio" / "mx191_nih24_png_passthrough_1label.rec";
  const fs::path none = job.folder / "none";
  for (const Ran& ran :
       {train({"--train", one, "--validation", one}, none,
              {"--multi_label", "0", "--num_classes", "2", "--dry_run"}),
        train({"--train", one, "--train_lst", base + ".lst", "--validation", base + ".rec"}, none,
              {"--num_classes", "14", "--dry_run"})}) {
    INFO(ran.err);
    CHECK(ran.exit == 0);
  }
}

TEST_CASE("train, stop, resume with the same records only, evaluate: what a user types") {
  const Job& job = Job::get();
  const fs::path straight = job.folder / "straight", resumed = job.folder / "resumed",
                 eval = job.folder / "eval";
  const std::vector<std::string> sets = {"--train", job.rec,  "--validation",
                                         job.rec,   "--test", job.channel};
  const Ran ran = train(sets, straight, {"--max_steps", "3"});
  INFO(ran.err);
  REQUIRE(ran.exit == 0);
  CHECK(read_file(straight / "predictions.csv", 1 << 20)
            .find("\nany name.rec record 0 (id 0),any name.rec record 0 (id 0),") !=
        std::string::npos);
  const auto split = nlohmann::json::parse(read_file(straight / "split.json", 1 << 20));
  CHECK(split["sets"]["train"]["records"] == answers(straight).size() - 1);
  CHECK(split["sets"]["train"]["bytes"] == fs::file_size(job.rec));

  REQUIRE(train(sets, resumed, {"--max_steps", "1"}).exit == 0);
  const std::string stream = job.folder.read("train.rec");
  std::string changed = stream;
  const size_t label = 8 + 24;  // the first of the first record
  changed.replace(label, 4, changed.substr(label, 4) == word(0) ? word(0x3F800000) : word(0));
  job.folder.write("train.rec", changed);
  const Ran refused = run_program("train_cxr", {"--resume", resumed, "--max_steps", "3"});
  CHECK(refused.exit == 3);
  CHECK(refused.err.find("split.json: the data now give another split") != std::string::npos);
  job.folder.write("train.rec", stream);
  REQUIRE(run_program("train_cxr", {"--resume", resumed, "--max_steps", "3"}).exit == 0);
  check_equal_tensors(straight / "last.state", resumed / "last.state");

  const Ran evaluated = run_program(
      "eval_cxr", {straight / "best.safetensors", "--images", job.channel, "--output", eval,
                   "--device", "cpu", "--threads", "1", "--mini_batch_size", "8"});
  INFO(evaluated.err);
  REQUIRE(evaluated.exit == 0);
  CHECK(answers(eval) == answers(straight));
}

TEST_CASE("a bad image in records fails or is left out, and is named by file and record") {
  const Job& job = Job::get();
  Temporary folder;
  std::string stream = job.folder.read("train.rec");
  const size_t second = stream.find(kRecordMagic, 4);
  stream[second + 8 + 24 + 14 * 4 + 1] = 'x';  // of the PNG's signature
  folder.write("a.rec", stream);
  const std::string rec = folder / "a.rec";
  const std::vector<std::string> sets = {"--train", rec, "--validation", job.rec};
  const Ran failed = train(sets, folder / "fail", {"--shuffle", "0"});
  CHECK(failed.exit == 3);
  CHECK(failed.err.find("a.rec record 1 (id 1): is none of PNG") != std::string::npos);
  const Ran ran = train(sets, folder / "skip",
                        {"--max_steps", "1", "--shuffle", "0", "--on_bad_image", "skip"});
  INFO(ran.err);
  CHECK(ran.exit == 0);
  CHECK(folder.read("skip/metrics.jsonl").find("\"image\":\"a.rec record 1 (id 1)\"") !=
        std::string::npos);
  const Ran verify = run_program("prepare_cxr", {"verify", rec});
  CHECK(verify.said(3, "prepare_cxr", "1 faults in"));
  CHECK(verify.out.find("a.rec record 1 at offset " + std::to_string(second)) != std::string::npos);
}

TEST_CASE("bad input: one sentence") {
  const Job& job = Job::get();
  Temporary folder;
  folder.write("cut.rec", job.folder.read("train.rec").substr(0, 5000));
  folder.write("lies/a.rec", job.folder.read("train.rec"));
  folder.write("lies/a.idx", "0\t4\n");
  folder.write("several/a.rec", "");
  folder.write("several/b.rec", "");
  const std::string f = folder.path;
  struct Bad {
    int exit;
    std::string part;
    std::vector<std::string> sets;
  };
  const auto both = [](const std::string& rec, std::vector<std::string> more = {}) {
    std::vector<std::string> flags = {"--train", rec, "--validation", rec};
    flags.insert(flags.end(), more.begin(), more.end());
    return flags;
  };
  const std::vector<Bad> table = {
      {3, "labels: 14 where 10 are needed; check --num_classes",
       both(job.rec, {"--num_classes", "10"})},
      {3, "cut.rec: offset ", both(f + "/cut.rec")},
      {3, "none.rec: cannot be opened", both(f + "/none.rec")},
      {3, "a.idx:1: no record begins at offset 4; remove the index", both(f + "/lies/a.rec")},
      {3, "holds 2 .rec files", both(f + "/several")},
      {3, "0x", both(job.lst)},
      {2, "holds no .rec file; give the .lst of its images", both(job.data)},
      {2, "--train and --validation go together", {"--train", job.rec}},
      {2, "--test_lst go with", both(job.rec, {"--test_lst", job.lst})},
      {2, "either --data DIR", both(job.rec, {"--data", job.data})},
  };
  for (const Bad& bad : table) {
    const Ran ran = train(bad.sets, folder / "out", {});
    INFO(bad.part, " | exit ", ran.exit, " | ", ran.err);
    CHECK(ran.exit == bad.exit);
    CHECK(ran.err.find(bad.part) != std::string::npos);
    CHECK_FALSE(fs::exists(folder / "out"));
  }
}

}  // namespace pneuma::testing
