// SHA-256 (FIPS 180-4), to compare payloads with what other software read.
#pragma once

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pneuma::testing {

// The first 32 bits of the fraction of a root of the n-th prime.
inline std::vector<uint32_t> prime_roots(size_t count, long double power) {
  std::vector<uint32_t> words;
  for (uint32_t n = 2; words.size() < count; ++n) {
    bool prime = true;
    for (uint32_t d = 2; d * d <= n; ++d) prime = prime && n % d != 0;
    long double whole;
    if (prime)
      words.push_back(uint32_t(std::modf(std::pow((long double)n, power), &whole) * 0x1p32L));
  }
  return words;
}

inline std::string sha256(std::span<const std::byte> bytes) {
  static const std::vector<uint32_t> k = prime_roots(64, 1 / 3.0L);
  std::vector<uint32_t> h = prime_roots(8, 1 / 2.0L);
  std::vector<uint8_t> text;
  for (const std::byte b : bytes) text.push_back(uint8_t(b));
  const uint64_t bits = text.size() * 8;
  text.push_back(0x80);
  while (text.size() % 64 != 56) text.push_back(0);
  for (int i = 7; i >= 0; --i) text.push_back(uint8_t(bits >> (8 * i)));
  for (size_t block = 0; block < text.size(); block += 64) {
    std::array<uint32_t, 64> w{};
    for (size_t i = 0; i < 16; ++i)
      for (size_t j = 0; j < 4; ++j) w[i] = w[i] << 8 | text[block + 4 * i + j];
    for (size_t i = 16; i < 64; ++i) {
      const uint32_t a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + w[i - 7] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) +
             (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
    }
    std::vector<uint32_t> v = h;
    for (size_t i = 0; i < 64; ++i) {
      const uint32_t a = v[0], e = v[4];
      const uint32_t t1 = v[7] + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                          ((e & v[5]) ^ (~e & v[6])) + k[i] + w[i];
      const uint32_t t2 = (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) +
                          ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
      v = {t1 + t2, a, v[1], v[2], v[3] + t1, e, v[5], v[6]};
    }
    for (size_t i = 0; i < 8; ++i) h[i] += v[i];
  }
  std::string hex;
  for (const uint32_t word : h) hex += fmt::format("{:08x}", word);
  return hex;
}

}  // namespace pneuma::testing
