#include "models/mxnet/params.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>

#include "engine/error.h"

namespace pneuma {
namespace {

constexpr uint64_t kMagic = 0x112;
constexpr uint32_t kForm1 = 0xF993FAC8, kForm2 = 0xF993FAC9, kForm3 = 0xF993FACA;
constexpr int32_t kDense = 0, kUndefined = -1, kCpu = 1;
constexpr uint32_t kMaxDims = 32;
constexpr size_t kMaxArrays = 10'000, kMaxName = 4096;  // far above any network's
constexpr size_t kLeast = 13;  // bytes of an array that is none and of its name

struct DtypeCode {
  int32_t code;
  Dtype dtype;
};
constexpr DtypeCode kDtypes[] = {{0, Dtype::f32}, {1, Dtype::f64},  {2, Dtype::f16},
                                 {3, Dtype::u8},  {4, Dtype::i32},  {6, Dtype::i64},
                                 {7, Dtype::u8},  {12, Dtype::bf16}};  // 7: bool, a byte each
constexpr int32_t kInt8 = 5;

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& file)
      : bytes_(bytes), rest_(bytes), file_(file) {}

  std::vector<FileTensor> read() {
    number<uint64_t>("its beginning");
    number<uint64_t>("its beginning");
    const uint64_t count = number<uint64_t>("the number of arrays");
    if (count > std::min(rest_.size() / kLeast, kMaxArrays))
      refuse("it claims {} arrays, more than it can hold", count);
    std::vector<std::optional<FileTensor>> arrays;
    for (uint64_t k = 0; k < count; ++k) {
      array_ = fmt::format("array {} of {}", k + 1, count);
      arrays.push_back(array());
    }
    array_ = "its names";
    if (const uint64_t names = number<uint64_t>("the number of names"); names != count)
      refuse("there are {} names for {} arrays", names, count);
    std::vector<FileTensor> tensors;
    std::set<std::string> known;
    for (std::optional<FileTensor>& tensor : arrays) {
      std::string text = name();
      if (!known.insert(text).second) refuse("'{}' stands there twice", text);
      if (!tensor) continue;
      tensor->name = std::move(text);
      tensors.push_back(std::move(*tensor));
    }
    if (!rest_.empty()) refuse("{} bytes follow the last name", rest_.size());
    return tensors;
  }

 private:
  std::optional<FileTensor> array() {
    const uint32_t first = number<uint32_t>("its form");
    if (first == kForm2 || first == kForm3) {
      const int32_t storage = number<int32_t>("its storage type");
      if (storage == 1 || storage == 2)
        refuse("it is sparse; save it with tostype('default') in MXNet");
      if (storage != kDense && storage != kUndefined) refuse("its storage type is {}", storage);
    } else if (first != kForm1 && first > kMaxDims) {
      refuse("it begins with {:#x}, which is no form of an array", first);
    }
    FileTensor tensor;
    const bool old = first <= kMaxDims;
    const int32_t dims = old ? int32_t(first) : number<int32_t>("its number of dims");
    if (dims < -1 || dims > int32_t(kMaxDims)) refuse("it has {} dims", dims);
    bool known = first == kForm3 ? dims >= 0 : dims > 0;  // or it is none, and ends here
    uint64_t count = 1;
    for (int32_t k = 0; k < dims; ++k) {
      const int64_t n = old ? int64_t{number<uint32_t>("its shape")} : number<int64_t>("its shape");
      if (first == kForm3 && n == -1)
        known = false;
      else if (n < 0 || __builtin_mul_overflow(count, uint64_t(n), &count))
        refuse("its shape has {} among its dims, or more numbers than can be counted", n);
      tensor.shape.push_back(n);
    }
    if (!known) return std::nullopt;
    number<uint64_t>("its context");
    const int32_t code = number<int32_t>("its dtype");
    if (code == kInt8) refuse("it is int8, of a quantised network; take the file of floats");
    const auto* dtype = std::ranges::find(kDtypes, code, &DtypeCode::code);
    if (dtype == std::end(kDtypes)) refuse("its dtype {} is unknown", code);
    tensor.dtype = dtype->dtype;
    if (count > rest_.size() / size_of(tensor.dtype))
      refuse("its shape needs {} numbers of {} bytes and {} bytes are left", count,
             size_of(tensor.dtype), rest_.size());
    tensor.bytes = take(count * size_of(tensor.dtype), "its data");
    return tensor;
  }

  std::string name() {
    const uint64_t length = number<uint64_t>("a length");
    if (length == 0 || length > std::min(rest_.size(), kMaxName))
      refuse("one shall have {} bytes", length);
    const std::span<const std::byte> text = take(length, "a name");
    return {reinterpret_cast<const char*>(text.data()), text.size()};
  }

  template <class T>
  T number(const char* what) {
    T value;
    std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
    return value;
  }

  std::span<const std::byte> take(uint64_t bytes, const char* what) {
    if (bytes > rest_.size()) refuse("the file ends within {}", what);
    const std::span<const std::byte> taken = rest_.first(bytes);
    rest_ = rest_.subspan(bytes);
    return taken;
  }

  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    std::string problem = fmt::format(format, std::forward<Args>(args)...);
    for (char& c : problem)  // names in it are from outside: keep one line
      if (static_cast<unsigned char>(c) < ' ' || c == 127) c = '?';
    fail(Exit::data, "{}: {}{}{} (byte {}); fetch or export the file again", file_, array_,
         array_.empty() ? "" : ": ", problem.substr(0, 300), bytes_.size() - rest_.size());
  }

  const std::span<const std::byte> bytes_;
  std::span<const std::byte> rest_;
  const std::string& file_;
  std::string array_;  // where the reader is
};

}  // namespace

bool is_params(std::span<const std::byte> bytes) {
  uint64_t magic = 0;
  if (bytes.size() >= sizeof magic) std::memcpy(&magic, bytes.data(), sizeof magic);
  return magic == kMagic;
}

std::vector<FileTensor> read_params(std::span<const std::byte> bytes, const std::string& file) {
  if (!is_params(bytes)) fail(Exit::data, "{}: it is no .params file of MXNet", file);
  return Reader(bytes, file).read();
}

std::string params_bytes(std::span<const FileTensor> tensors) {
  std::string file;
  const auto put = [&](auto number) {
    file.append(reinterpret_cast<const char*>(&number), sizeof number);
  };
  put(kMagic), put(uint64_t{0}), put(uint64_t{tensors.size()});
  for (const FileTensor& t : tensors) {
    put(kForm2), put(kDense), put(int32_t(t.shape.size()));
    for (const int64_t n : t.shape) put(n);
    put(kCpu), put(int32_t{0}), put(std::ranges::find(kDtypes, t.dtype, &DtypeCode::dtype)->code);
    file.append(reinterpret_cast<const char*>(t.bytes.data()), t.bytes.size());
  }
  put(uint64_t{tensors.size()});
  for (const FileTensor& t : tensors) put(uint64_t{t.name.size()}), file += t.name;
  return file;
}

}  // namespace pneuma
