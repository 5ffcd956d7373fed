// What 16-bit storage would do to the values of a tensor, counted from values in f64 and rounded
// once, to the nearest, ties to even (kernels/half.h). Every loss scale from 2^0 to 2^24 is counted
// in one pass: a scale moves a value's exponent and nothing else.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>

namespace pneuma {

struct Format {
  const char* name;
  int fraction;         // bits
  int lowest, highest;  // exponents of its normal numbers
  float (*round)(float);

  double zero() const;      // |v| <= this becomes 0
  double normal() const;    // |v| >= this becomes a normal number; between the two a subnormal one
  double overflow() const;  // |v| >= this becomes infinity
};
inline constexpr int kFormats = 2, kScales = 25;
extern const Format kFormat[kFormats];  // float16, bfloat16

// Of the values that are not 0.
struct Losses {
  int64_t zero = 0, subnormal = 0, overflow = 0;
};

struct Tally {
  static constexpr int kFirst = -48, kBins = 68;  // log2 of the first bin's lower end
  int64_t count = 0, zeros = 0;                   // zeros: exactly 0, and no loss in any format
  std::array<int64_t, kBins> bins{};  // by floor(log2 |v|); what lies beyond is in the outer bins

  int64_t nonzero() const { return count - zeros; }
  void add(std::span<const double> values);  // REQUIRES finite ones
  void add(const Tally& other);
  Losses losses(int format, int scale_log2) const;

 private:
  // [format][border][n]: values that lie below zero(), normal(), overflow() at exactly the n lowest
  // scales.
  std::array<std::array<std::array<int64_t, kScales + 1>, 3>, kFormats> below_{};
};

// Its figures; `scales` loss scales from 2^0 on. Bins by their log2, the empty ones left out.
nlohmann::json json_of(const Tally& tally, int scales);

// The log2 of the scale at which the format loses least: the fewest values overflow (one of them
// loses the whole step), then the fewest become 0, then subnormal; of equals the lowest.
int best_scale(const Tally& gradients, int format);

// Weights that move, and those of them that would not if they were stored in the format and the
// update were added there: round(round(w) + update) == round(w).
struct LostUpdates {
  int64_t moved = 0;
  std::array<int64_t, kFormats> lost{};
  void add(std::span<const double> weights, std::span<const double> updates);
  void add(const LostUpdates& other);
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LostUpdates, moved, lost)

// ||t - exact|| / ||exact||; infinity where t is not finite, or exact is 0 and t is not.
double relative_error(std::span<const double> t, std::span<const double> exact);

}  // namespace pneuma
