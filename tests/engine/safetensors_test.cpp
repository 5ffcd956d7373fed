// The safetensors format: against the Python package, damaged bit by bit, and with hostile headers.
#include "engine/io/safetensors.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <numeric>

#include "engine/error.h"
#include "engine/io/atomic_file.h"
#include "engine/random.h"
#include "tests/temporary_folder.h"

namespace pneuma {
namespace {
namespace fs = std::filesystem;

using testing::TemporaryFolder;

// The error's sentence, or an empty string; any other exit than `data` fails the test.
std::string refusal(const fs::path& path) {
  try {
    SafetensorsFile file(path);
    return "";
  } catch (const Error& error) {
    CHECK(error.exit() == Exit::data);
    return error.what();
  }
}

void overwrite(const fs::path& path, const std::string& bytes) {
  fs::remove(path);  // truncating makes some file systems wait for the disk
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), bytes.size());
}

std::string file_of(uint64_t length, const std::string& header, size_t data) {
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  return bytes + header + std::string(data, 'd');
}

double half(uint16_t bits) {  // normal numbers and zero
  const double magnitude =
      bits & 0x7fff ? std::ldexp(1 + (bits & 0x3ff) / 1024.0, ((bits >> 10) & 31) - 15) : 0;
  return bits & 0x8000 ? -magnitude : magnitude;
}

std::vector<double> values_of(const FileTensor& tensor) {
  std::vector<double> values;
  for (size_t at = 0; at < tensor.bytes.size(); at += size_of(tensor.dtype)) {
    const auto load = [&](auto number) {
      std::memcpy(&number, &tensor.bytes[at], sizeof number);
      return number;
    };
    switch (tensor.dtype) {
      case Dtype::f32:
        values.push_back(load(float{}));
        break;
      case Dtype::f64:
        values.push_back(load(double{}));
        break;
      case Dtype::f16:
        values.push_back(half(load(uint16_t{})));
        break;
      case Dtype::bf16: {
        const uint32_t bits = uint32_t(load(uint16_t{})) << 16;
        float value;
        std::memcpy(&value, &bits, sizeof value);
        values.push_back(value);
        break;
      }
      case Dtype::u8:
        values.push_back(load(uint8_t{}));
        break;
      case Dtype::i32:
        values.push_back(load(int32_t{}));
        break;
      case Dtype::i64:
        values.push_back(double(load(int64_t{})));
        break;
    }
  }
  return values;
}

// A small file of ours with every dtype, a scalar and an empty tensor.
struct Sample {
  std::vector<std::byte> memory = std::vector<std::byte>(400);
  std::vector<FileTensor> tensors;
  Metadata metadata = {{"findings", R"(["Hernia","Mass"])"}, {"näme", "a \"quoted\"\nline"}};

  Sample() {
    Random random(7, Purpose::test);
    for (std::byte& byte : memory) byte = std::byte(random.bits());
    size_t at = 0;
    const auto add = [&](const char* name, Dtype dtype, std::vector<int64_t> shape) {
      const size_t bytes = size_of(dtype) * std::accumulate(shape.begin(), shape.end(), int64_t{1},
                                                            std::multiplies<>());
      tensors.push_back({name, dtype, std::move(shape), {memory.data() + at, bytes}});
      at += bytes;
      REQUIRE(at <= memory.size());
    };
    add("relu.mask", Dtype::u8, {3});
    add("conv1.weight", Dtype::f32, {2, 3, 3, 1});
    add("bn1.num_batches_tracked", Dtype::i64, {});
    add("half", Dtype::f16, {5});
    add("brain", Dtype::bf16, {1, 1});
    add("moments", Dtype::f64, {2, 2});
    add("order", Dtype::i32, {7});
    add("empty", Dtype::f32, {0, 4});
  }
};

std::string sample_bytes(const fs::path& folder) {
  const Sample sample;
  write_safetensors(folder / "sample", sample.tensors, sample.metadata);
  return read_file(folder / "sample", 1 << 20);
}

}  // namespace

TEST_CASE("what is written is what is read, aligned, and the same bytes every time") {
  TemporaryFolder folder;
  const Sample sample;
  const std::string bytes = sample_bytes(folder.path);
  CHECK(sample_bytes(folder.path) == bytes);

  const SafetensorsFile file(folder.path / "sample");
  CHECK(file.metadata() == sample.metadata);
  CHECK(file.tensors().size() == sample.tensors.size());
  const std::byte* base = file.tensors()[0].bytes.data();
  CHECK(file.tensors()[0].name == "bn1.num_batches_tracked");  // the widest first, else as given
  CHECK(file.tensors()[1].name == "moments");
  CHECK(file.tensors().back().name == "relu.mask");
  CHECK(*reinterpret_cast<const uint64_t*>(bytes.data()) % 8 == 0);
  for (const FileTensor& tensor : sample.tensors) {
    CAPTURE(tensor.name);
    const FileTensor* read = file.find(tensor.name);
    REQUIRE(read);
    CHECK(read->dtype == tensor.dtype);
    CHECK(read->shape == tensor.shape);
    CHECK(std::ranges::equal(read->bytes, tensor.bytes));
    CHECK(size_t(read->bytes.data() - base) % size_of(tensor.dtype) == 0);
  }
  CHECK(file.find("conv1") == nullptr);
}

TEST_CASE("no tensors, no metadata") {
  TemporaryFolder folder;
  write_safetensors(folder.path / "none", {}, {});
  const SafetensorsFile file(folder.path / "none");
  CHECK(file.tensors().empty());
  CHECK(file.metadata().empty());
  overwrite(folder.path / "foreign", file_of(2, "{}", 0));
  CHECK(refusal(folder.path / "foreign") == "");
}

TEST_CASE("a file of the Python package (tests/golden/make_safetensors.py)") {
  const SafetensorsFile file(fs::path(PNEUMA_SOURCE_DIR) /
                             "tests/golden/safetensors_python.safetensors");
  CHECK(file.metadata() ==
        Metadata{{"format", "pt"}, {"näme", "quote \" and \\ and \xe2\x98\x83"}});
  const struct {
    const char* name;
    Dtype dtype;
    std::vector<int64_t> shape;
  } expected[] = {{"conv1.weight", Dtype::f32, {2, 3, 1, 1}},
                  {"oracle", Dtype::f64, {5}},
                  {"half", Dtype::f16, {3, 2}},
                  {"brain", Dtype::bf16, {7}},
                  {"mask", Dtype::u8, {3}},
                  {"count", Dtype::i32, {2, 2}},
                  {"empty", Dtype::f32, {0, 4}}};
  for (const auto& [name, dtype, shape] : expected) {
    CAPTURE(name);
    const FileTensor* tensor = file.find(name);
    REQUIRE(tensor);
    CHECK(tensor->dtype == dtype);
    CHECK(tensor->shape == shape);
    const std::vector<double> values = values_of(*tensor);
    const bool whole = dtype == Dtype::u8 || dtype == Dtype::i32;
    for (size_t k = 0; k < values.size(); ++k)
      CHECK(values[k] == (whole ? double(k) : double(k) / 2 - 3));
  }
  const FileTensor* scalar = file.find("bn1.num_batches_tracked");
  REQUIRE(scalar);
  CHECK(scalar->shape.empty());
  CHECK(values_of(*scalar) == std::vector<double>{42});
  CHECK(file.tensors().size() == 8);
}

TEST_CASE("every flipped bit of a file of ours is found; damaged data names the tensor") {
  TemporaryFolder folder;
  const fs::path path = folder.path / "flipped";
  const std::string bytes = sample_bytes(folder.path);
  uint64_t length;
  std::memcpy(&length, bytes.data(), sizeof length);
  const size_t data = sizeof length + length;
  size_t missed = 0, unnamed = 0;
  overwrite(path, bytes);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const char good = bytes[bit / 8];
    file.seekp(std::streamoff(bit / 8)).put(char(good ^ (1 << bit % 8))).flush();
    const std::string message = refusal(path);
    missed += message.empty();
    if (bit / 8 >= data) unnamed += message.find("tensor '") == std::string::npos;
    file.seekp(std::streamoff(bit / 8)).put(good).flush();
  }
  CHECK(missed == 0);
  CHECK(unnamed == 0);
  CHECK(refusal(path) == "");
}

TEST_CASE("thousands of random flips in a payload of 1 MB are found") {
  TemporaryFolder folder;
  const fs::path path = folder.path / "big";
  std::vector<std::byte> memory(1 << 20);
  Random random(11, Purpose::test);
  for (std::byte& byte : memory) byte = std::byte(random.bits());
  write_safetensors(path,
                    {{"a", Dtype::f32, {1 << 17}, std::span(memory).first(1 << 19)},
                     {"b", Dtype::f32, {1 << 17}, std::span(memory).last(1 << 19)}},
                    {});
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const size_t data = fs::file_size(path) - memory.size();
  size_t found = 0;
  for (int flip = 0; flip < 2000; ++flip) {
    const uint32_t at = random.below(1 << 20);
    const char good = char(memory[at]), bad = char(good ^ (1 << random.below(8)));
    file.seekp(std::streamoff(data + at)).put(bad).flush();
    found += refusal(path).find(at < (1 << 19) ? "tensor 'a'" : "tensor 'b'") != std::string::npos;
    file.seekp(std::streamoff(data + at)).put(good).flush();
  }
  CHECK(found == 2000);
  CHECK(refusal(path) == "");
}

TEST_CASE("a file cut off or grown anywhere is refused") {
  TemporaryFolder folder;
  const std::string bytes = sample_bytes(folder.path);
  for (size_t size = 0; size < bytes.size(); ++size) {
    overwrite(folder.path / "cut", bytes.substr(0, size));
    CHECK(refusal(folder.path / "cut") != "");
  }
  overwrite(folder.path / "grown", bytes + "x");
  CHECK(refusal(folder.path / "grown") != "");
}

TEST_CASE("hostile headers are refused by name, and no memory is taken for them") {
  const auto tensor = [](const char* shape, const char* offsets, const char* dtype = "F32") {
    return fmt::format(R"({{"t":{{"dtype":"{}","shape":{},"data_offsets":{}}}}})", dtype, shape,
                       offsets);
  };
  const std::string many(1'000'000, '[');
  const struct {
    std::string header;
    size_t data;
    const char* message;
    uint64_t length = 0;  // where it is not the header's
  } table[] = {
      // the length
      {"{}", 0, "cut off", 3},
      {"{}", 0, "cut off", 100'000'001},
      {"{}", 0, "cut off", uint64_t{1} << 63},
      {"{}", 0, "cut off", ~uint64_t{0}},
      {"{}", 0, "cut off", ~uint64_t{0} - 7},
      {"{}", 8, "not JSON", 1},
      {"{}", 8, "not JSON", 10},
      {"", 8, "not JSON"},
      // JSON
      {" {}", 0, "not JSON"},
      {"\xef\xbb\xbf{}", 0, "not JSON"},
      {"[]", 0, "not JSON"},
      {"null", 0, "not JSON"},
      {"{} {}", 0, "not JSON"},
      {"{}x", 0, "not JSON"},
      {std::string("{}\0", 3), 0, "not JSON"},
      {std::string("{}\0\1\2\3", 6), 0, "not JSON"},
      {"{\"\xff\":{}}", 0, "not JSON"},
      {"{'t':{}}", 0, "not JSON"},
      {fmt::format("{{{}", std::string(100'000, '[')), 0, "not JSON"},
      {fmt::format("{{\"t\":{}}}", many), 0, "an array stands in 't'"},
      {fmt::format("{{\"t\":{{\"shape\":{}}}", many), 0, "an array stands in 't'"},
      // what stands where
      {R"({"t":1})", 0, "a number stands in 't'"},
      {R"({"t":null})", 0, "null stands in 't'"},
      {R"({"t":"x"})", 0, "a string stands in 't'"},
      {R"({"t":{}})", 0, "lacks"},
      {R"({"t":{"dtype":"F32","shape":[1]}})", 4, "lacks"},
      {R"({"t":{"shape":[1],"data_offsets":[0,4]}})", 4, "lacks"},
      {R"({"t":{"dtype":"F32","data_offsets":[0,4]}})", 4, "lacks"},
      {R"({"t":{"dtype":{},"shape":[1],"data_offsets":[0,4]}})", 4, "an object stands in 't'"},
      {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", 4, "unknown key 'x'"},
      {R"({"__metadata__":{"a":1}})", 0, "a number stands in '__metadata__'"},
      {R"({"__metadata__":{"a":{}}})", 0, "an object stands in '__metadata__'"},
      {R"({"__metadata__":{"a":["b"]}})", 0, "an array stands in '__metadata__'"},
      {R"({"__metadata__":"a"})", 0, "a string stands in '__metadata__'"},
      // repeated keys: a lenient reader keeps the last and says nothing
      {R"({"__metadata__":{"a":"b","a":"c"}})", 0, "twice"},
      {R"({"__metadata__":{},"__metadata__":{}})", 0, "twice"},
      {R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
       R"("t":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
       2, "'t' stands there twice"},
      {R"({"t":{"dtype":"F32","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1, "twice"},
      // dtypes
      {tensor("[1]", "[0,4]", "F8_E4M3"), 4, "dtype 'F8_E4M3'"},
      {tensor("[1]", "[0,4]", "f32"), 4, "dtype 'f32'"},
      {tensor("[4]", "[0,4]", "BOOL"), 4, "dtype 'BOOL'"},
      {tensor("[4]", "[0,4]", "\\u001b[2J\\n"), 4, "dtype '?[2J?'"},
      {tensor("[4]", "[0,4]", std::string(100'000, 'x').c_str()), 4, "dtype 'xxx"},
      {tensor("[1]", "[0,4]", ""), 4, "dtype ''"},
      // shapes
      {tensor("[-1]", "[0,4]"), 4, "a negative number stands in 't'"},
      {tensor("[1.0]", "[0,4]"), 4, "a broken number stands in 't'"},
      {tensor("[1e0]", "[0,4]"), 4, "a broken number stands in 't'"},
      {tensor("[\"1\"]", "[0,4]"), 4, "a string stands in 't'"},
      {tensor("[18446744073709551617]", "[0,4]"), 4, "a broken number stands in 't'"},
      {tensor("[18446744073709551615]", "[0,4]"), 4, "a dimension of"},
      {tensor("[4611686018427387905]", "[0,4]"), 4, "overflows"},  // times 4 wraps to 4
      {tensor("[2147483648,2147483648,4]", "[0,0]"), 0, "overflows"},
      {tensor("[4294967296,4294967296]", "[0,0]"), 0, "overflows"},
      {tensor("[1000000000]", "[0,4000000000]"), 4, "the tensors have 4000000000 bytes"},
      {tensor("[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "dims"},
      // offsets
      {tensor("[1]", "[0,4,8]"), 4, "over 2 offsets"},
      {tensor("[1]", "[0]"), 4, "lacks"},
      {tensor("[1]", "[4,0]"), 4, "begins at 4"},
      {tensor("[1]", "[0,3]"), 4, "its shape needs 4"},
      {tensor("[1]", "[0,8]"), 8, "its shape needs 4"},
      {tensor("[1]", "[0,18446744073709551615]"), 4, "its shape needs 4"},
      {tensor("[1]", "[18446744073709551612,0]"), 4, "begins at"},
      {tensor("[1]", "[1,5]"), 5, "begins at 1"},  // a hole at the start
      {tensor("[1]", "[0,4]"), 5, "the file holds 5"},
      {tensor("[1]", "[0,4]"), 3, "the file holds 3"},
      {"{}", 4, "the file holds 4"},
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
       R"("b":{"dtype":"U8","shape":[4],"data_offsets":[5,9]}})",
       9, "'b' begins at 5 and 4 was expected"},  // a hole
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
       R"("b":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}})",
       7, "'b' begins at 3 and 4 was expected"},  // an overlap
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
       R"("b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
       4, "'b' begins at 0 and 4 was expected"},
  };
  CHECK(std::size(table) >= 40);
  TemporaryFolder folder;
  const fs::path path = folder.path / "hostile.safetensors";
  const auto peak_kb = [] {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const long before = peak_kb();
  for (const auto& [header, data, message, length] : table) {
    CAPTURE(header.substr(0, 200));
    CAPTURE(length);
    overwrite(path, file_of(length ? length : header.size(), header, data));
    const std::string found = refusal(path);
    CAPTURE(found);
    CHECK(found.find(message) != std::string::npos);
    CHECK(found.find("hostile.safetensors") != std::string::npos);
    CHECK(found.size() < 400);
  }
  CHECK(peak_kb() - before < 16 * 1024);

  // A sparse file that claims, and has, a terabyte.
  overwrite(path, file_of(71, tensor("[274877906944]", "[0,1099511627776]") + " ", 0));
  std::error_code no_sparse_files;
  fs::resize_file(path, (uint64_t{1} << 40) + 8 + 71, no_sparse_files);
  if (!no_sparse_files) CHECK(refusal(path) != "");
  CHECK(peak_kb() - before < 16 * 1024);
}

TEST_CASE("random bytes in a foreign file: taken or refused, never worse") {
  TemporaryFolder folder;
  const std::string good = read_file(
      fs::path(PNEUMA_SOURCE_DIR) / "tests/golden/safetensors_python.safetensors", 1 << 20);
  Random random(13, Purpose::test);
  int refused = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string bytes = good;
    for (uint32_t k = random.below(3); k < 3; ++k)
      bytes[random.below(uint32_t(bytes.size()))] = "{}[]\":,0129-e \\\0\xff"[random.below(17)];
    overwrite(folder.path / "f", bytes);
    refused += refusal(folder.path / "f") != "";
  }
  CHECK(refused > 2500);
  CHECK(refused < 5000);
}

TEST_CASE("the writer refuses what it could not read back") {
  TemporaryFolder folder;
  const std::vector<std::byte> bytes(8);
  const auto refused = [&](std::vector<FileTensor> tensors) {
    CHECK_THROWS_AS(write_safetensors(folder.path / "a", std::move(tensors), {}), Error);
    CHECK(fs::is_empty(folder.path));
  };
  refused({{"t", Dtype::f32, {3}, bytes}});
  refused({{"t", Dtype::f32, {2}, bytes}, {"t", Dtype::f32, {2}, bytes}});
  refused({{"__metadata__", Dtype::f32, {2}, bytes}});
  refused({{"t", Dtype::f32, {-2}, bytes}});
}

}  // namespace pneuma
