// The two 16-bit number formats as the host stores them: IEEE 754 binary16 (5 bits of exponent, 10
// of fraction) and bfloat16 (the upper half of a float: 8 and 7). Loading is exact; storing rounds
// to the nearest, ties to even, as the hardware does; a value beyond the largest becomes infinity
// and a NaN stays a NaN. Arithmetic is done in float. eps: the step from 1 to the next number. The
// functions have internal linkage: the cpu device compiles this once per instruction set.
#pragma once

#include <bit>
#include <cstdint>

namespace pneuma {

static constexpr uint16_t bits_of_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), sign = bits >> 16 & 0x8000;
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7fff;                    // NaN
  if (magnitude >= 0x47800000) return uint16_t(sign | 0x7c00);  // 2^16 and above
  if (magnitude < 0x38800000) {                                 // under 2^-14: subnormal
    // Adding 0.5 puts the last bit that is kept, 2^-24, at the end of the float's fraction, so that
    // the addition rounds as wanted.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return uint16_t(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000));
  }
  const uint32_t odd = magnitude >> 13 & 1;
  return uint16_t(sign | ((magnitude - 0x38000000 + 0xfff + odd) >> 13));  // may carry to infinity
}
static constexpr float float_of_half(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000) << 16, magnitude = half & 0x7fff;
  if (magnitude >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000 | magnitude << 13);
  if (magnitude < 0x0400) {  // subnormal: magnitude * 2^-24
    const float value = float(magnitude) * 0x1p-24f;
    return sign ? -value : value;
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000));
}

static constexpr uint16_t bits_of_bfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;  // NaN
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
static constexpr float float_of_bfloat16(uint16_t bits) {
  return std::bit_cast<float>(uint32_t(bits) << 16);
}

struct Half {
  static constexpr float eps = 0x1p-10f;
  uint16_t bits;
  Half() = default;
  constexpr explicit Half(float value) : bits(bits_of_half(value)) {}
  constexpr operator float() const { return float_of_half(bits); }
};
struct Bfloat16 {
  static constexpr float eps = 0x1p-7f;
  uint16_t bits;
  Bfloat16() = default;
  constexpr explicit Bfloat16(float value) : bits(bits_of_bfloat16(value)) {}
  constexpr operator float() const { return float_of_bfloat16(bits); }
};

}  // namespace pneuma
