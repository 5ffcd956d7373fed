// fp16 and bf16 as the hardware rounds them: every pattern, every tie, against a search in f64.
#include "kernels/host_cuda/sixteen_bits.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <random>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/host_cuda/include/cuda_bf16.h"
#include "kernels/host_cuda/include/cuda_fp16.h"

namespace {

// The value of a pattern, from its definition: sign, exponent, fraction.
double value_of(uint16_t bits, int fraction_bits, int bias) {
  const int fraction = bits & ((1 << fraction_bits) - 1);
  const int exponent = (bits & 0x7FFF) >> fraction_bits;
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 2 * bias + 1) return fraction ? NAN : sign * INFINITY;
  if (!exponent) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
}

// The pattern nearest to a positive value, ties to even, by bisection; what is half a step beyond
// the greatest finite one is infinite.
uint16_t nearest(double value, int fraction_bits, int bias) {
  const uint16_t infinity = uint16_t((2 * bias + 1) << fraction_bits);
  uint16_t low = 0, high = infinity;
  auto of = [&](uint16_t bits) {
    return bits == infinity ? std::ldexp(1, bias + 1) : value_of(bits, fraction_bits, bias);
  };
  while (high - low > 1) {
    const uint16_t middle = uint16_t((low + high) / 2);
    (of(middle) <= value ? low : high) = middle;
  }
  const double below = value - of(low), above = of(high) - value;
  return below < above || (below == above && low % 2 == 0) ? low : high;
}

template <class T>
void check_format(int fraction_bits, int bias) {
  for (uint32_t b = 0; b < 65536; ++b) {
    const T v = T::of(uint16_t(b));
    const double exact = value_of(uint16_t(b), fraction_bits, bias);
    if (std::isnan(exact)) {
      REQUIRE(std::isnan(float(v)));
      REQUIRE(T(float(v)).bits == 0x7FFF);
      continue;
    }
    REQUIRE(double(float(v)) == exact);
    REQUIRE(T(float(v)).bits == b);
    if (b >= 0x8000 || std::isinf(exact)) continue;
    // Between this pattern and the next: the tie, and the floats beside it.
    const double next = value_of(uint16_t(b + 1), fraction_bits, bias);
    const float tie =
        std::isinf(next)
            ? float(exact + (exact - value_of(uint16_t(b - 1), fraction_bits, bias)) / 2)
            : float(exact / 2 + next / 2);
    for (float f : {tie, std::nextafter(tie, 0.f), std::nextafter(tie, INFINITY)}) {
      REQUIRE(T(f).bits == nearest(double(f), fraction_bits, bias));
      REQUIRE(T(-f).bits == (nearest(double(f), fraction_bits, bias) | 0x8000));
    }
  }
}

}  // namespace

TEST_CASE("fp16: all patterns, all ties") { check_format<__half>(10, 15); }
TEST_CASE("bf16: all patterns, all ties") { check_format<__nv_bfloat16>(7, 127); }

#if defined(__x86_64__)
__attribute__((target("f16c"))) static int differs_from_f16c(float f) {
  return _cvtss_sh(f, 0) != __half(f).bits;
}
TEST_CASE("fp16: as the CPU's own conversion") {
  if (!__builtin_cpu_supports("f16c")) return;
  std::mt19937 random(1);
  int differ = 0;
  for (int i = 0; i < 1000000; ++i) {
    const float f = std::bit_cast<float>(uint32_t(random()));
    if (!std::isnan(f)) differ += differs_from_f16c(f);
  }
  CHECK(differ == 0);
}
#endif

// Sums of long double are exact for fp16's products, so one rounding of them is the true answer.
TEST_CASE("fp16: fma rounds once") {
  std::mt19937 random(2);
  for (int i = 0; i < 300000; ++i) {
    const __half a = __half::of(uint16_t(random() % 0x7C00)),
                 b = __half::of(uint16_t(random() % 0x7C00));
    // Near the negative of the product, or of any size.
    __half c = i % 2 ? __half::of(uint16_t(random() % 0x7C00 | (random() & 0x8000)))
                     : -__half(float(a) * float(b) * float(1 + double(random() % 9) / 1024));
    if (std::isinf(float(c))) continue;
    const double sum = double(float(a)) * double(float(b)) + double(float(c));
    const long double exact = (long double)(float(a)) * float(b) + float(c);
    if ((long double)sum != exact) continue;  // not to be judged in f64; few
    const uint16_t want = uint16_t(nearest(std::fabs(sum), 10, 15) | (sum < 0 ? 0x8000 : 0));
    REQUIRE(__hfma(a, b, c).bits == (sum == 0 ? 0 : want));
  }
  // 1 + 2^-11 is a tie; what follows far below must still decide it.
  CHECK(float(__hfma(__half(0x1p-7f), __half(0x1p-4f), __half(1.f))) == 1);
  CHECK(float(__hfma(__half::of(uint16_t(__half(0x1p-7f).bits + 1)), __half(0x1p-4f),
                     __half(1.f))) == 1 + 0x1p-10f);
}

TEST_CASE("pairs, names and NaN") {
  const __half2 a = __floats2half2_rn(1, 2), b = __float2half2_rn(3);
  CHECK(__half22float2(__hadd2(a, b)).y == 5);
  CHECK(__half22float2(__hfma2(a, b, a)).x == 4);
  CHECK(float(__hmax(__half(NAN), __half(1.f))) == 1);
  CHECK(__hmax(__half(NAN), __half(NAN)).bits == 0x7FFF);
  CHECK((__half(INFINITY) - __half(INFINITY)).bits == 0x7FFF);
  CHECK(__bfloat1622float2(__hmul2(__floats2bfloat162_rn(1, 2), __float2bfloat162_rn(3))).y == 6);
}
