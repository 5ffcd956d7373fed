// Arithmetic of 16-bit floats as the hardware does it: round to nearest even, once; subnormals
// kept; NaN always the same one. cuda_fp16.h and cuda_bf16.h give it CUDA's names.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/host_cuda/device_side.h"

namespace pneuma::host_cuda {

inline uint16_t half_from_float(float value) {
  const uint32_t bits = bits_as<uint32_t>(value), magnitude = bits & 0x7FFFFFFF;
  const uint16_t sign = uint16_t(bits >> 16 & 0x8000);
  if (magnitude > 0x7F800000) return 0x7FFF;
  if (magnitude >= 0x477FF000) return sign | 0x7C00;  // 65520 and more
  if (magnitude < 0x38800000) {  // below 2^-14: adding 1/2 leaves multiples of 2^-24
    const float sum = bits_as<float>(magnitude) + 0.5f;
    return uint16_t(sign | (bits_as<uint32_t>(sum) - 0x3F000000));
  }
  const uint32_t rebiased = magnitude - 0x38000000;
  return uint16_t(sign | ((rebiased + 0xFFF + (rebiased >> 13 & 1)) >> 13));
}
inline float float_from_half(uint16_t bits) {
  const uint32_t sign = uint32_t(bits & 0x8000) << 16, magnitude = bits & 0x7FFF;
  if (magnitude > 0x7C00) return bits_as<float>(0x7FFFFFFFu);
  if (magnitude == 0x7C00) return bits_as<float>(sign | 0x7F800000);
  if (magnitude < 0x400) {
    const float value = float(magnitude) * 0x1p-24f;
    return sign ? -value : value;
  }
  return bits_as<float>(sign | ((magnitude << 13) + 0x38000000));
}
inline uint16_t bfloat16_from_float(float value) {
  const uint32_t bits = bits_as<uint32_t>(value);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return 0x7FFF;
  return uint16_t((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}
inline float float_from_bfloat16(uint16_t bits) { return bits_as<float>(uint32_t(bits) << 16); }

// a * b + c for conversion to 16 bits: rounded to odd, so that rounding again is as if only once.
// Boldo, Melquiond 2008, "Emulation of FMA and correctly rounded sums".
inline float fma_to_odd(float a, float b, float c) {
  const double product = double(a) * double(b), sum = product + double(c);  // the product is exact
  if (!std::isfinite(sum)) return float(sum);
  const double part = sum - product;
  const double error = (product - (sum - part)) + (double(c) - part);
  auto odd = [](auto value, auto bits, double rest) {  // rest: what is missing of the true value
    std::memcpy(&bits, &value, sizeof(bits));
    if (rest != 0 && !(bits & 1)) bits += (rest > 0) == (value > 0) ? 1 : -1;
    std::memcpy(&value, &bits, sizeof(bits));
    return value;
  };
  const double exact = sum == 0 ? sum : odd(sum, uint64_t(0), error);
  const float near = float(exact);
  if (!std::isfinite(near) || near == 0) return near;
  return odd(near, uint32_t(0), exact - double(near));
}

struct HalfFormat {
  static uint16_t from_float(float v) { return half_from_float(v); }
  static float to_float(uint16_t bits) { return float_from_half(bits); }
};
struct Bfloat16Format {
  static uint16_t from_float(float v) { return bfloat16_from_float(v); }
  static float to_float(uint16_t bits) { return float_from_bfloat16(bits); }
};

// A float of 16 bits. Stricter than CUDA's own: every conversion must be asked for.
template <class Format>
struct Sixteen {
  uint16_t bits;
  Sixteen() = default;
  explicit Sixteen(float v) : bits(Format::from_float(v)) {}
  explicit Sixteen(double v) : bits(Format::from_float(float(v))) {}
  explicit Sixteen(int v) : bits(Format::from_float(float(v))) {}
  explicit operator float() const { return Format::to_float(bits); }

  static Sixteen of(uint16_t bits) {
    Sixteen v;
    v.bits = bits;
    return v;
  }
  Sixteen operator-() const { return of(uint16_t(bits ^ 0x8000)); }
  friend Sixteen operator+(Sixteen a, Sixteen b) { return Sixteen(float(a) + float(b)); }
  friend Sixteen operator-(Sixteen a, Sixteen b) { return Sixteen(float(a) - float(b)); }
  friend Sixteen operator*(Sixteen a, Sixteen b) { return Sixteen(float(a) * float(b)); }
  friend Sixteen operator/(Sixteen a, Sixteen b) { return Sixteen(float(a) / float(b)); }
  friend bool operator==(Sixteen a, Sixteen b) { return float(a) == float(b); }
  friend bool operator<(Sixteen a, Sixteen b) { return float(a) < float(b); }
  friend bool operator>(Sixteen a, Sixteen b) { return float(a) > float(b); }

  friend Sixteen __hadd(Sixteen a, Sixteen b) { return a + b; }
  friend Sixteen __hsub(Sixteen a, Sixteen b) { return a - b; }
  friend Sixteen __hmul(Sixteen a, Sixteen b) { return a * b; }
  friend Sixteen __hneg(Sixteen a) { return -a; }
  friend Sixteen __hfma(Sixteen a, Sixteen b, Sixteen c) {
    return Sixteen(fma_to_odd(float(a), float(b), float(c)));
  }
  // Of NaN and a number, the number.
  friend Sixteen __hmax(Sixteen a, Sixteen b) { return Sixteen(std::fmax(float(a), float(b))); }
  friend Sixteen __hmin(Sixteen a, Sixteen b) { return Sixteen(std::fmin(float(a), float(b))); }
  friend bool __hgt(Sixteen a, Sixteen b) { return a > b; }
  friend bool __hlt(Sixteen a, Sixteen b) { return a < b; }
  friend bool __hisnan(Sixteen a) { return std::isnan(float(a)); }
};
template <class Format>
struct alignas(4) SixteenPair {
  using Pair = SixteenPair;
  Sixteen<Format> x, y;

  friend Pair __hadd2(Pair a, Pair b) { return {a.x + b.x, a.y + b.y}; }
  friend Pair __hsub2(Pair a, Pair b) { return {a.x - b.x, a.y - b.y}; }
  friend Pair __hmul2(Pair a, Pair b) { return {a.x * b.x, a.y * b.y}; }
  friend Pair __hmax2(Pair a, Pair b) { return {__hmax(a.x, b.x), __hmax(a.y, b.y)}; }
  friend Pair __hmin2(Pair a, Pair b) { return {__hmin(a.x, b.x), __hmin(a.y, b.y)}; }
  friend Pair __hfma2(Pair a, Pair b, Pair c) {
    return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};
  }
};

}  // namespace pneuma::host_cuda
