#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/lst.h"
#include "data/nih_labels.h"
#include "data/write_png.h"
#include "tests/program.h"
#include "tests/shared_data.h"

using namespace pneuma;
using pneuma::testing::Ran;
using pneuma::testing::Temporary;

namespace {

Ran prepare(const std::vector<std::string>& arguments) {
  const Ran ran = pneuma::testing::run_program("prepare_cxr", arguments);
  INFO(ran.err);
  CHECK((ran.exit == 0) == ran.err.empty());
  return ran;
}

void check_said(const Ran& ran, int code, const std::string& part) {
  CAPTURE(ran.exit);
  CAPTURE(ran.err);
  CAPTURE(part);
  CHECK(ran.said(code, "prepare_cxr", part));
}

const std::string kHeader = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age\n";

std::string label_file(int patients) {
  std::string text = kHeader;
  for (int p = 1; p <= patients; ++p)
    for (int i = 0; i <= p % 3; ++i)
      text +=
          fmt::format("{:08}_{:03}.png,{},{},{},50\n", p, i, p % 2 ? "Mass" : "No Finding", i, p);
  return text;
}

// Every file below the folder, temporaries too.
std::vector<std::string> files(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (!entry.is_directory()) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

TEST_CASE("split, then list: what a user types") {
  Temporary folder;
  folder.write("in/Data_Entry_2017.csv", label_file(20));
  const std::string labels = folder / "in/Data_Entry_2017.csv", out = folder / "out/here";
  const Ran ran =
      prepare({"split", "--labels", labels, "--split", "patient", "--seed", "7", "--output", out});
  CHECK(ran.exit == 0);
  CHECK(files(folder / "out") ==
        std::vector<std::string>{"split.json", "testdata.csv", "traindata.csv", "valdata.csv"});
  const auto json = nlohmann::json::parse(folder.read("out/here/split.json"));
  CHECK(json["seed"] == 7);
  CHECK(json["sets"]["train"]["patients"] == 14);
  CHECK(ran.out.find(json["hash"].get<std::string>()) != std::string::npos);

  CHECK(prepare({"list", "--csv", out + "/traindata.csv", "--output", out + "/train.lst"}).exit ==
        0);
  const std::vector<LabelRow> rows = read_labels(out + "/traindata.csv");
  CHECK(folder.read("out/here/train.lst") == format_list(list_of(rows)));
  CHECK(json["sets"]["train"]["images"] == rows.size());
}

TEST_CASE("split by the official lists, beside the labels or elsewhere") {
  Temporary folder;
  folder.write("labels.csv", label_file(20));
  std::string train, test;
  for (const LabelRow& row : read_labels(folder / "labels.csv"))
    (row.patient > 15 ? test : train) += row.image + "\n";
  folder.write("lists/train_val_list.txt", train);
  folder.write("lists/test_list.txt", test);
  const std::vector<std::string> base = {"split",    "--labels", folder / "labels.csv", "--split",
                                         "official", "--output", folder / "out"};
  check_said(prepare(base), 3, "train_val_list.txt: cannot be opened");
  CHECK_FALSE(std::filesystem::exists(folder / "out"));
  std::vector<std::string> with = base;
  with.insert(with.end(), {"--lists", folder / "lists"});
  CHECK(prepare(with).exit == 0);
  CHECK(read_labels(folder / "out/testdata.csv").front().patient == 16);
}

TEST_CASE("bad input: the exit code, one line, nothing written") {
  Temporary folder;
  folder.write("good.csv", label_file(20));
  folder.write("two.csv", label_file(2));
  folder.write("unknown.csv", label_file(20) + "a.png,Hernla,0,5,50\n");
  folder.write("name\nwith\x1b[31mnoise.csv", kHeader + "a.png,Hernla,0,5,50\n");
  const std::string out = folder / "out";
  const auto split = [&](const std::string& labels, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"split", "--labels", (folder / labels).string(), "--output", out});
    return prepare(more);
  };
  check_said(split("unknown.csv"), 3, "unknown.csv:");
  check_said(split("unknown.csv"), 3, "unknown finding 'Hernla' (the nearest known is Hernia)");
  check_said(split("name\nwith\x1b[31mnoise.csv"), 3, "unknown finding");
  check_said(split("none.csv"), 3, "none.csv: cannot be opened");
  check_said(split("two.csv"), 3, "at least 3");
  check_said(split("good.csv", {"--split", "patients"}), 2, "--split");
  check_said(split("good.csv", {"--seed", "-1"}), 2, "--seed");
  check_said(split("good.csv", {"--seed", "1", "--seed", "2"}), 2, "--seed");
  check_said(split("good.csv", {"--sede", "1"}), 2,
             "unknown flag '--sede' (the nearest is --seed)");
  check_said(prepare({"split", "--output", out}), 2, "--labels is required");
  check_said(prepare({"split", "--lables", "x", "--output", out}), 2, "nearest is --labels");
  check_said(prepare({"lists"}), 2, "unknown word 'lists' (the nearest is list)");
  check_said(prepare({}), 2, "subcommand");
  CHECK_FALSE(std::filesystem::exists(out));

  check_said(prepare({"list", "--csv", folder / "unknown.csv", "--output", out}), 3, "Hernla");
  CHECK_FALSE(std::filesystem::exists(out));
  check_said(prepare({"list", "--csv", folder / "good.csv", "--output", folder / "no/a.lst"}), 4,
             "no/a.lst");
  folder.write("file", "");
  check_said(prepare({"split", "--labels", folder / "good.csv", "--output", folder / "file/out"}),
             4, "file/out");
}

TEST_CASE("a full disk: exit 4, no torn file") {
  Temporary folder;
  folder.write("good.csv", label_file(20));
  // A limit on the size of files stands in for the full disk.
  const std::string command = fmt::format(
      "trap '' XFSZ; ulimit -f 0; '{}/prepare_cxr' split --labels '{}' --output '{}' 2>/dev/null",
      PNEUMA_BIN_DIR, (folder / "good.csv").string(), (folder / "out").string());
  const int status = std::system(command.c_str());
  CHECK(WEXITSTATUS(status) == 4);
  CHECK(files(folder / "out").empty());
}

TEST_CASE("verify: faults are exit 3, warnings stand apart") {
  Temporary folder;
  std::filesystem::create_directory(folder / "images");
  write_png(folder / "images/good.png",
            {.height = 2, .width = 2, .channels = 1, .pixels = {1, 2, 3, 4}});
  const std::string good = folder.read("images/good.png");
  CHECK(prepare({"verify", folder / "images"}).out == "images: 1, faults: 0, warnings: 0\n");

  folder.write("images/a_tail.png", good + "more");
  const Ran odd = prepare({"verify", folder / "images"});
  CHECK(odd.exit == 0);
  CHECK(odd.out.find("warning: ") == 0);
  CHECK(odd.out.find("\nimages: 2, faults: 0, warnings: 1\n") != std::string::npos);

  folder.write("images/cut.png", good.substr(0, good.size() / 2));
  folder.write("images/text.png", "not found");
  const Ran bad = prepare({"verify", "--threads", "2", folder / "images", folder / "none"});
  check_said(bad, 3, "3 faults in 5 images");
  CHECK(bad.out.find("fault: ") == 0);
  CHECK(bad.out.find("fault: ") < bad.out.find("warning: "));
  CHECK(bad.out.find("cut.png") != std::string::npos);
  check_said(prepare({"verify"}), 2, "paths is required");
  check_said(prepare({"verify", "x", "--threads", "0"}), 2,
             "--threads: '0' is not a number from 1");
}

TEST_CASE("verify: every bad file of the odd images, and no other") {
  const std::filesystem::path data = pneuma::testing::shared_data();
  if (data.empty()) return;
  const Ran ran = prepare({"verify", data / "odd_images"});
  CHECK(ran.exit == 3);
  for (const auto& entry : std::filesystem::directory_iterator(data / "odd_images")) {
    const std::string name = entry.path().filename().string();
    CAPTURE(name);
    const bool tail = name.find("trailing_garbage") != std::string::npos;
    const bool tiff = name.find("tif") != std::string::npos;
    const bool fault = tiff || (name.starts_with("bad_") && !tail);
    CHECK((ran.out.find("fault: " + entry.path().string()) != std::string::npos) == fault);
    CHECK((ran.out.find("warning: " + entry.path().string()) != std::string::npos) == tail);
  }
}

TEST_CASE("phantoms: split, listed and verified like a download; never over other files") {
  Temporary folder;
  const std::string data = folder / "data";
  const std::vector<std::string> base = {"phantoms", "--patients", "10", "--size",
                                         "64",       "--seed",     "3",  "--output",
                                         data,       "--threads",  "2"};
  CHECK(prepare(base).exit == 0);
  const std::string labels = folder.read("data/Data_Entry_2017.csv");
  CHECK(prepare({"verify", data}).exit == 0);
  CHECK(prepare({"split", "--labels", data + "/Data_Entry_2017.csv", "--output", folder / "split"})
            .exit == 0);
  check_said(prepare(base), 2, "data");
  CHECK(folder.read("data/Data_Entry_2017.csv") == labels);
  check_said(prepare({"phantoms", "--patients", "0", "--output", folder / "x"}), 2, "--patients");
  check_said(prepare({"phantoms", "--output", folder / "x"}), 2, "--patients is required");
  CHECK_FALSE(std::filesystem::exists(folder / "x"));
}

TEST_CASE("help and version") {
  CHECK(prepare({"--version"}).out == "prepare_cxr 0.1.0\n");
  CHECK(prepare({"--help"}).out.find("split") != std::string::npos);
  for (const char* command : {"split", "list", "phantoms", "verify"})
    CHECK(prepare({command, "--help"}).out.find("--help") != std::string::npos);
}
