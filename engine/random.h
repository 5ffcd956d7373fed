// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011). A draw is a pure function of (seed, purpose, a, b,
// index), so the order of samples and their augmentation depend on no thread and no rank, and a
// position in a run is one integer.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <utility>

namespace pneuma {

// What a stream of numbers is for. Streams of different purposes never meet.
enum class Purpose : uint32_t {
  initial_weights = 1,
  shuffle = 2,
  augment = 3,
  split = 4,
  phantom = 5,
  test = 6
};

inline std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter,
                                      std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {uint32_t(p1 >> 32) ^ counter[1] ^ key[0], uint32_t(p1),
               uint32_t(p0 >> 32) ^ counter[3] ^ key[1], uint32_t(p0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

// A stream of numbers; copyable, cheap to make. `a` and `b` name the stream within its purpose
// (epoch, sample...).
class Random {
 public:
  Random(uint64_t seed, Purpose purpose, uint32_t a = 0, uint32_t b = 0)
      : key_{uint32_t(seed), uint32_t(seed >> 32)}, counter_{0, a, b, uint32_t(purpose)} {}

  uint32_t bits() {  // the next 32 random bits
    if (used_ == 4) {
      block_ = philox(counter_, key_);
      ++counter_[0];
      used_ = 0;
    }
    return block_[used_++];
  }
  double uniform() { return (bits() >> 8) * 0x1p-24; }  // [0, 1), 24 bits
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  uint32_t below(uint32_t n) {  // {0 .. n-1}, unbiased (Lemire 2019); REQUIRES n > 0
    uint64_t m = uint64_t{bits()} * n;
    if (uint32_t(m) < n) {
      const uint32_t threshold = (0u - n) % n;
      while (uint32_t(m) < threshold) m = uint64_t{bits()} * n;
    }
    return uint32_t(m >> 32);
  }
  double normal() {  // Box-Muller, two draws a number
    const double u = 1.0 - uniform(), v = uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
  }

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_{};
  int used_ = 4;
};

// In-place Fisher-Yates over any random-access container. REQUIRES size < 2^32.
template <class Container>
void shuffle(Container& items, Random random) {
  for (uint32_t i = uint32_t(items.size()); i > 1; --i)
    std::swap(items[i - 1], items[random.below(i)]);
}

}  // namespace pneuma
