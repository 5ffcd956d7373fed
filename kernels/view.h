// The plain data that crosses the seam: dtypes, views of memory, handles, status codes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pneuma {

enum class Dtype : uint8_t { f32, f64, f16, bf16, u8, i32, i64 };

// Internal linkage: the cpu device compiles this once per instruction set.
static constexpr size_t size_of(Dtype dtype) {
  constexpr size_t sizes[] = {4, 8, 2, 2, 1, 4, 8};
  return sizes[size_t(dtype)];
}
constexpr const char* name_of(Dtype dtype) {
  constexpr const char* names[] = {"f32", "f64", "f16", "bf16", "u8", "i32", "i64"};
  return names[size_t(dtype)];
}

inline constexpr int kMaxRank = 4;
inline constexpr size_t kAlignment = 64;  // bytes, of every tensor

// A dense tensor in somebody else's memory; the last dimension is contiguous. Rank 0 means absent.
struct View {
  void* data = nullptr;  // null in a dry run
  int64_t dims[kMaxRank] = {};
  int32_t rank = 0;
  Dtype dtype = Dtype::f32;

  constexpr explicit operator bool() const { return rank != 0; }
  constexpr int64_t count() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= dims[i];
    return rank ? n : 0;
  }
  constexpr size_t bytes() const { return size_t(count()) * size_of(dtype); }
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

// Where a gradient goes. `add`: to what is there already (the value was used twice), else it
// overwrites.
struct Gradient : View {
  bool add = false;
};

using Stream = void*;  // opaque; null is the device's default
using Event = void*;

enum class StatusCode : int32_t { ok, unsupported, invalid, out_of_memory, device };
struct Status {
  StatusCode code = StatusCode::ok;
  const char* message = "";  // fixed text; never freed
  constexpr explicit operator bool() const { return code == StatusCode::ok; }
};

}  // namespace pneuma
