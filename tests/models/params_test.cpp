// MXNet's .params: files of every form (tests/golden/make_params.py), what we write, and damage of
// every kind, none of which costs memory.
#include "models/mxnet/params.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <new>

#include "engine/io/atomic_file.h"
#include "engine/random.h"
#include "kernels/half.h"
#include "tests/temporary.h"

namespace {
size_t g_allocated = 0;  // bytes, so far
}
[[gnu::noinline]] void* operator new(size_t bytes) {
  g_allocated += bytes;
  if (void* p = std::malloc(bytes ? bytes : 1)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace pneuma {
namespace {

using testing::message_of;

std::string golden(int form) {
  return read_file(fmt::format("{}/tests/golden/form{}.params", PNEUMA_SOURCE_DIR, form), 1 << 16);
}
std::span<const std::byte> as_bytes(const std::string& s) { return std::as_bytes(std::span(s)); }

double number(const FileTensor& t, size_t k) {
  const auto load = [&](auto v) {
    std::memcpy(&v, t.bytes.data() + k * sizeof v, sizeof v);
    return v;
  };
  switch (t.dtype) {
    case Dtype::f32:
      return double(load(float{}));
    case Dtype::f64:
      return load(double{});
    case Dtype::f16:
      return double(float(load(Half{})));
    case Dtype::bf16:
      return double(float(load(Bfloat16{})));
    case Dtype::u8:
      return load(uint8_t{});
    case Dtype::i32:
      return load(int32_t{});
    default:
      return double(load(int64_t{}));
  }
}

// The sentence that refuses the bytes; it takes no memory for what they claim.
std::string refusal(const std::string& bytes) {
  constexpr size_t kLittle = 32'000;  // entries of at most 15 arrays, and the sentence
  const size_t before = g_allocated;
  const std::string said = message_of(Exit::data, [&] { read_params(as_bytes(bytes), "hostile"); });
  CHECK(g_allocated - before < kLittle);
  CHECK(said.starts_with("hostile: "));
  CHECK(said.find('\n') == said.npos);
  return said;
}

template <class T>
std::string with(std::string bytes, size_t at, T number) {
  REQUIRE(at + sizeof number <= bytes.size());
  std::memcpy(bytes.data() + at, &number, sizeof number);
  return bytes;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

}  // namespace

TEST_CASE("every form of an array is read") {
  struct Expected {
    Dtype dtype;
    std::vector<int64_t> shape;
  };
  std::map<std::string, Expected> zoo{{"arg:conv0_weight", {Dtype::f32, {2, 3, 1, 1}}},
                                      {"aux:bn0_moving_mean", {Dtype::f32, {5}}},
                                      {"arg:double", {Dtype::f64, {5}}},
                                      {"arg:half", {Dtype::f16, {3, 2}}},
                                      {"arg:bytes", {Dtype::u8, {3}}},
                                      {"arg:whole", {Dtype::i32, {2, 2}}}};
  std::map<std::string, Expected> whole = zoo, gluon, shaped;
  whole["arg:long"] = {Dtype::i64, {3}};
  for (const auto& [name, expected] : whole) gluon[name.substr(4)] = expected;
  gluon["truth"] = {Dtype::u8, {4}};
  gluon["brain"] = {Dtype::bf16, {7}};
  gluon["empty"] = {Dtype::f32, {0, 4}};
  shaped = whole;
  shaped["arg:scalar"] = {Dtype::f32, {}};
  shaped["arg:truth"] = {Dtype::u8, {4}};
  shaped["arg:empty"] = {Dtype::f32, {0, 4}};
  shaped["arg:long_ago"] = {Dtype::f32, {1, 1, 1, 1, 1}};
  const std::map<std::string, Expected> all[] = {zoo, whole, gluon, shaped};
  for (int form = 0; form < 4; ++form) {
    CAPTURE(form);
    const std::string bytes = golden(form);
    const std::vector<FileTensor> tensors = read_params(as_bytes(bytes), "golden");
    CHECK(tensors.size() == all[form].size());
    for (const FileTensor& t : tensors) {
      CAPTURE(t.name);
      REQUIRE(all[form].contains(t.name));
      CHECK(t.dtype == all[form].at(t.name).dtype);
      CHECK(t.shape == all[form].at(t.name).shape);
      const bool integer = t.dtype == Dtype::u8 || t.dtype == Dtype::i32 || t.dtype == Dtype::i64;
      for (size_t k = 0; k < t.bytes.size() / size_of(t.dtype); ++k)
        CHECK(number(t, k) == (holds(t.name, "truth") ? double(k % 2)
                               : integer              ? double(k)
                                                      : double(k) / 2 - 3));
    }
  }
}

TEST_CASE("what is written is what is read, and the form that MXNet 1.x writes") {
  const std::string bytes = golden(1);
  const std::vector<FileTensor> tensors = read_params(as_bytes(bytes), "golden");
  const std::string written = params_bytes(tensors);
  const std::vector<FileTensor> again = read_params(as_bytes(written), "written");
  REQUIRE(again.size() == tensors.size());
  for (size_t k = 0; k < again.size(); ++k) {
    CHECK(again[k].name == tensors[k].name);
    CHECK(again[k].dtype == tensors[k].dtype);
    CHECK(again[k].shape == tensors[k].shape);
    CHECK(std::ranges::equal(again[k].bytes, tensors[k].bytes));
  }
  uint32_t form;
  std::memcpy(&form, written.data() + 24, sizeof form);
  CHECK(form == 0xF993FAC9);
  CHECK(read_params(as_bytes(params_bytes({})), "none").empty());
}

TEST_CASE("a file that is cut off anywhere, or goes on, is refused") {
  for (int form = 0; form < 4; ++form) {
    const std::string bytes = golden(form);
    for (size_t size = 0; size < bytes.size(); ++size) {
      CAPTURE(size);
      refusal(bytes.substr(0, size));
    }
    CHECK(holds(refusal(bytes + "x"), "1 bytes follow the last name"));
  }
}

TEST_CASE("lies of a file are refused with what they are") {
  const std::string data(24, 'd');
  FileTensor t{"arg:w", Dtype::f32, {2, 3}, as_bytes(data)};
  const std::string bytes = params_bytes(std::vector{t});
  constexpr size_t kForm = 24, kStorage = 28, kDims = 32, kShape = 36, kContext = 52, kDtype = 60,
                   kNames = 64 + 24;
  REQUIRE(read_params(as_bytes(bytes), "good").size() == 1);
  CHECK(refusal(with(bytes, 0, uint64_t{0x113})) == "hostile: it is no .params file of MXNet");
  for (const uint64_t count : {uint64_t{2}, uint64_t{1000}, uint64_t{1} << 40, UINT64_MAX})
    CHECK(holds(refusal(with(bytes, 16, count)), count == 2 ? "array 2 of 2" : "it claims"));
  CHECK(holds(refusal(with(bytes, 16, uint64_t{0})), "names for 0 arrays"));
  for (const uint32_t form : {33u, 0xF993FAC7u, 0xF993FACBu, 0u - 1u})
    CHECK(holds(refusal(with(bytes, kForm, form)), "which is no form of an array"));
  for (const int32_t sparse : {1, 2})
    CHECK(holds(refusal(with(bytes, kStorage, sparse)), "it is sparse; save it with tostype"));
  for (const int32_t storage : {3, -2, INT32_MAX, INT32_MIN})
    CHECK(holds(refusal(with(bytes, kStorage, storage)), "its storage type is"));
  for (const int32_t dims : {33, -2, INT32_MAX, INT32_MIN})
    CHECK(holds(refusal(with(bytes, kDims, dims)), "dims"));
  refusal(with(bytes, kDims, 32));
  refusal(with(bytes, kDims, 0));
  refusal(with(bytes, kDims, -1));
  for (const int64_t n : {int64_t{-1}, INT64_MIN, INT64_MAX})
    CHECK(holds(refusal(with(bytes, kShape, n)), "among its dims, or more numbers than"));
  CHECK(holds(refusal(with(bytes, kShape, int64_t{1} << 40)), "bytes are left"));
  CHECK(holds(refusal(with(bytes, kShape, int64_t{1} << 61)), "bytes are left"));
  CHECK(holds(refusal(with(bytes, kShape, int64_t{3})), "there are"));
  CHECK(holds(refusal(with(bytes, kDtype, int32_t{5})), "int8, of a quantised network"));
  for (const int32_t dtype : {8, 11, 13, -1})
    CHECK(holds(refusal(with(bytes, kDtype, dtype)), "is unknown"));
  for (const uint64_t names : {uint64_t{0}, uint64_t{2}, UINT64_MAX})
    CHECK(holds(refusal(with(bytes, kNames, names)), "names for 1 arrays"));
  for (const uint64_t length : {uint64_t{0}, uint64_t{6}, uint64_t{1} << 50, UINT64_MAX})
    CHECK(holds(refusal(with(bytes, kNames + 8, length)), "one shall have"));
  CHECK(holds(refusal(with(bytes, kNames + 8, uint64_t{4})), "1 bytes follow"));
  const std::vector<FileTensor> twice{t, t};
  CHECK(holds(refusal(params_bytes(twice)), "'arg:w' stands there twice"));
  CHECK(read_params(as_bytes(with(bytes, kContext, uint64_t{99})), "any context").size() == 1);
  t.name = "arg:\n\x1b[2J";
  CHECK(holds(refusal(params_bytes(std::vector{t, t})), "'arg:??[2J' stands there twice"));
}

TEST_CASE("bytes changed at random never do worse than being refused") {
  Random random(5, Purpose::test);
  for (int form = 0; form < 4; ++form) {
    const std::string good = golden(form);
    for (int k = 0; k < 4000; ++k) {
      std::string bytes = good;
      for (int changes = 1 + int(random.bits() % 4); changes > 0; --changes)
        bytes[random.bits() % bytes.size()] = char(random.bits());
      try {
        for (const FileTensor& t : read_params(as_bytes(bytes), "changed")) {
          CHECK(t.bytes.data() >= as_bytes(bytes).data());
          CHECK(t.bytes.data() + t.bytes.size() <= as_bytes(bytes).data() + bytes.size());
        }
      } catch (const Error& error) {
        CHECK(error.exit() == Exit::data);
      }
    }
  }
}

}  // namespace pneuma
