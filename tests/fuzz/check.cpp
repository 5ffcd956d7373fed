#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>

#include "engine/error.h"
#include "tests/fuzz/reader.h"

namespace {

std::atomic<int64_t> g_live = 0, g_peak = 0;  // bytes that are given out

void given(size_t bytes) {
  const int64_t live = g_live += int64_t(bytes);
  int64_t peak = g_peak;
  while (live > peak && !g_peak.compare_exchange_weak(peak, live)) {
  }
}

// Bytes of memory that a file of no size may take: zlib has buffers of 100 KB.
constexpr int64_t kAnyFile = 192 << 10;
constexpr int64_t kGzipGrowth =
    64;  // what unpacks to more is refused: data/text.h, models/mxnet/archive.h
constexpr int64_t kLongestLine = 6000;  // of an error: a path of 4096 bytes in it

}  // namespace

#if defined(__has_feature)  // clang: by the sanitizer's own malloc
#include <sanitizer/allocator_interface.h>

static void on_malloc(const volatile void*, size_t bytes) { given(bytes); }
static void on_free(const volatile void* memory) {
  if (memory) g_live -= int64_t(__sanitizer_get_allocated_size(memory));
}
static const int g_counting = __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
#else  // what C++ takes
void* operator new(size_t bytes) {
  void* memory = std::malloc(bytes ? bytes : 1);
  if (!memory) throw std::bad_alloc();
  given(malloc_usable_size(memory));
  return memory;
}
void operator delete(void* memory) noexcept {
  if (memory) g_live -= int64_t(malloc_usable_size(memory));
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept { operator delete(memory); }
#endif

namespace pneuma::fuzz {

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

std::string check(const Reader& reader, std::span<const uint8_t> bytes) {
  static int first = -1;
  const int file = memfd_create("fuzz", MFD_CLOEXEC);
  if (first < 0) first = file;
  require(file == first, "a file was left open by the call before");
  require(::write(file, bytes.data(), bytes.size()) == ssize_t(bytes.size()), "no memory for it");
  const std::string path = fmt::format("/proc/self/fd/{}", file);
  std::string said;
  g_peak = g_live.load();
  const int64_t before = g_live;
  try {
    reader.read(path);
  } catch (const Error& error) {
    said = error.what();
    require(error.exit() == Exit::data, "an error of the file is of another kind");
    require(said.find(path) != said.npos, "the error does not name the file");
  }
  const bool gzip = bytes.size() > 1 && bytes[0] == 0x1f && bytes[1] == 0x8b;
  const int64_t size = gzip ? kGzipGrowth * int64_t(bytes.size() + 1024) : int64_t(bytes.size());
  const int64_t took = g_peak - before, most = kAnyFile + reader.growth * size;
  if (took > most)
    std::fprintf(stderr, "%s: %ld bytes of memory for %zu bytes\n", reader.name, long(took),
                 bytes.size());
  require(took <= most, "memory beyond what the file's size allows");
  const auto control = [](char c) { return uint8_t(c) < ' ' || c == 127; };
  if (std::ranges::any_of(said, control)) std::fprintf(stderr, "%s\n", said.c_str());
  require(std::ranges::none_of(said, control), "the error has a control character");
  require(int64_t(said.size()) < kLongestLine, "the error is no sentence any more");
  ::close(file);
  return said;
}

}  // namespace pneuma::fuzz
