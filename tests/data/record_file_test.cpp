// RecordIO streams: what MXNet and dmlc-core wrote, shards, hostile files, and memory.
#include "data/record/record_file.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <new>
#include <nlohmann/json.hpp>

#include "data/record/image_records.h"
#include "engine/io/atomic_file.h"
#include "tests/data/make_records.h"
#include "tests/data/sha256.h"
#include "tests/shared_data.h"
#include "tests/temporary.h"

using namespace pneuma;
using namespace pneuma::testing;

namespace {

size_t largest_allocation = 0;

}  // namespace

[[gnu::noinline]] void* operator new(size_t size) {
  largest_allocation = std::max(largest_allocation, size);
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace {

namespace fs = std::filesystem;

std::vector<uint64_t> all_records(const RecordFile& file) {
  return scan_records(file, 0, file.size());
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Every record once, whatever the number of parts; by bytes, each in the part that its first byte
// is in.
void check_shards(const RecordFile& file) {
  CAPTURE(file.path().string());
  const std::vector<uint64_t> offsets = all_records(file);
  for (uint64_t parts = 1; parts <= offsets.size() + 3; ++parts) {
    CAPTURE(parts);
    const uint64_t step = ((file.size() + parts - 1) / parts + 3) / 4 * 4;
    const uint64_t most = (offsets.size() + parts - 1) / parts;
    std::vector<uint64_t> by_bytes, by_records;
    for (uint64_t part = 0; part < parts; ++part) {
      const ByteRange bytes = shard_of_bytes(file, part, parts);
      for (const uint64_t offset : scan_records(file, bytes.begin, bytes.end)) {
        CHECK(offset / step == part);
        by_bytes.push_back(offset);
      }
      const ByteRange records = shard_of_records(offsets.size(), part, parts);
      CHECK(records.end - records.begin <= most);
      if (records.end < offsets.size()) CHECK(records.end - records.begin == most);
      by_records.insert(by_records.end(), offsets.begin() + int64_t(records.begin),
                        offsets.begin() + int64_t(records.end));
    }
    CHECK(by_bytes == offsets);
    CHECK(by_records == offsets);
  }
}

std::string refusal(const Temporary& folder, const std::string& stream) {
  folder.write("a.rec", stream);
  largest_allocation = 0;
  const std::string said =
      message_of(Exit::data, [&] { all_records(RecordFile(folder / "a.rec")); });
  CHECK(largest_allocation <= std::max<size_t>(stream.size(), 1024));  // a sentence
  CHECK(said.find((folder / "a.rec").string() + ": offset ") == 0);
  return said;
}

}  // namespace

TEST_CASE("what MXNet 1.9.1 wrote is what it read back: offsets, labels, payloads") {
  const std::string abc = "abc";
  CHECK(sha256(std::as_bytes(std::span(abc))) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const fs::path data = shared_data();
  if (data.empty()) return;
  const auto expected =
      nlohmann::json::parse(read_file(data / "recordio" / "mx191_expected.json", 1 << 20));
  REQUIRE(expected.size() == 4);
  size_t split = 0;
  for (const auto& set : expected) {
    const fs::path path = data / "recordio" / (set["file"].get<std::string>() + ".rec");
    CAPTURE(path.string());
    const RecordFile file(path);
    const std::vector<uint64_t> offsets = all_records(file);
    REQUIRE(offsets.size() == set["records"].size());
    CHECK(index_faults(index_of(path), offsets, 9) == std::vector<std::string>{});
    for (size_t i = 0; i < offsets.size(); ++i) {
      const auto& want = set["records"][i];
      if (want.contains("offset")) CHECK(offsets[i] == want["offset"]);
      const Record record = file.read(offsets[i]);
      split += record.joined != nullptr;
      CHECK(record.payload.size() == want["len"]);
      CHECK(sha256(record.payload) == want["sha256"]);
      if (!want.contains("id")) continue;
      const ImageRecord image = parse_image_record(record.payload, "");
      CHECK(image.id == want["id"]);
      CHECK(image.labels == want["label"].get<std::vector<float>>());
      CHECK(image.image.size() == want["img_len"]);
      CHECK(sha256(image.image) == want["img_sha256"]);
    }
    check_shards(file);
  }
  CHECK(split > 3);

  const RecordFile sample(data / "recordio" / "dmlc_core_sample.rec");
  const std::vector<uint64_t> offsets = all_records(sample);
  REQUIRE(offsets.size() == 10);
  for (size_t i = 0; i < 10; ++i) {
    const Record record = sample.at(offsets[i]);
    CHECK(text_of(parse_image_record(record.payload, "").image).starts_with(std::to_string(i + 1)));
  }
  check_shards(sample);
}

TEST_CASE("split records are joined, and shards find their way among them") {
  Temporary folder;
  const std::string& m = kRecordMagic;
  const std::vector<std::string> payloads = {"",
                                             "a",
                                             m,
                                             m + m,
                                             "abcd" + m,
                                             "ab" + m,
                                             m + "x",
                                             "abcd",
                                             m + m + m,
                                             "abcd" + m + "ef",
                                             std::string(500, 'x') + m + m + "abcde" + m,
                                             "end"};
  const auto [stream, index] = record_stream(payloads);
  folder.write("a.rec", stream);
  folder.write("a.idx", index);
  const RecordFile file(folder / "a.rec");
  const std::vector<uint64_t> offsets = all_records(file);
  REQUIRE(offsets.size() == payloads.size());
  for (size_t i = 0; i < offsets.size(); ++i)
    CHECK(text_of(file.at(offsets[i]).payload) == payloads[i]);
  CHECK(file.at(0).joined == nullptr);
  CHECK(index_faults(folder / "a.idx", offsets, 9).empty());
  check_shards(file);
}

TEST_CASE("hostile streams: one sentence with file and offset, nothing allocated beyond the file") {
  Temporary folder;
  const std::string magic = kRecordMagic;
  const auto says = [&](const std::string& stream, const std::string& part) {
    const std::string said = refusal(folder, stream);
    CAPTURE(said);
    CHECK(said.find(part) != std::string::npos);
  };
  says("\x89PNG\r\n\x1A\n", "offset 0: 0x474e5089 stands where the magic number 0xced7230a");
  says(record("abc") + "garbage.", "offset 12: 0x62726167 stands where");
  says(record("abc") + "1234567", "offset 12: 7 bytes are left");
  says(record_part(2, "abcd"), "offset 0: the flag of the part is 2 where 0 or 1");
  says(record_part(3, "abcd"), "offset 0: the flag of the part is 3 where 0 or 1");
  says(record_part(4, "abcd"), "offset 0: the flag of the part is 4");
  says(record_part(1, "abcd"), "offset 12: 0 bytes are left");
  says(record_part(1, "abcd") + record("x"), "offset 12: the flag of the part is 0 where 2 or 3");
  says(record_part(1, "") + record_part(1, ""), "offset 8: the flag of the part is 1 where 2 or 3");
  says(magic + word((1u << 29) - 1), "offset 0: 536870911 bytes are claimed, padding apart, and 0");
  says(magic + word(5) + "abcdefg", "offset 0: 5 bytes are claimed, padding apart, and 7 are left");

  folder.write("empty.rec", "");
  const RecordFile empty(folder / "empty.rec");
  CHECK(all_records(empty).empty());
  CHECK(empty.resync(0) == 0);
  check_shards(empty);
  for (const char* name : {"none.rec", "."})
    CHECK(message_of(Exit::data, [&] { RecordFile file(folder / name); }).find("cannot be ") !=
          std::string::npos);
}

TEST_CASE("cut at every byte, each byte changed: refused, or records of the file's own bytes") {
  Temporary folder;
  const std::string first = record("abcde"), second = record("12" + kRecordMagic + kRecordMagic),
                    third = record("wxyz" + kRecordMagic + "v");
  const std::string stream = first + second + third;
  REQUIRE(third.size() == 24);  // it is split
  for (size_t cut = 1; cut < stream.size(); ++cut)
    if (cut != first.size() && cut != first.size() + second.size())
      refusal(folder, stream.substr(0, cut));
  int refused = 0;
  for (size_t i = 0; i < stream.size(); ++i) {
    for (const uint8_t with : {0x00, 0x01, 0x20, 0x40, 0x80, 0xFF}) {
      std::string changed = stream;
      changed[i] = char(changed[i] ^ with);
      folder.write("a.rec", changed);
      const RecordFile file(folder / "a.rec");
      try {
        size_t bytes = 0;
        for (const uint64_t offset : all_records(file)) bytes += file.at(offset).payload.size();
        CHECK(bytes <= stream.size());
      } catch (const Error& error) {
        CHECK(int(error.exit()) == int(Exit::data));
        ++refused;
      }
      shard_of_bytes(file, 1, 3);
    }
  }
  CHECK(refused > 150);
}

TEST_CASE("a file that becomes shorter in use is said, not a signal") {
  Temporary folder;
  folder.write("a.rec", record(std::string(100000, 'x')) + record("abc"));
  const RecordFile file(folder / "a.rec");
  CHECK(file.read(100008).payload.size() == 3);
  fs::resize_file(folder / "a.rec", 5000);
  CHECK(message_of(Exit::data, [&] { file.read(0); }).find("became shorter") != std::string::npos);
}

TEST_CASE("an index that lies") {
  Temporary folder;
  const std::vector<uint64_t> offsets = {0, 12, 40};
  const auto faults = [&](const std::string& text, size_t most = 9) {
    folder.write("a.idx", text);
    std::string all;
    for (const std::string& fault : index_faults(folder / "a.idx", offsets, most))
      all += fault.substr(folder.path.string().size() + 1) + "|";
    return all;
  };
  CHECK(faults("0\t0\n1\t12\n2\t40\n") == "");
  CHECK(faults("7\t40\r\n5\t0\r\n\r\n6\t12") == "");  // any order and keys
  CHECK(faults("0\t0\n1\t13\n2\t40\n") ==
        "a.idx:2: no record begins at offset 13|a.idx: record 1 at offset 12 is not in it|");
  CHECK(faults("0\t0\n1\t13\n2\t40\n", 1) == "a.idx:2: no record begins at offset 13|");
  CHECK(faults("0\t0\n1\t12\n") == "a.idx: record 2 at offset 40 is not in it|");
  CHECK(faults("0\t0\n1\t12\n2\t40\n3\t99999999999999\n") ==
        "a.idx:4: no record begins at offset 99999999999999|");
  CHECK(faults("0\t0\n1\t12\n1\t40\n") == "a.idx:3: key 1 was there before|");
  CHECK(faults("0\t0\n1\t12\n2\t40\n3\t12\n") ==
        "a.idx:4: the record at offset 12 was named before|");
  CHECK(faults("0\t0\n1 12\n2\t40\n", 1) == "a.idx:2: '1 12' is not a key, a tab and an offset|");
  CHECK(faults("0\t0\n1\t-12\n", 1) == "a.idx:2: '1?-12' is not a key, a tab and an offset|");
  CHECK(faults("0\t0\n1" + std::string(70'000, '\t') + "2", 1).starts_with("a.idx:2: '1????"));
  CHECK(faults("") != "");
}

TEST_CASE("memory: offsets alone, however large the file") {
  Temporary folder;
  constexpr size_t kRecords = 256, kBytes = 256 << 10;
  {
    std::ofstream out(folder / "a.rec", std::ios::binary);
    for (size_t i = 0; i < kRecords; ++i)
      out << record(image_payload(i, {0, 1}, std::string(kBytes, 'x')));
  }
  const auto own_memory = [] {  // KiB that are no file's
    std::ifstream status("/proc/self/status");
    for (std::string name; status >> name;) {
      size_t kib = 0;
      if (name == "RssAnon:" && status >> kib) return kib;
    }
    return size_t{0};
  };
  const size_t before = own_memory();
  REQUIRE(before > 0);
  largest_allocation = 0;
  const Dataset dataset = dataset_of_records(folder / "a.rec", {}, 2);
  uint64_t sum = 0;
  for (const uint64_t offset : dataset.records->offsets)
    for (const std::byte b : dataset.records->file.read(offset).payload) sum += uint64_t(b);
  CHECK(sum > kRecords * kBytes * 'x');
  CHECK(own_memory() - before < 1024);  // of 64 MiB
  CHECK(largest_allocation < 1 << 16);
  CHECK(dataset.records->offsets.capacity() <= 2 * kRecords);
}
