// Image records, sets of them with and without a list, and what verify says of both.
#include "data/record/image_records.h"

#include <doctest/doctest.h>

#include <limits>

#include "data/loader.h"
#include "data/verify.h"
#include "tests/data/make_files.h"
#include "tests/data/make_records.h"
#include "tests/shared_data.h"
#include "tests/temporary.h"

using namespace pneuma;
using namespace pneuma::testing;

namespace {

namespace fs = std::filesystem;

std::string jpeg(uint8_t first, int side = 8) {
  Bytes pixels(size_t(side) * side, 100);
  pixels[0] = first;
  const Bytes file = jpeg_file(pixels, side, side);
  return {file.begin(), file.end()};
}

void check_said(const std::function<void()>& f, const std::string& part) {
  const std::string said = message_of(Exit::data, f);
  CAPTURE(said);
  CAPTURE(part);
  CHECK(said.find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("a payload: labels of the header or behind it, and sizes that lie") {
  const auto parse = [](const std::string& payload) {
    return parse_image_record(std::as_bytes(std::span(payload)), "r");
  };
  const std::string packed = image_payload(42, {0, 1, 0.5f}, "image"),
                    single = image_payload(7, {3}, "image", false);
  CHECK(parse(packed).id == 42);
  CHECK(parse(packed).labels == std::vector<float>{0, 1, 0.5f});
  CHECK(parse(packed).image.size() == 5);
  CHECK(parse(single).labels == std::vector<float>{3});
  CHECK(parse(single).image.size() == 5);
  check_said([&] { parse(packed.substr(0, 23)); }, "r: has 23 bytes where");
  check_said([&] { parse(packed.substr(0, 35)); }, "r: claims 3 labels in 11 bytes");
  CHECK(parse(packed.substr(0, 36)).image.empty());
  for (const uint32_t flag : {9u, 0x40000000u, 0xFFFFFFFFu})
    check_said([&] { parse(word(flag) + packed.substr(4)); }, "labels in 17 bytes");
}

TEST_CASE("a set of records: labels, names, widths, index") {
  Temporary folder;
  auto [stream, index] =
      record_stream({image_payload(42, {0, 1}, jpeg(1)), image_payload(43, {1, 1}, jpeg(2))});
  folder.write("a.rec", stream);
  Dataset dataset = dataset_of_records(folder / "a.rec", {}, 0);
  REQUIRE(dataset.samples.size() == 2);
  CHECK(dataset.num_classes == 2);
  CHECK(dataset.findings == std::vector<std::string>{"class_0", "class_1"});
  CHECK(dataset.samples[1].path == "a.rec record 1 (id 43)");
  CHECK(dataset.samples[0].patient != dataset.samples[1].patient);
  CHECK(positives(dataset) == std::vector<int64_t>{1, 2});
  CHECK(read_image(dataset, 1).height == 8);

  // The index is checked where there is one; a hash tells sets apart.
  const std::string hash = hash_of_records(dataset);
  folder.write("a.idx", index);
  CHECK(hash_of_records(dataset_of_records(folder / "a.rec", {}, 2)) == hash);
  folder.write("a.idx", "0\t0\n");
  check_said([&] { dataset_of_records(folder / "a.rec", {}, 2); }, "a.idx: record 1 at offset");
  fs::remove(folder / "a.idx");
  folder.write("b/a.rec", record_stream({image_payload(42, {0, 1}, jpeg(1)),
                                         image_payload(43, {1, 0}, jpeg(2))})
                              .first);
  CHECK(hash_of_records(dataset_of_records(folder / "b/a.rec", {}, 2)) != hash);

  check_said([&] { dataset_of_records(folder / "a.rec", {}, 14); },
             "labels: 2 where 14 are needed");
  check_said([&] { dataset_of_records(folder / "a.rec", {}, 5, false); },
             "labels: 2 where 1 are needed; give --multi_label 1");
  folder.write("c.rec", record(image_payload(0, {1, 0}, jpeg(1))) +
                            record(image_payload(1, {1}, jpeg(1), false)));
  check_said([&] { dataset_of_records(folder / "c.rec", {}, 0); },
             "c.rec record 1 at offset " +
                 std::to_string(record(image_payload(0, {1, 0}, jpeg(1))).size()) +
                 ": labels: 1 where 2 are needed");
  folder.write("d.rec", record(image_payload(0, {3}, jpeg(1), false)));
  CHECK(dataset_of_records(folder / "d.rec", {}, 4, false).num_classes == 4);
  check_said([&] { dataset_of_records(folder / "d.rec", {}, 3, false); },
             "not a class from 0 to 2");
  check_said([&] { dataset_of_records(folder / "d.rec", {}, 0); }, "give --multi_label 0");
  folder.write("e.rec", "");
  check_said([&] { dataset_of_records(folder / "e.rec", {}, 0); }, "e.rec: has no records");
  folder.write("f.rec", record(image_payload(0, {1}, jpeg(1))) + record("short"));
  check_said([&] { dataset_of_records(folder / "f.rec", {}, 0); }, "has 5 bytes where");
}

TEST_CASE("a list gives labels and patients by the records' ids") {
  Temporary folder;
  folder.write("a.rec", record(image_payload(5, {9}, jpeg(1), false)) +
                            record(image_payload(3, {9}, jpeg(2), false)));
  folder.write("a.lst", "3\t0\t1\timages/00000013_005.png\n4\t0\t0\tx.png\n5\t1\t0\todd.png\n");
  const Dataset dataset = dataset_of_records(folder / "a.rec", folder / "a.lst", 2);
  CHECK(dataset.samples[0].labels == std::vector<float>{1, 0});
  CHECK(dataset.samples[1].labels == std::vector<float>{0, 1});
  CHECK(dataset.samples[0].patient == dataset.samples[0].path);
  CHECK(dataset.samples[1].patient == "13");
  folder.write("a.lst", "3\t0\t1\tx.png\n");
  check_said([&] { dataset_of_records(folder / "a.rec", folder / "a.lst", 2); },
             "its id 5 is no index of");
  folder.write("a.lst", "3\t0\t1\tx.png\n3\t0\t1\tx.png\n");
  check_said([&] { dataset_of_records(folder / "a.rec", folder / "a.lst", 2); },
             "index 3 is there twice");
}

TEST_CASE("which .rec a path means") {
  Temporary folder;
  folder.write("channel/notes.txt", "");
  CHECK_FALSE(find_records(folder / "channel"));
  folder.write("channel/one.rec", "");
  CHECK(find_records(folder / "channel") == folder / "channel/one.rec");
  CHECK(find_records(folder / "channel/one.rec") == folder / "channel/one.rec");
  folder.write("channel/TWO.REC", "");
  check_said([&] { find_records(folder / "channel"); }, "holds 2 .rec files");
}

TEST_CASE("a picture that cannot be read is called by its file and record, and can be skipped") {
  Temporary folder;
  folder.write("a.rec", record(image_payload(8, {1}, jpeg(1))) +
                            record(image_payload(9, {1}, "no picture")) +
                            record(image_payload(10, {1}, jpeg(1, 4))));
  const Dataset dataset = dataset_of_records(folder / "a.rec", {}, 1);
  check_said([&] { read_image(dataset, 1); },
             (folder / "a.rec").string() + " record 1 (id 9): is text");
  const Sampler sampler(3, 3, 0, false, LastBatch::keep);
  LoaderSettings settings{.height = 8, .width = 8, .on_bad_image = OnBadImage::skip};
  Loader loader(dataset, sampler, settings, 0, 0, 1);
  CHECK(loader.next()->samples == std::vector<int64_t>{0});
  const std::vector<BadImage> bad = loader.bad_images();
  REQUIRE(bad.size() == 2);
  CHECK(bad[1].reason.find("a.rec record 2 (id 10): the image is 4x4, smaller") == 0);
}

TEST_CASE("verify: every fault of lists and records with its place") {
  Temporary folder;
  folder.write("images/good.jpg", jpeg(1));
  folder.write("images/cut.jpg", jpeg(1).substr(0, 200));
  folder.write(
      "a.lst",
      "0\t1\t0\tgood.jpg\n1\tgood.jpg\n2\t1\t0\tcut.jpg\n3\t1\tgood.jpg\n4\t1\tnan\tgood.jpg\n"
      "0\t1\t0\tgood.jpg\n6\t1\t0\t../a.lst\n7\t1\t0\tnone.jpg\n");
  const std::string good = record(image_payload(0, {1, 0}, jpeg(1)));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::string stream = good + record(image_payload(1, {1, nan}, jpeg(1)));
  stream += record(image_payload(2, {1}, "no picture")) + "12345678" + good;
  folder.write("a.rec", stream);
  folder.write("a.idx", "0\t0\n1\t4\n");
  for (const int threads : {1, 3}) {
    std::vector<std::string> said;
    for (const Fault& f :
         verify_images({folder / "a.lst", folder / "a.rec"}, threads, {}, folder / "images"))
      said.push_back(fmt::format("{}{}", f.warning ? "W" : "",
                                 f.reason.substr(folder.path.string().size() + 1)));
    const std::vector<std::string> wanted = {
        "a.lst:2: 2 fields where",
        "a.lst:3: " + (folder / "images/cut.jpg").string() + ": ",
        "a.lst:4: 1 labels where 2 are needed",
        "a.lst:5: label 'nan'",
        "Wa.lst:6: index 0 was there before",
        "a.lst:7: path '../a.lst' leaves the root",
        "a.lst:8: " + (folder / "images/none.jpg").string() + ": no such file",
        "a.rec record 1 at offset " + std::to_string(good.size()) + ": label nan is not finite",
        "a.rec record 2 at offset " + std::to_string(2 * good.size()) + ": labels: 1 where",
        "a.rec record 2 at offset " + std::to_string(2 * good.size()) + ": is text",
        "a.rec: offset " + std::to_string(stream.size() - good.size() - 8) + ": 0x34333231 stands",
        "a.idx:2: no record begins at offset 4",
        "a.idx: record 1 at offset",
        "a.idx: record 2 at offset",
        "a.idx: record 3 at offset"};
    CAPTURE(fmt::format("{}", fmt::join(said, "\n")));
    REQUIRE(said.size() == wanted.size());
    for (size_t i = 0; i < said.size(); ++i) {
      CAPTURE(wanted[i]);
      CHECK(std::ranges::search(said[i], wanted[i]).begin() == said[i].begin());
    }
  }
  const fs::path data = shared_data();
  if (data.empty()) return;
  CHECK(verify_images({data / "recordio" / "mx191_nih24_png_passthrough_14labels.rec",
                       data / "recordio" / "mx191_nih24_jpg95_224_14labels.rec",
                       data / "recordio" / "mx191_nih24_png_passthrough_1label.rec"},
                      2)
            .empty());
}

TEST_CASE("a stream of thousands of faults is not listed to its end") {
  Temporary folder;
  std::string stream;
  for (int i = 0; i < 3000; ++i) stream += record("");
  folder.write("a.rec", stream);
  const std::vector<Fault> faults = verify_images({folder.path}, 1);
  CHECK(faults.size() == 1001);
  CHECK(faults.back().reason.find("more than 1000 faults") != std::string::npos);
}
