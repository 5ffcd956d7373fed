// Records as MXNet writes them: against tests/golden/records.json, and, where they are, against the
// records that MXNet made of real images. What is written is read here by a few lines of the test's
// own.
#include "data/record/make_records.h"

#include <zlib.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "data/record/encode.h"
#include "data/record/record_writer.h"
#include "data/resize.h"
#include "data/write_png.h"
#include "engine/random.h"
#include "tests/data/source_picture.h"
#include "tests/program.h"
#include "tests/shared_data.h"

using namespace pneuma;
using pneuma::testing::message_of;
using pneuma::testing::source;
using pneuma::testing::Temporary;
namespace fs = std::filesystem;

namespace {

nlohmann::json golden() {
  std::ifstream file(std::string(PNEUMA_SOURCE_DIR) + "/tests/golden/records.json");
  return nlohmann::json::parse(file);
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes += char(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

const std::string kMagic = "\x0A\x23\xD7\xCE";

uint32_t word(const std::string& bytes, size_t at) {
  uint32_t v = 0;
  for (size_t i = 0; i < 4; ++i) v |= uint32_t(uint8_t(bytes.at(at + i))) << (8 * i);
  return v;
}

// The payloads of a stream, put together again; REQUIREs that it is whole and well formed.
std::vector<std::string> payloads(const std::string& stream) {
  std::vector<std::string> out;
  uint32_t last = 3;
  for (size_t at = 0; at < stream.size();) {
    REQUIRE(stream.compare(at, 4, kMagic) == 0);
    const uint32_t kind = word(stream, at + 4) >> 29, size = word(stream, at + 4) & 0x1FFFFFFF;
    const bool begins = kind < 2;
    CHECK(begins == (last == 0 || last == 3));
    if (begins)
      out.emplace_back();
    else
      out.back() += kMagic;
    const std::string bytes = stream.substr(at + 8, size);
    REQUIRE(bytes.size() == size);
    for (size_t i = 0; i + 4 <= size; i += 4) CHECK(bytes.compare(i, 4, kMagic) != 0);
    out.back() += bytes;
    at += 8 + (size + 3) / 4 * 4;
    CHECK(stream.substr(at - (-size & 3), -size & 3) == std::string(-size & 3, '\0'));
    last = kind;
  }
  CHECK((last == 0 || last == 3));
  return out;
}

// The image of a payload, and how many labels are packed before it.
Image image_of(const std::string& payload, size_t labels = 0) {
  CHECK(word(payload, 0) == labels);
  return decode_image(std::as_bytes(std::span(payload)).subspan(24 + 4 * labels), "record");
}

uint32_t crc(const std::vector<uint8_t>& bytes) {
  return uint32_t(crc32(0, bytes.data(), uInt(bytes.size())));
}

double mean_distance(const Image& a, const Image& b) {
  REQUIRE(a.pixels.size() == b.pixels.size());
  double sum = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(a.pixels[i] - b.pixels[i]);
  return sum / double(a.pixels.size());
}

// A folder of pictures 0.png, 1.png ... of different sizes and a list of them: key 10 + i.
struct Pictures : Temporary {
  int count;
  explicit Pictures(int n) : count(n) {
    std::string lines;
    fs::create_directories(*this / "in");
    for (int i = 0; i < n; ++i) {
      write_png(*this / fmt::format("in/{}.png", i), source(20 + i % 7, 30 + i % 5, i % 3 ? 1 : 3));
      lines += fmt::format("{}\t{}\t0.5\t{}.png\n", 10 + i, i % 2, i);
    }
    write("a.lst", lines);
  }
  RecordsMade make(const RecordOptions& options, const std::string& name = "out.rec") const {
    return make_records(*this / "a.lst", *this / "in", *this / name, options);
  }
  std::vector<std::string> files() const {  // beside what was there before
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(path))
      if (entry.path().filename() != "in" && entry.path().filename() != "a.lst")
        names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
};

TEST_CASE("the stream, its index and the headers are MXNet's") {
  const auto all = golden();
  const Temporary folder;
  RecordWriter writer(folder / "a.rec");
  std::vector<std::string> given;
  for (const auto& hex : all["stream"]["payloads"]) given.push_back(from_hex(hex));
  REQUIRE(given.size() == 13);
  for (size_t i = 0; i < given.size(); ++i) writer.add(int64_t(5 + i), given[i]);
  CHECK(fs::is_empty(folder.path) == false);  // the temporary
  CHECK(!fs::exists(folder / "a.rec"));
  writer.commit();
  CHECK(folder.read("a.rec") == from_hex(all["stream"]["rec"]));
  CHECK(folder.read("a.idx") == all["stream"]["idx"].get<std::string>());
  CHECK(payloads(folder.read("a.rec")) == given);
  CHECK(writer.bytes() == folder.read("a.rec").size());

  REQUIRE(all["headers"].size() == 4);
  for (const auto& one : all["headers"])
    CHECK(image_header(one["index"], one["labels"].get<std::vector<float>>(), true) ==
          from_hex(one["hex"]));
  CHECK(image_header(7, std::vector<float>{3, 1}, false) ==
        image_header(7, std::vector<float>{3}, true));
}

TEST_CASE(
    "whatever the bytes, they come back, and no part holds the magic where one looks for it") {
  Random random(1, Purpose::test);
  for (int n = 0; n < 500; ++n) {
    std::string bytes;
    while (bytes.size() < random.below(60))
      random.below(2) ? bytes += kMagic : bytes += char(random.below(256));
    std::string stream;
    append_record(stream, bytes);
    CHECK(payloads(stream) == std::vector{bytes});
  }
}

TEST_CASE("a record of 2^29 bytes is refused") {
  const Temporary folder;
  RecordWriter writer(folder / "a.rec");
  const char none = 0;  // its size is looked at before its bytes
  const std::string message =
      message_of(Exit::data, [&] { writer.add(3, std::string_view(&none, kRecordLimit)); });
  CHECK(message.find("index 3: 536870912 bytes") != message.npos);
}

TEST_CASE("resizing and gray are OpenCV's, bit for bit") {
  const auto all = golden();
  REQUIRE(all["resize"].size() == 24);
  for (const auto& one : all["resize"]) {
    const auto from = one["from"].get<std::vector<int>>(), to = one["to"].get<std::vector<int>>();
    CAPTURE(one.dump());
    CHECK(
        crc(resize(source(from[0], from[1], from[2]), to[0], to[1], ResizeFilter::opencv).pixels) ==
        one["crc32"].get<uint32_t>());
  }
  const Temporary folder;
  write_png(folder / "a.png", source(300, 200, 3));
  folder.write("a.lst", "0\t1\ta.png\n");
  make_records(folder / "a.lst", folder.path, folder / "a.rec",
               {.pass_through = false, .color = 0, .png = true, .quality = 6});
  CHECK(crc(image_of(payloads(folder.read("a.rec"))[0]).pixels) == all["gray"].get<uint32_t>());
}

TEST_CASE("real images: MXNet's records, byte for byte") {
  const fs::path data = testing::shared_data();
  if (data.empty()) return;
  const auto read = [](const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return std::string{std::istreambuf_iterator<char>(in), {}};
  };
  const Temporary folder;
  for (const bool pack : {true, false}) {
    const std::string name =
        fmt::format("mx191_nih24_png_passthrough_{}", pack ? "14labels" : "1label");
    make_records(data / "recordio" / (name + ".lst"), data / "nih_256/images", folder / "a.rec",
                 {.pack_label = pack, .threads = 2});
    for (const char* extension : {".rec", ".idx"})
      CHECK(folder.read(std::string("a") + extension) ==
            read(data / "recordio" / (name + extension)));
  }
  // Split records: what stands in the stream, written anew.
  RecordWriter writer(folder / "b.rec");
  int64_t key = 0;
  const std::string split = read(data / "recordio/mx191_magic_escape.rec");
  for (const std::string& payload : payloads(split)) writer.add(key++, payload);
  writer.commit();
  CHECK(folder.read("b.rec") == split);
  CHECK(folder.read("b.idx") == read(data / "recordio/mx191_magic_escape.idx"));

  // Resized and encoded anew. libjpeg's releases may differ in the bytes, hardly in the pixels.
  const std::string name = "mx191_nih24_jpg95_224_14labels";
  make_records(data / "recordio" / (name + ".lst"), data / "nih_256/images", folder / "c.rec",
               {.pack_label = true, .pass_through = false, .color = 0, .resize = 224});
  const auto ours = payloads(folder.read("c.rec"));
  const auto theirs = payloads(read(data / "recordio" / (name + ".rec")));
  REQUIRE(ours.size() == 24);
  REQUIRE(theirs.size() == 24);
  for (size_t i = 0; i < 24; ++i) {
    CHECK(ours[i].substr(0, 80) == theirs[i].substr(0, 80));
    CHECK(mean_distance(image_of(ours[i], 14), image_of(theirs[i], 14)) <= 0.1);
  }
}

TEST_CASE("the same bytes with any number of threads, in the list's order") {
  const Pictures in(53);
  for (RecordOptions o : {RecordOptions{.pack_label = true},
                          RecordOptions{.pass_through = false, .resize = 17, .shuffle = true}}) {
    std::set<std::string> seen;
    for (const int threads : {1, 2, 5}) {
      o.threads = threads;
      const RecordsMade made = in.make(o);
      CHECK(made.files.size() == 1);
      CHECK(made.files[0].records == 53);
      CHECK(made.files[0].bytes == in.read("out.rec").size());
      seen.insert(in.read("out.rec") + in.read("out.idx"));
    }
    CHECK(seen.size() == 1);
    std::vector<uint32_t> ids;
    for (const std::string& payload : payloads(in.read("out.rec"))) ids.push_back(word(payload, 8));
    CHECK(std::is_sorted(ids.begin(), ids.end()) != o.shuffle);
    std::sort(ids.begin(), ids.end());
    for (uint32_t i = 0; i < 53; ++i) CHECK(ids[i] == 10 + i);
  }
}

TEST_CASE("what each option makes of a picture") {
  const Pictures in(1);  // 20 x 30, RGB
  const auto made = [&](RecordOptions o) {
    o.pass_through = false;
    in.make(o);
    return image_of(payloads(in.read("out.rec"))[0], o.pack_label ? 2 : 0);
  };
  const Image whole = source(20, 30, 3);
  CHECK(made({.png = true, .quality = 1}).pixels == whole.pixels);
  CHECK(made({.pack_label = true, .png = true, .quality = 9}).pixels == whole.pixels);
  CHECK(mean_distance(made({.quality = 100}), whole) > 0);
  CHECK(mean_distance(made({.quality = 30}), whole) > mean_distance(made({.quality = 100}), whole));
  CHECK(made({.color = 0, .png = true, .quality = 6}).channels == 1);
  const Image square = made({.center_crop = true, .png = true, .quality = 6});
  REQUIRE(square.width == 20);
  CHECK(square.height == 20);
  for (int y = 0; y < 20; ++y)
    CHECK(square.pixels[size_t(y) * 60] == whole.pixels[size_t(y * 30 + 5) * 3]);
  const Image small = made({.resize = 7, .png = true, .quality = 6});
  CHECK(small.height == 7);
  CHECK(small.width == 10);  // 30 * 7 / 20, rounded down
  const Image both = made({.center_crop = true, .resize = 7, .png = true, .quality = 6});
  CHECK(both.width == 7);
  CHECK(both.pixels == resize(square, 7, 7, ResizeFilter::opencv).pixels);
  const Image tall = source(31, 20, 3);
  write_png(in / "in/0.png", tall);
  const Image middle = made({.center_crop = true, .png = true, .quality = 6});
  CHECK(middle.height == 20);
  CHECK(std::equal(middle.pixels.begin(), middle.pixels.end(), tall.pixels.begin() + 5 * 60));
  CHECK(made({.resize = 13, .png = true, .quality = 6}).height == 20);  // 31 * 13 / 20 = 20.15

  // A gray picture becomes RGB where colour is asked for, as MXNet's default does.
  const Image gray = source(9, 8, 1);
  write_png(in / "in/0.png", gray);
  in.make({.pass_through = false, .png = true, .quality = 6});
  CHECK(payloads(in.read("out.rec"))[0][24 + 25] == 2);  // colour type of the PNG's header
  in.make({.pass_through = false, .color = -1, .png = true, .quality = 6});
  CHECK(payloads(in.read("out.rec"))[0][24 + 25] == 0);
}

TEST_CASE("what is said about sizes") {
  const Pictures in(40);
  uint64_t own = 0;
  for (int i = 0; i < 40; ++i) own += fs::file_size(in / fmt::format("in/{}.png", i));
  const RecordsMade as_is = in.make({});
  CHECK(as_is.own_bytes == own);
  CHECK(as_is.kept_bytes == own);
  CHECK(as_is.labels == 2);
  CHECK(as_is.sampled == 14);  // every third
  CHECK(as_is.sample_difference > 0);
  const RecordsMade png = in.make({.pass_through = false, .png = true, .quality = 6});
  CHECK(png.sample_difference == 0);
  CHECK(png.kept_bytes != own);
}

TEST_CASE("chunks and shares: im2rec's counts, order and names") {
  const auto text = [](size_t count, const RecordOptions& o) {
    std::string all;
    for (const RecordPart& p : record_parts(count, o))
      all += fmt::format("{}:{}-{} ", p.suffix, p.begin, p.end);
    return all;
  };
  CHECK(text(10, {}) == ":0-10 ");
  CHECK(text(10, {.chunks = 3}) == "_0:0-4 _1:4-8 _2:8-10 ");
  CHECK(text(10, {.train_ratio = 0.75}) == "_train:0-7 _val:7-10 ");
  CHECK(text(10, {.train_ratio = 0.5, .test_ratio = 0.25}) == "_test:0-2 _train:2-7 _val:7-10 ");
  CHECK(text(11, {.chunks = 2, .train_ratio = 0.5, .test_ratio = 0.2}) ==
        "_0_test:0-1 _0_train:1-4 _0_val:4-6 _1_test:6-7 _1_train:7-10 _1_val:10-11 ");
  // Nothing is lost to rounding: im2rec would drop the last one here, or make an empty _val.
  CHECK(text(11, {.train_ratio = 0.5, .test_ratio = 0.5}) == "_test:0-5 _train:5-11 ");
  CHECK(text(10, {.train_ratio = 0.7, .test_ratio = 0.3}) == "_test:0-3 _train:3-10 ");
  CHECK(message_of(Exit::usage, [&] {
          text(5, {.train_ratio = 1, .test_ratio = 0.1});
        }).find("sum to more than 1") != std::string::npos);
  CHECK(message_of(Exit::usage, [&] { text(5, {.chunks = 4}); }).find("suffix '_3'") !=
        std::string::npos);
  CHECK(message_of(Exit::usage, [&] { text(5, {.train_ratio = 0.1}); }).find("suffix '_train'") !=
        std::string::npos);

  const Pictures in(11);
  in.make({.chunks = 2, .train_ratio = 0.5, .test_ratio = 0.2});
  CHECK(in.files().size() == 12);
  CHECK(in.read("out_0_test.idx") == "10\t0\n");
  CHECK(in.read("out_1_val.idx") == "20\t0\n");
  std::vector<std::string> all;
  for (const char* name : {"_0_test", "_0_train", "_0_val", "_1_test", "_1_train", "_1_val"})
    for (const auto& p : payloads(in.read(std::string("out") + name + ".rec"))) all.push_back(p);
  in.make({});
  CHECK(payloads(in.read("out.rec")) == all);
}

TEST_CASE("a bad image stops the work with its place, or is left out and named") {
  const Pictures in(6);
  in.write("in/2.png", in.read("in/2.png").substr(0, 60));
  fs::remove(in / "in/4.png");
  const std::string message = message_of(Exit::data, [&] { in.make({.threads = 3}); });
  CHECK(message.find("a.lst, index 12: ") != message.npos);
  CHECK(message.find("in/2.png: the PNG stops in the middle") != message.npos);
  CHECK(in.files().empty());

  const RecordsMade made = in.make({.skip_bad = true, .threads = 3});
  REQUIRE(made.skipped.size() == 2);
  CHECK(made.skipped[1].find("a.lst, index 14: ") != std::string::npos);
  CHECK(made.files[0].records == 4);
  CHECK(payloads(in.read("out.rec")).size() == 4);
  CHECK(in.read("out.idx").starts_with("10\t0\n11\t"));

  for (int i = 0; i < 6; ++i) in.write(fmt::format("in/{}.png", i), "");
  CHECK(message_of(Exit::data, [&] {
          in.make({.skip_bad = true}, "none.rec");
        }).find("would hold nothing, all its images are bad; the first: ") != std::string::npos);
  CHECK(in.files() == std::vector<std::string>{"out.idx", "out.rec"});
}

TEST_CASE("hostile lists") {
  const Pictures in(2);
  const auto refused = [&](const std::string& list, const std::string& part) {
    in.write("a.lst", list);
    const std::string message = message_of(Exit::data, [&] { in.make({}); });
    CAPTURE(message);
    CAPTURE(part);
    CHECK(message.find(part) != message.npos);
    CHECK(in.files().empty());
  };
  refused("", "the list is empty");
  refused("1\t0\n", "a.lst:1: 2 fields");
  refused("1\t0\t0.png\n1\t0\t1.png\n", "the index 1 stands there twice");
  refused("-4\t0\t0.png\n", "the index -4 is negative");
  refused("99999999999999999999\t0\t0.png\n", "is not a whole number");
  refused("1\tnan\t0.png\n", "label 'nan'");
  refused("1\t0\t0.png\n2\t0\t0\t1.png\n", "a.lst:2: 2 labels where 1 are needed");
  refused("1\t0\t../a.lst\n", "leaves the root");
  refused("1\t0\t/etc/passwd\n", "is absolute");
  refused(std::string("1\t0\t0.png\0\n", 10), "zero byte");
  fs::create_symlink("/etc", in / "in/link");
  refused("1\t0\tlink/passwd\n", "index 1: ");
  refused("1\t0\t.\n", "index 1: ");
}

// --- A disk that is full after a number of writes.
const FileSystem real = file_system;
int writes_left, renames_left;

TEST_CASE("a full disk, or a stop, leaves the old files and nothing else") {
  const Pictures in(9);
  in.make({.pack_label = true});
  const std::string rec = in.read("out.rec"), idx = in.read("out.idx");
  file_system.write = [](int file, const void* bytes, size_t count) -> ssize_t {
    if (writes_left-- > 0) return real.write(file, bytes, count);
    errno = ENOSPC;
    return -1;
  };
  for (writes_left = 0; writes_left < 2; ++writes_left) {  // the records, then the index
    const int left = writes_left;
    CAPTURE(left);
    CHECK(message_of(Exit::environment, [&] { in.make({}); }).find("free some space") !=
          std::string::npos);
    writes_left = left;
    CHECK(in.files() == std::vector<std::string>{"out.idx", "out.rec"});
    CHECK(in.read("out.rec") == rec);
    CHECK(in.read("out.idx") == idx);
  }
  file_system = real;
  CHECK(message_of(Exit::interrupted, [&] {
          make_records(in / "a.lst", in / "in", in / "out.rec", {}, {}, [] { return 130; });
        }).find("nothing was written") != std::string::npos);
  CHECK(in.files() == std::vector<std::string>{"out.idx", "out.rec"});
  CHECK(in.read("out.rec") == rec);

  // Between the two renames: new records never stand beside the old index.
  renames_left = 1;
  file_system.rename = [](const char* from, const char* to) {
    if (renames_left-- > 0) return real.rename(from, to);
    errno = EIO;
    return -1;
  };
  CHECK(message_of(Exit::environment, [&] { in.make({}); }).find("out.idx") != std::string::npos);
  file_system = real;
  CHECK(in.files() == std::vector<std::string>{"out.rec"});
  CHECK(in.read("out.rec") != rec);
}

}  // namespace
