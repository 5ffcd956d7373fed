#include "engine/io/safetensors.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "engine/error.h"
#include "engine/io/atomic_file.h"

namespace pneuma {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint64_t kMaxHeader = 100'000'000;           // as the reference implementation has it
constexpr uint64_t kMaxData = uint64_t{16} << 30;      // bytes
constexpr size_t kMaxTensors = 100'000, kMaxDims = 8;  // far above any network's
constexpr std::string_view kMetadata = "__metadata__";
constexpr std::string_view kChecksum = "pneuma.checksum";
// How a header of ours begins; the checksum's value follows.
constexpr std::string_view kOurs = R"({"__metadata__":{"pneuma.checksum":")";
constexpr std::string_view kTensorChecksums = "pneuma.tensor_checksums";
const std::string kBlank(32, '0');

struct DtypeName {
  Dtype dtype;
  std::string_view name;
};
constexpr DtypeName kDtypes[] = {{Dtype::f32, "F32"},   {Dtype::f64, "F64"}, {Dtype::f16, "F16"},
                                 {Dtype::bf16, "BF16"}, {Dtype::u8, "U8"},   {Dtype::i32, "I32"},
                                 {Dtype::i64, "I64"}};

std::optional<uint64_t> bytes_of(Dtype dtype, const std::vector<int64_t>& shape) {
  uint64_t bytes = size_of(dtype);
  for (int64_t n : shape)
    if (n < 0 || __builtin_mul_overflow(bytes, uint64_t(n), &bytes)) return std::nullopt;
  return bytes;
}

std::string tensor_checksum(std::span<const std::byte> bytes) {
  return fmt::format("{:016x}", XXH3_64bits(bytes.data(), bytes.size()));
}

// Of the length and the header with the checksum's value blank. REQUIRES a header of ours.
std::string header_checksum(std::string header) {
  header.replace(kOurs.size(), kBlank.size(), kBlank);
  const uint64_t length = header.size();
  header.insert(0, reinterpret_cast<const char*>(&length), sizeof length);
  const XXH128_hash_t hash = XXH3_128bits(header.data(), header.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

struct Entry {
  FileTensor tensor;
  std::vector<uint64_t> offsets;
  unsigned keys = 0;  // bits of the keys that were there
};

// Takes exactly the grammar above, token by token, so that a header can neither nest nor repeat a
// key, and memory stays within a small factor of the header's size.
class HeaderParser : public nlohmann::json_sax<nlohmann::json> {
 public:
  Metadata metadata;
  std::vector<Entry> entries;
  std::string problem = "the header is not JSON";

  bool start_object(size_t) override {
    if (where_ == Where::outside) return go(Where::top);
    if (where_ != Where::member) return wrong("an object");
    if (name_ == kMetadata) return go(Where::metadata);
    if (entries.size() == kMaxTensors) return stop("more than {} tensors", kMaxTensors);
    entries.push_back({{name_, {}, {}, {}}, {}});
    return go(Where::tensor);
  }
  bool key(std::string& text) override {
    if (where_ == Where::top) {
      name_ = text;
      if (!names_.insert(text).second) return stop("'{}' stands there twice", text);
      return go(Where::member);
    }
    key_ = text;
    if (where_ == Where::metadata) {
      if (metadata.contains(text)) return stop("metadata '{}' stands there twice", text);
      return go(Where::metadata_value);
    }
    const unsigned bit = text == "dtype" ? 1 : text == "shape" ? 2 : text == "data_offsets" ? 4 : 0;
    if (bit == 0) return stop("tensor '{}' has an unknown key '{}'", name_, text);
    if (entries.back().keys & bit) return stop("tensor '{}' has '{}' twice", name_, text);
    entries.back().keys |= bit;
    return go(bit == 1 ? Where::dtype : bit == 2 ? Where::shape : Where::offsets);
  }
  bool string(std::string& text) override {
    if (where_ == Where::metadata_value) {
      metadata[key_] = text;
      return go(Where::metadata);
    }
    if (where_ != Where::dtype) return wrong("a string");
    for (const auto& [dtype, name] : kDtypes)
      if (name == text) {
        entries.back().tensor.dtype = dtype;
        return go(Where::tensor);
      }
    return stop("tensor '{}' has dtype '{}'; known are F32 F64 F16 BF16 U8 I32 I64", name_, text);
  }
  bool start_array(size_t) override {
    if (where_ == Where::shape) return go(Where::dims);
    return where_ == Where::offsets ? go(Where::bounds) : wrong("an array");
  }
  bool number_unsigned(uint64_t number) override {
    if (where_ == Where::dims) {
      auto& shape = entries.back().tensor.shape;
      if (shape.size() == kMaxDims) return stop("tensor '{}' has over {} dims", name_, kMaxDims);
      if (number > uint64_t(std::numeric_limits<int64_t>::max()))
        return stop("tensor '{}' has a dimension of {}", name_, number);
      shape.push_back(int64_t(number));
      return true;
    }
    if (where_ != Where::bounds) return wrong("a number");
    if (entries.back().offsets.size() == 2) return stop("tensor '{}' has over 2 offsets", name_);
    entries.back().offsets.push_back(number);
    return true;
  }
  bool end_array() override { return go(Where::tensor); }
  bool end_object() override {
    if (where_ == Where::top) return go(Where::end);
    if (where_ == Where::tensor && (entries.back().keys != 7 || entries.back().offsets.size() != 2))
      return stop("tensor '{}' lacks its dtype, shape or two offsets", name_);
    return go(Where::top);
  }
  bool null() override { return wrong("null"); }
  bool boolean(bool) override { return wrong("a boolean"); }
  bool number_integer(int64_t) override { return wrong("a negative number"); }
  bool number_float(double, const std::string&) override { return wrong("a broken number"); }
  bool binary(nlohmann::json::binary_t&) override { return wrong("binary"); }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    return stop("the header is not JSON at byte {}", position + 8);
  }

 private:
  enum class Where {
    outside,
    top,
    member,
    metadata,
    metadata_value,
    tensor,
    dtype,
    shape,
    dims,
    offsets,
    bounds,
    end
  };
  bool go(Where where) {
    where_ = where;
    return true;
  }
  bool wrong(const char* what) { return stop("{} stands in '{}' where none may be", what, name_); }
  template <class... Args>
  bool stop(fmt::format_string<Args...> format, Args&&... args) {
    problem = fmt::format(format, std::forward<Args>(args)...);
    return false;
  }

  Where where_ = Where::outside;
  std::string name_, key_;
  std::set<std::string> names_;
};

// The entries in the order of their data, proven to cover 0..data_size without hole or overlap.
// Returns the problem, or an empty string.
std::string check_layout(std::vector<Entry>& entries, uint64_t data_size) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.offsets < b.offsets; });
  uint64_t end = 0;
  for (const Entry& entry : entries) {
    const auto& [name, dtype, shape, ignored] = entry.tensor;
    const std::optional<uint64_t> bytes = bytes_of(dtype, shape);
    if (!bytes) return fmt::format("tensor '{}' has a shape whose size overflows", name);
    if (entry.offsets[0] != end)
      return fmt::format("tensor '{}' begins at {} and {} was expected", name, entry.offsets[0],
                         end);
    if (entry.offsets[1] < end || entry.offsets[1] - end != *bytes)
      return fmt::format("tensor '{}' ends at {}; its shape needs {} bytes from {} on", name,
                         entry.offsets[1], *bytes, end);
    end = entry.offsets[1];
  }
  if (end == data_size) return {};
  return fmt::format("the tensors have {} bytes and the file holds {}", end, data_size);
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) {
  InputFile file(path);
  load(path.string(), file.size(), [&](std::span<std::byte> to) { file.read(to); });
}

SafetensorsFile::SafetensorsFile(std::string_view bytes, const std::string& name) {
  load(name, bytes.size(), [&](std::span<std::byte> to) {
    std::memcpy(to.data(), bytes.data(), to.size());
    bytes.remove_prefix(to.size());
  });
}

void SafetensorsFile::load(const std::string& name, uint64_t size,
                           const std::function<void(std::span<std::byte>)>& read) {
  const auto refuse = [&](std::string problem) {  // names in it are from outside: keep one line
    if (problem.size() > 300) problem.replace(300, std::string::npos, "...");
    for (char& c : problem)
      if (static_cast<unsigned char>(c) < ' ' || c == 127) c = '?';
    fail(Exit::data, "{}: {}; fetch or export the file again", name, problem);
  };
  uint64_t length = 0;
  if (size < sizeof length + 2) refuse("too short for a safetensors file");
  read(std::as_writable_bytes(std::span(&length, 1)));
  const uint64_t rest = size - sizeof length;
  if (length > std::min(rest, kMaxHeader))
    refuse(
        fmt::format("not a safetensors file, or cut off: its header shall have {} bytes", length));
  std::string header(length, '\0');
  read(std::as_writable_bytes(std::span(header)));
  const uint64_t data_size = rest - length;

  HeaderParser parser;
  // The parser takes a NUL for the end of its input.
  if (!header.starts_with('{') || header.find('\0') != std::string::npos ||
      !nlohmann::json::sax_parse(header, &parser))
    refuse(parser.problem);
  const std::string problem = check_layout(parser.entries, data_size);
  if (!problem.empty()) refuse(problem);
  if (data_size > kMaxData)
    refuse(fmt::format("{} bytes of tensors are more than the {} allowed", data_size, kMaxData));

  metadata_ = std::move(parser.metadata);
  const auto take = [&](std::string_view key) {
    auto found = metadata_.extract(std::string(key));
    return found.empty() ? std::nullopt : std::optional(std::move(found.mapped()));
  };
  const std::optional<std::string> checksum = take(kChecksum), sums = take(kTensorChecksums);
  if (checksum.has_value() != sums.has_value())
    refuse("the header is damaged: one of its two checksums is missing");
  if (checksum) {
    if (!header.starts_with(kOurs) || header_checksum(header) != *checksum)
      refuse(
          "the header is damaged: its checksum differs (where other software rewrote the file, its "
          "metadata pneuma.* must go)");
    if (sums->size() != parser.entries.size() * 16)
      refuse("the header is damaged: it lacks checksums of tensors");
  }

  try {
    data_ = std::make_unique_for_overwrite<std::byte[]>(data_size);
  } catch (const std::bad_alloc&) {
    fail(Exit::environment, "{}: no memory for its {} bytes; close other programs", name,
         data_size);
  }
  read({data_.get(), data_size});
  for (Entry& entry : parser.entries) {
    const uint64_t begin = entry.offsets[0];
    FileTensor& tensor = tensors_.emplace_back(std::move(entry.tensor));
    tensor.bytes = {data_.get() + begin, entry.offsets[1] - begin};
    if (sums && sums->substr((tensors_.size() - 1) * 16, 16) != tensor_checksum(tensor.bytes))
      refuse(fmt::format(
          "tensor '{}' (bytes {} to {} of the file) is damaged: its checksum differs", tensor.name,
          sizeof length + header.size() + begin, sizeof length + header.size() + entry.offsets[1]));
  }
}

const FileTensor* SafetensorsFile::find(std::string_view name) const {
  for (const FileTensor& tensor : tensors_)
    if (tensor.name == name) return &tensor;
  return nullptr;
}

void write_safetensors(const std::filesystem::path& path, std::vector<FileTensor> tensors,
                       const Metadata& metadata) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const FileTensor& a, const FileTensor& b) {
    return size_of(a.dtype) > size_of(b.dtype);
  });
  std::string sums;
  for (const FileTensor& tensor : tensors) sums += tensor_checksum(tensor.bytes);

  nlohmann::ordered_json json;
  json[kMetadata] = {{kChecksum, kBlank}, {kTensorChecksums, sums}};
  for (const auto& [key, value] : metadata) json[kMetadata][key] = value;
  std::set<std::string> names = {std::string(kMetadata)};
  uint64_t end = 0;
  for (const FileTensor& tensor : tensors) {
    const std::optional<uint64_t> bytes = bytes_of(tensor.dtype, tensor.shape);
    if (!names.insert(tensor.name).second || bytes != tensor.bytes.size())
      fail(Exit::usage,
           "cannot write {}: tensor '{}' stands there twice or has {} bytes, which its shape does "
           "not",
           path.string(), tensor.name, tensor.bytes.size());
    const auto* dtype = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                     [&](const DtypeName& d) { return d.dtype == tensor.dtype; });
    json[tensor.name] = {
        {"dtype", dtype->name}, {"shape", tensor.shape}, {"data_offsets", {end, end + *bytes}}};
    end += *bytes;
  }
  std::string header = json.dump();
  header.append((8 - header.size() % 8) % 8, ' ');
  header.replace(kOurs.size(), kBlank.size(), header_checksum(header));

  const uint64_t length = header.size();
  AtomicFile file(path, sizeof length + length + end);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(header);
  for (const FileTensor& tensor : tensors) file.write(tensor.bytes);
  file.commit();
}

}  // namespace pneuma
