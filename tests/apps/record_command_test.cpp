// prepare_cxr record as a user types it: the flags, what is said, what is refused, Ctrl-C.
#include "data/write_png.h"
#include "tests/program.h"

using namespace pneuma;
using pneuma::testing::Ran;
using pneuma::testing::Temporary;

namespace {

struct Folder : Temporary {
  explicit Folder(int lines = 4) {
    Image image{24, 24, 1, {}};
    for (int i = 0; i < 24 * 24; ++i) image.pixels.push_back(uint8_t(i * i / 9));
    write("a.lst", "");
    write_png(*this / "a.png", image);
    std::string list;
    for (int i = 0; i < lines; ++i) list += fmt::format("{}\t1\t0\ta.png\n", i);
    write("a.lst", list);
  }
  std::vector<std::string> command(std::vector<std::string> more) const {
    std::vector<std::string> all = {"record", *this / "a.lst", path, *this / "o.rec"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  Ran record(const std::vector<std::string>& more) const {
    const Ran ran = testing::run_program("prepare_cxr", command(more));
    CAPTURE(ran.err);
    CHECK((ran.exit == 0) == ran.err.empty());
    return ran;
  }
  std::string refused(int code, const std::vector<std::string>& more) const {
    const Ran ran = record(more);
    CHECK(ran.said(code, "prepare_cxr", ""));
    CHECK(!std::filesystem::exists(*this / "o.rec"));
    return ran.err;
  }
};

bool has(const std::string& text, const std::string& part) {
  CAPTURE(text);
  CAPTURE(part);
  CHECK(text.find(part) != text.npos);
  return text.find(part) != text.npos;
}

}  // namespace

TEST_CASE("files pass through, and the size is said") {
  const Folder folder;
  const Ran ran = folder.record({"--pack_label", "--threads=1"});
  CHECK(ran.exit == 2);  // the flag is im2rec's
  const Ran good = folder.record({});
  CHECK(good.exit == 0);
  const std::string rec = folder.read("o.rec"), own = folder.read("a.png");
  has(good.out,
      fmt::format("o.rec: 4 records, {} bytes, {} bytes an image", rec.size(), rec.size() / 4));
  has(good.out, fmt::format("lossless: the files' own bytes ({});", 4 * own.size()));
  has(good.out, "note: the list has 2 labels a line and only the first is in the records");
  CHECK(rec.find(own) == 8 + 24);
  CHECK(folder.read("o.idx").starts_with("0\t0\n1\t"));
  const Ran verified = testing::run_program("prepare_cxr", {"verify", folder / "o.rec"});
  has(verified.out, "images: 4, faults: 0, warnings: 0");
}

TEST_CASE("im2rec's spelling is ours") {
  const Folder folder;
  const auto bytes = [&](const std::vector<std::string>& flags) {
    const Ran ran = folder.record(flags);
    CHECK(ran.exit == 0);
    return folder.read("o.rec") + folder.read("o.idx");
  };
  const std::string packed = bytes({"--pack_label"});
  CHECK(packed != bytes({}));
  CHECK(packed == bytes({"--pack-label", "--pass-through", "--num-thread", "3", "--no-shuffle"}));
  CHECK(bytes({"--shuffle"}) != bytes({}));
  CHECK(bytes({"--shuffle"}) == bytes({"--shuffle", "1", "--no_shuffle", "0"}));
  const std::string small = bytes({"--center-crop", "--resize", "12", "--quality", "80"});
  CHECK(small == bytes({"--center_crop", "--resize", "12", "--quality", "80"}));
  CHECK(folder.record({"--train-ratio", "0.5", "--test-ratio", "0.25", "--chunks", "1"}).exit == 0);
  for (const char* part : {"_test", "_train", "_val"})
    CHECK(std::filesystem::exists(folder / fmt::format("o{}.idx", part)));
}

TEST_CASE("what encodes anew turns passing through off, and says so") {
  const Folder folder;
  has(folder.record({"--resize", "12", "--color", "0"}).out,
      "encoded anew as .jpg, quality 95 (because of --resize, --color)");
  has(folder.record({"--encoding", ".png"}).out, "encoded anew as .png, quality 6");
  has(folder.record({"--encoding", ".png"}).out, "lossless: PNG keeps every pixel");
  has(folder.record({"--pass_through", "0"}).out, "because of --pass_through 0");
  has(folder.record({"--quality", "50"}).out, "gray levels off on average (4 images sampled)");
  has(folder.record({"--resize", "0"}).out, "lossless: the files' own bytes");
}

TEST_CASE("what is refused") {
  const Folder folder;
  has(folder.refused(2, {"--pass_through", "--resize", "12"}), "which --resize would change");
  has(folder.refused(2, {"--encoding", ".png", "--quality", "95"}), "from 1 to 9");
  has(folder.refused(2, {"--encoding", ".bmp"}), "--encoding");
  has(folder.refused(2, {"--color", "2"}), "--color");
  has(folder.refused(2, {"--shuffle", "--no-shuffle"}), "contradict");
  has(folder.refused(2, {"--train_ratio", "0.9", "--test_ratio", "0.2"}), "sum to more than 1");
  has(folder.refused(2, {"--chunks", "9"}), "none of the list's 4 images");
  has(folder.refused(2, {"--pack-lable"}), "the nearest is --pack-label");
  folder.write("b.png", "");
  folder.write("a.lst", "0\t1\ta.png\n1\t1\tb.png\n");
  has(folder.refused(3, {}), "a.lst, index 1: ");
  const Ran skipped = folder.record({"--on_bad_image", "skip"});
  has(skipped.out, "left out: ");
  has(skipped.out, "1 images packed, 1 left out");
  for (const std::string out : {"o.record", "o.idx", ".rec"}) {
    const Ran ran = testing::run_program("prepare_cxr",
                                         {"record", folder / "a.lst", folder.path, folder / out});
    CHECK(ran.said(2, "prepare_cxr", "must end in .rec"));
  }
  const Ran nowhere = testing::run_program(
      "prepare_cxr", {"record", folder / "a.lst", folder.path, folder / "no/o.rec"});
  CHECK(nowhere.said(4, "prepare_cxr", "cannot create"));
}

TEST_CASE("Ctrl-C leaves nothing behind") {
  const Folder folder(400000);  // seconds of work
  std::string command =
      "timeout --foreground --preserve-status -s INT 0.4 '" PNEUMA_BIN_DIR "/prepare_cxr'";
  for (const std::string& word : folder.command({"--num-thread", "1"}))
    command += " '" + word + "'";
  command += " 2>'" + (folder / "err").string() + "'";
  const int status = std::system(command.c_str());
  CHECK(WEXITSTATUS(status) == 130);
  has(folder.read("err"), "nothing was written");
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{"a.lst", "a.png", "err"});
}
