// train_cxr and eval_cxr straight from records: the same bits as from the files that were packed,
// resume, bad images, and what is said of bad input.
#include <nlohmann/json.hpp>

#include "data/lst.h"
#include "data/phantom/phantom.h"
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

std::vector<nlohmann::json> timeless(const fs::path& run) {
  std::vector<nlohmann::json> lines = metrics_of(run);
  for (nlohmann::json& line : lines) line.erase("images_per_second");
  return lines;
}

// predictions.csv without names of images and patients.
std::vector<std::string> answers(const fs::path& folder) {
  std::vector<std::string> lines;
  std::istringstream text(read_file(folder / "predictions.csv", 1 << 20));
  for (std::string line; std::getline(text, line);)
    lines.push_back(line.substr(line.find(',', line.find(',') + 1)));
  return lines;
}

void check_equal_runs(const fs::path& a, const fs::path& b) {
  check_equal_tensors(a / "last.state", b / "last.state");
  check_equal_tensors(a / "best.safetensors", b / "best.safetensors");
  CHECK(timeless(a) == timeless(b));
  CHECK(answers(a) == answers(b));
}

}  // namespace

TEST_CASE("records give the bits that the packed files give, and a resumed run, and eval_cxr") {
  const Job& job = Job::get();
  const fs::path files = job.folder / "files", records = job.folder / "records",
                 resumed = job.folder / "resumed";
  const std::vector<std::string> two = {"--epochs", "2", "--augmentation_type", "crop"};
  const std::vector<std::string> sets = {"--train", job.rec,  "--validation",
                                         job.rec,   "--test", job.channel};
  const Ran ran_files =
      train({"--train", job.data, "--train_lst", job.lst, "--validation", job.data,
             "--validation_lst", job.lst, "--test", job.data, "--test_lst", job.lst},
            files, two);
  INFO(ran_files.err);
  REQUIRE(ran_files.exit == 0);
  const Ran ran = train(sets, records, two);
  INFO(ran.err);
  REQUIRE(ran.exit == 0);
  check_equal_runs(files, records);
  CHECK(read_file(records / "predictions.csv", 1 << 20)
            .find("\nany name.rec record 0 (id 0),any name.rec record 0 (id 0),") !=
        std::string::npos);
  const auto split = nlohmann::json::parse(read_file(records / "split.json", 1 << 20));
  CHECK(split["sets"]["train"]["records"] == answers(records).size() - 1);
  CHECK(split["sets"]["train"]["bytes"] == fs::file_size(job.rec));

  std::vector<std::string> cut = two;
  cut.insert(cut.end(), {"--max_steps", "4"});
  REQUIRE(train(sets, resumed, cut).exit == 0);
  const Ran on = run_program("train_cxr", {"--resume", resumed, "--max_steps", "0"});
  INFO(on.err);
  REQUIRE(on.exit == 0);
  check_equal_tensors(records / "last.state", resumed / "last.state");
  CHECK(answers(resumed) == answers(records));

  for (const std::string& images : {job.rec, job.channel}) {
    const fs::path out = job.folder / "eval";
    fs::remove_all(out);
    const Ran eval =
        run_program("eval_cxr", {records / "best.safetensors", "--images", images, "--output", out,
                                 "--device", "cpu", "--threads", "1", "--mini_batch_size", "8"});
    INFO(eval.err);
    REQUIRE(eval.exit == 0);
    CHECK(answers(out) == answers(records));
  }
}

TEST_CASE("real files: what MXNet packed trains as the NIH's files do") {
  const fs::path data = shared_data();
  if (data.empty()) return;
  Temporary folder;
  const std::string base = data / "recordio" / "mx191_nih24_png_passthrough_14labels",
                    root = data / "nih_256" / "images", rec = base + ".rec", lst = base + ".lst";
  const std::vector<std::string> more = {"--epochs", "1", "--augmentation_type", "crop"};
  const Ran files = train({"--train", root, "--train_lst", lst, "--validation", root,
                           "--validation_lst", lst, "--test", root, "--test_lst", lst},
                          folder / "files", more);
  INFO(files.err);
  REQUIRE(files.exit == 0);
  const Ran records =
      train({"--train", rec, "--validation", rec, "--test", rec}, folder / "records", more);
  INFO(records.err);
  REQUIRE(records.exit == 0);
  check_equal_runs(folder / "files", folder / "records");
  // One label an image, in the header: a class, or what a list says.
  const std::string one = data / "recordio" / "mx191_nih24_png_passthrough_1label.rec";
  CHECK(train({"--train", one, "--validation", one}, folder / "class",
              {"--multi_label", "0", "--num_classes", "2", "--max_steps", "1"})
            .exit == 0);
  CHECK(train({"--train", one, "--train_lst", lst, "--validation", rec}, folder / "list",
              {"--max_steps", "3"})
            .exit == 0);
  check_equal_tensors(folder / "list" / "checkpoints" / "epoch-0000.safetensors",
                      folder / "list" / "best.safetensors");
}

TEST_CASE("a resumed run wants the records it began with") {
  const Job& job = Job::get();
  Temporary folder;
  folder.write("a.rec", job.folder.read("train.rec"));
  const std::string rec = folder / "a.rec", output = folder / "run";
  const std::vector<std::string> sets = {"--train", rec, "--validation", rec};
  REQUIRE(train(sets, output, {"--max_steps", "1"}).exit == 0);
  std::string changed = folder.read("a.rec");
  const size_t label = 8 + 24;  // the first label of the first record
  changed.replace(label, 4, changed.substr(label, 4) == word(0) ? word(0x3F800000) : word(0));
  folder.write("a.rec", changed);
  const Ran ran = run_program("train_cxr", {"--resume", output, "--max_steps", "2"});
  CHECK(ran.exit == 3);
  CHECK(ran.err.find("split.json: the data now give another split") != std::string::npos);
  folder.write("a.rec", job.folder.read("train.rec"));
  CHECK(run_program("train_cxr", {"--resume", output, "--max_steps", "2"}).exit == 0);
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
  const Ran failed = train(sets, folder / "fail", {"--epochs", "1"});
  CHECK(failed.exit == 3);
  CHECK(failed.err.find("a.rec record 1 (id 1): is none of PNG") != std::string::npos);
  const Ran ran = train(sets, folder / "skip",
                        {"--epochs", "1", "--on_bad_image", "skip", "--last_batch", "keep"});
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
