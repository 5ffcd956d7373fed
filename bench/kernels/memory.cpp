#include "bench/kernels/memory.h"

#include <algorithm>
#include <cstring>

#include "engine/error.h"
#include "kernels/half.h"

namespace pneuma::bench {
namespace {

// So many draws, then the same again: a prime, so that no channel sees one number only.
constexpr int64_t kPattern = 8191;

// Calls f with a value of the C++ type that holds this dtype.
template <class F>
auto dispatch(Dtype dtype, F f) {
  switch (dtype) {
    case Dtype::f32:
      return f(float{});
    case Dtype::f64:
      return f(double{});
    case Dtype::f16:
      return f(Half{});
    case Dtype::bf16:
      return f(Bfloat16{});
    case Dtype::u8:
      return f(uint8_t{});
    case Dtype::i32:
      return f(int32_t{});
    case Dtype::i64:
      break;
  }
  return f(int64_t{});
}

// 16-bit numbers are made from floats.
template <class T>
T number(double value) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, Bfloat16>) return T(float(value));
  return T(value);
}

}  // namespace

void check(const Backend& backend, const char* what, const Status& status) {
  if (!status) fail(Exit::environment, "{} on device {}: {}", what, backend.name, status.message);
}

Memory::~Memory() {
  for (void* block : blocks_) backend_.device.release(block);
}

void* Memory::allocate(size_t bytes) {
  void* block = nullptr;
  check(backend_, "allocate", backend_.device.allocate(bytes, &block));
  blocks_.push_back(block);
  return block;
}

void Memory::upload(const View& to, std::span<const std::byte> from) {
  if (from.empty() || !to.bytes()) return;
  auto* memory = to.as<std::byte>();
  const auto copy = [&](size_t at, const std::byte* source, size_t bytes) {
    check(backend_, "copy", backend_.device.copy(stream_, memory + at, source, bytes));
  };
  size_t filled = std::min(from.size(), to.bytes());
  copy(0, from.data(), filled);
  while (filled < to.bytes()) {
    const size_t more = std::min(filled, to.bytes() - filled);
    copy(filled, memory, more);
    filled += more;
  }
  check(backend_, "synchronize", backend_.device.synchronize(stream_));
}

void Memory::fill(const View& to, const Draw& draw, uint32_t stream, Dtype rounded_to) {
  Random random(7, Purpose::test, stream);
  const auto count = size_t(std::min(to.count(), kPattern));
  std::vector<std::byte> pattern(count * size_of(to.dtype));
  for (size_t i = 0; i < count; ++i) {
    const double value =
        dispatch(rounded_to, [&]<class T>(T) { return double(number<T>(draw(random))); });
    dispatch(to.dtype, [&]<class T>(T) {
      const T stored = number<T>(value);
      std::memcpy(&pattern[i * sizeof stored], &stored, sizeof stored);
    });
  }
  upload(to, pattern);
}

std::vector<std::byte> Memory::download(const View& from) {
  std::vector<std::byte> bytes(from.bytes());
  check(backend_, "copy", backend_.device.copy(stream_, bytes.data(), from.data, bytes.size()));
  check(backend_, "synchronize", backend_.device.synchronize(stream_));
  return bytes;
}

std::vector<double> numbers(std::span<const std::byte> bytes, Dtype dtype) {
  std::vector<double> values(bytes.size() / size_of(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = dispatch(dtype, [&]<class T>(T value) {
      std::memcpy(&value, &bytes[i * sizeof value], sizeof value);
      return double(value);
    });
  }
  return values;
}

double eps_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::f32:
      return 0x1p-23;
    case Dtype::f64:
      return 0x1p-52;
    case Dtype::f16:
      return Half::eps;
    case Dtype::bf16:
      return Bfloat16::eps;
    default:
      return 1;
  }
}

}  // namespace pneuma::bench
