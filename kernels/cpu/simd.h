// What the files that are compiled once per instruction set share: a vector of floats, bit masks,
// and the split of work over threads. Everything here has internal linkage: a function that the
// linker could merge with that of another instruction set would run on the wrong machine.
//
// A kernel is written once for whole vectors and for the tail of a row: `n` is Full{} or a count
// of lanes. Kernels take their storage type from the pointers: float, Half or Bfloat16. Arithmetic
// is in float; 16 bits are widened by the load and rounded by the store, as kernels/half.h has it.
#pragma once

#include <immintrin.h>
#include <omp.h>

#include <cstdint>
#include <type_traits>

#include "kernels/cpu/device.h"
#include "kernels/half.h"

#ifndef PN_ISA
#define PN_ISA baseline
#endif
#define PN_INLINE static inline __attribute__((always_inline))
#define PN_REQUIRE(condition, message) \
  if (!(condition)) return Status {    \
      StatusCode::invalid, message     \
    }
#define PN_REQUIRE_DTYPE(condition)        \
  if (!(condition)) return Status {        \
      StatusCode::unsupported, kWrongDtype \
    }

namespace pneuma::PN_ISA {

#ifdef __AVX512F__
constexpr int kLanes = 16;
#else
constexpr int kLanes = 8;  // without AVX the compiler makes two of each
#endif
typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4)));
typedef uint32_t BitVec __attribute__((vector_size(kLanes * 4)));
typedef uint16_t ShortVec __attribute__((vector_size(kLanes * 2)));
typedef uint8_t ByteVec __attribute__((vector_size(kLanes)));
using Full = std::integral_constant<int, kLanes>;

PN_INLINE Vec splat(float s) { return s - Vec{}; }

PN_INLINE Vec widen(Vec v, float) { return v; }
PN_INLINE Vec narrow(Vec v, float) { return v; }
PN_INLINE Vec widen(ShortVec v, Bfloat16) {
  return (Vec)(__builtin_convertvector(v, BitVec) << 16);
}
PN_INLINE ShortVec narrow(Vec v, Bfloat16) {
  const BitVec bits = (BitVec)v, rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return __builtin_convertvector(v == v ? rounded : BitVec{} + 0x7fff, ShortVec);
}
PN_INLINE Vec widen(ShortVec v, Half) {
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_cvtph_ps(0xffff, (__m256i)v);
#elif defined(__F16C__)
  return (Vec)_mm256_cvtph_ps((__m128i)v);
#else
  Vec wide;
  for (int i = 0; i < kLanes; ++i) wide[i] = float_of_half(v[i]);
  return wide;
#endif
}
PN_INLINE ShortVec narrow(Vec v, Half) {
  v = v == v ? v : (Vec)(BitVec{} + 0x7fffffff);  // of NaNs 0x7fff alone
#if defined(__AVX512F__)
  return (ShortVec)_mm512_maskz_cvtps_ph(0xffff, (__m512)v, _MM_FROUND_TO_NEAREST_INT);
#elif defined(__F16C__)
  return (ShortVec)_mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT);
#else
  ShortVec bits;
  for (int i = 0; i < kLanes; ++i) bits[i] = bits_of_half(v[i]);
  return bits;
#endif
}
template <class T>
PN_INLINE Vec load(const T* p, auto n) {  // zeros beyond n
  auto v = narrow(Vec{}, T());
  __builtin_memcpy(&v, p, size_t(n) * sizeof(T));
  return widen(v, T());
}
template <class T>
PN_INLINE void store(T* p, Vec wide, auto n) {
  const auto v = narrow(wide, T());
  __builtin_memcpy(p, &v, size_t(n) * sizeof(T));
}
// One element.
PN_INLINE float number(const float* p) { return *p; }
template <class T>
PN_INLINE float number(const T* p) {
  return load(p, 1)[0];
}

PN_INLINE IntVec load_bytes(const uint8_t* p, int n) {
  ByteVec v{};
  __builtin_memcpy(&v, p, size_t(n));
  return __builtin_convertvector(v, IntVec);
}
PN_INLINE void store_bytes(uint8_t* p, IntVec wide, int n) {
  const ByteVec v = __builtin_convertvector(wide, ByteVec);
  __builtin_memcpy(p, &v, size_t(n));
}

// REQUIRES p aligned to a vector. Past the caches, for what is not read again soon.
template <class T>
PN_INLINE void stream(T* p, Vec wide) {
  const auto v = narrow(wide, T());
#ifdef __AVX512F__
  if constexpr (sizeof v == 64) return _mm512_stream_ps(p, (__m512)v);
#endif
#ifdef __AVX2__
  if constexpr (sizeof v == 32)
    return _mm256_stream_si256(reinterpret_cast<__m256i*>(p), (__m256i)v);
#endif
  __m128i parts[sizeof v / 16];
  __builtin_memcpy(parts, &v, sizeof v);
  for (size_t i = 0; i < sizeof v / 16; ++i)
    _mm_stream_si128(reinterpret_cast<__m128i*>(p) + i, parts[i]);
}

// One page on, where the processor's own prefetch stops.
PN_INLINE void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p) + 4096, _MM_HINT_T0);
}

// a * b + c, rounded once where the machine can.
PN_INLINE Vec mul_add(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
  return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

// One bit per lane, lowest first: v > 0.
PN_INLINE uint32_t positive(Vec v) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_GT_OQ);
#elif defined(__AVX2__)
  return uint32_t(_mm256_movemask_ps(_mm256_cmp_ps((__m256)v, _mm256_setzero_ps(), _CMP_GT_OQ)));
#else
  __m128 half[2];
  const IntVec greater = v > Vec{};
  __builtin_memcpy(half, &greater, sizeof half);
  return uint32_t(_mm_movemask_ps(half[0]) | _mm_movemask_ps(half[1]) << 4);
#endif
}
// v where the lane's bit is set, else 0.
PN_INLINE Vec keep(Vec v, uint32_t bits) {
#ifdef __AVX512F__
  return (Vec)_mm512_maskz_mov_ps(__mmask16(bits), (__m512)v);
#else
  const IntVec lane_bit = {1, 2, 4, 8, 16, 32, 64, 128};
  return (Vec)((IntVec)v & (((IntVec{} + int32_t(bits)) & lane_bit) != 0));
#endif
}

// Bits e .. e+n-1 of a mask. Whole bytes at once where e allows it, as it does in every row of a
// tensor whose channels are a multiple of the lanes; else bit by bit, onto zeros.
PN_INLINE uint32_t load_bits(const uint8_t* mask, int64_t e, int n) {
  uint32_t bits = 0;
  if (n == kLanes && e % 8 == 0)
    __builtin_memcpy(&bits, mask + e / 8, kLanes / 8);
  else
    for (int i = 0; i < n; ++i) bits |= uint32_t(mask[(e + i) / 8] >> (e + i) % 8 & 1) << i;
  return bits;
}
PN_INLINE void store_bits(uint8_t* mask, int64_t e, uint32_t bits, int n) {
  if (n == kLanes && e % 8 == 0)
    __builtin_memcpy(mask + e / 8, &bits, kLanes / 8);
  else
    for (int i = 0; i < n; ++i) mask[(e + i) / 8] |= uint8_t((bits >> i & 1) << (e + i) % 8);
}

// f(c, n) for the vectors of [begin, end), the last one in part.
template <class F>
PN_INLINE void for_vectors(int64_t begin, int64_t end, F f) {
  int64_t c = begin;
  for (; c + kLanes <= end; c += kLanes) f(c, Full{});
  if (c < end) f(c, int(end - c));
}

// What is written as a plain loop of floats works in blocks: in place where the storage is f32,
// else in a buffer of kBlock floats, `read` before and `write_back` after the loop.
constexpr int64_t kBlock = 1024;
template <class T>
constexpr int64_t kBlockOf = std::is_same_v<T, float> ? int64_t{1} << 40 : kBlock;
PN_INLINE float* read(const float* p, int64_t, float*) { return const_cast<float*>(p); }
template <class T>
PN_INLINE float* read(const T* p, int64_t n, float* buffer) {
  for_vectors(0, n, [&](int64_t i, auto m) { store(buffer + i, load(p + i, m), m); });
  return buffer;
}
// p = buffer, or p += buffer.
template <class T>
PN_INLINE void write_back(T* p, int64_t n, const float* buffer, bool add = false) {
  if (static_cast<const void*>(p) == buffer) return;
  for_vectors(0, n, [&](int64_t i, auto m) {
    const Vec v = load(buffer + i, m);
    store(p + i, add ? load(p + i, m) + v : v, m);
  });
}

// f(std::true_type or std::false_type), so that the inner loop holds no branch.
template <class F>
PN_INLINE void with(bool condition, F f) {
  if (condition)
    f(std::true_type{});
  else
    f(std::false_type{});
}

struct Range {
  int64_t begin, end;
};
// The part of `count` chunks that thread t of n does. Chunks depend on shapes alone and no sum
// runs over two of them, so the number of threads changes no bit.
PN_INLINE Range share(int64_t count, int t, int n) { return {count * t / n, count * (t + 1) / n}; }

PN_INLINE int64_t largest(int64_t a, int64_t b) { return a > b ? a : b; }
PN_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// f(thread, threads) on as many threads as there is work for.
template <class F>
PN_INLINE void parallel(int64_t chunks, F f) {
  const int threads = chunks < compute_threads() ? int(chunks) : compute_threads();
  if (threads <= 1) return f(0, 1);
#pragma omp parallel num_threads(threads)
  f(omp_get_thread_num(), omp_get_num_threads());
}
// Between two passes of one `parallel`.
PN_INLINE void barrier() {
  _mm_sfence();  // streamed stores are not ordered by the barrier itself
#pragma omp barrier
}

constexpr int64_t kChunk = 1 << 16;  // elements: a quarter of a usual L2

// f(begin, end) over [0, count) in fixed chunks.
template <class F>
PN_INLINE void for_chunks(int64_t count, int64_t chunk, F f) {
  const int64_t chunks = (count + chunk - 1) / chunk;
  parallel(chunks, [&](int t, int n) {
    const Range mine = share(chunks, t, n);
    for (int64_t i = mine.begin; i < mine.end; ++i) f(i * chunk, least((i + 1) * chunk, count));
  });
}

// A tensor [rows, channels] in chunks of whole rows: about 64 of them, none tiny, none so long that
// its sums in f32 suffer. A multiple of 8 rows ends at a byte of a mask.
struct RowChunks {
  int64_t rows, channels, size, count;
};
PN_INLINE RowChunks row_chunks(const View& x) {
  const int64_t channels = x.dims[x.rank - 1], rows = x.count() / channels;
  const int64_t size = least(largest(rows / 64, 8192 / channels), 4096) / 8 * 8 + 8;
  return {rows, channels, size, (rows + size - 1) / size};
}
// f(first row, how many: an integral_constant) over `rows`, several at once where they are short:
// that saves work per channel. Beyond 1 KiB the processor no longer foresees what is read next:
// 28 GB/s in place of 47 (Zen 4, 256 channels).
template <class F>
PN_INLINE void for_rows(Range rows, int64_t channels, F f) {
  int64_t row = rows.begin;
  if (channels <= 64)
    for (; row + 4 <= rows.end; row += 4) f(row, std::integral_constant<int, 4>{});
  if (channels <= 128)
    for (; row + 2 <= rows.end; row += 2) f(row, std::integral_constant<int, 2>{});
  for (; row < rows.end; ++row) f(row, std::integral_constant<int, 1>{});
}
// f(range of channels), at most kBlock at once, so that their sums and constants stay in the
// innermost cache beside the rows.
template <class F>
PN_INLINE void for_blocks(int64_t channels, F f) {
  for (int64_t c = 0; c < channels; c += kBlock) f(Range{c, least(c + kBlock, channels)});
}
PN_INLINE Range rows_of(const RowChunks& c, int64_t i) {
  return {i * c.size, least((i + 1) * c.size, c.rows)};
}

// View::bytes(), but never left to the linker.
PN_INLINE size_t bytes_of(const View& v) {
  size_t bytes = v.rank ? size_of(v.dtype) : 0;
  for (int i = 0; i < v.rank; ++i) bytes *= size_t(v.dims[i]);
  return bytes;
}
PN_INLINE bool same_shape(const View& a, const View& b) {
  bool same = a.rank == b.rank;
  for (int i = 0; i < a.rank; ++i) same = same && a.dims[i] == b.dims[i];
  return same;
}
// Calls f with a value of the stored type: dispatch(x.dtype, [&]<class T>(T) { ... }).
template <class F>
PN_INLINE Status dispatch(Dtype dtype, F f) {
  PN_REQUIRE_DTYPE(is_stored(dtype));
  if (dtype == Dtype::f32) f(float());
  if (dtype == Dtype::f16) f(Half());
  if (dtype == Dtype::bf16) f(Bfloat16());
  return {};
}
// Those that are present are stored alike.
template <class... Views>
PN_INLINE bool alike(const View& x, const Views&... others) {
  return ((!others || others.dtype == x.dtype) && ...);
}
// REQUIRES of a per-channel vector: absent or [channels] f32.
PN_INLINE bool channel_vector(const View& v, int64_t channels) {
  return !v || (v.rank == 1 && v.dims[0] == channels && v.dtype == Dtype::f32);
}

// Whether to write y past the caches: it would not stay there until somebody reads it.
PN_INLINE bool streams(const View& y) {
  constexpr size_t kLarge = size_t{32} << 20;  // a usual L3
  return bytes_of(y) > kLarge && y.dims[y.rank - 1] % kLanes == 0 &&
         reinterpret_cast<uintptr_t>(y.data) % kAlignment == 0;
}

}  // namespace pneuma::PN_ISA
