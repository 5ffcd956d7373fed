#include "engine/metrics/rounding.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "kernels/half.h"

namespace pneuma {

const Format kFormat[kFormats] = {
    {"float16", 10, -14, 15, [](float v) { return float(Half(v)); }},
    {"bfloat16", 7, -126, 127, [](float v) { return float(Bfloat16(v)); }}};

double Format::zero() const { return std::ldexp(1, lowest - fraction - 1); }
double Format::normal() const { return std::ldexp(1, lowest) - zero(); }
double Format::overflow() const {
  return std::ldexp(1, highest + 1) - std::ldexp(1, highest - fraction - 1);
}

void Tally::add(std::span<const double> values) {
  struct Border {
    double mantissa;  // in [0.5, 1), as frexp gives it
    int exponent;
  };
  Border borders[kFormats][3];
  for (int f = 0; f < kFormats; ++f) {
    const double next = std::nextafter(kFormat[f].zero(), 1);  // the first that does not become 0
    const double values_of[] = {next, kFormat[f].normal(), kFormat[f].overflow()};
    for (int b = 0; b < 3; ++b)
      borders[f][b].mantissa = std::frexp(values_of[b], &borders[f][b].exponent);
  }
  count += int64_t(values.size());
  for (const double v : values) {
    if (v == 0) {
      ++zeros;
      continue;
    }
    int exponent;
    const double mantissa = std::frexp(std::fabs(v), &exponent);
    ++bins[size_t(std::clamp(exponent - 1 - kFirst, 0, kBins - 1))];
    for (int f = 0; f < kFormats; ++f) {
      for (int b = 0; b < 3; ++b) {
        const Border& border = borders[f][b];
        const int n = border.exponent - exponent + (mantissa < border.mantissa);
        ++below_[size_t(f)][size_t(b)][size_t(std::clamp(n, 0, kScales))];
      }
    }
  }
}

void Tally::add(const Tally& other) {
  count += other.count;
  zeros += other.zeros;
  for (size_t i = 0; i < bins.size(); ++i) bins[i] += other.bins[i];
  for (size_t f = 0; f < kFormats; ++f)
    for (size_t b = 0; b < 3; ++b)
      for (size_t n = 0; n <= kScales; ++n) below_[f][b][n] += other.below_[f][b][n];
}

Losses Tally::losses(int format, int scale_log2) const {
  int64_t below[3] = {};  // each border, at this scale
  for (size_t b = 0; b < 3; ++b)
    for (int n = scale_log2 + 1; n <= kScales; ++n)
      below[b] += below_[size_t(format)][b][size_t(n)];
  return {below[0], below[1] - below[0], count - zeros - below[2]};
}

nlohmann::json json_of(const Tally& t, int scales) {
  nlohmann::json j{{"values", t.count}, {"zeros", t.zeros}};
  for (int i = 0; i < Tally::kBins; ++i)
    if (t.bins[size_t(i)]) j["log2"][std::to_string(Tally::kFirst + i)] = t.bins[size_t(i)];
  for (int f = 0; f < kFormats; ++f) {
    nlohmann::json& of = j[kFormat[f].name];
    for (int scale = 0; scale < scales; ++scale) {
      const Losses l = t.losses(f, scale);
      of["zero"].push_back(l.zero);
      of["subnormal"].push_back(l.subnormal);
      of["overflow"].push_back(l.overflow);
    }
    if (scales > 1) of["best_scale_log2"] = best_scale(t, f);
  }
  return j;
}

int best_scale(const Tally& gradients, int format) {
  const auto badness = [&](int scale) {
    const Losses l = gradients.losses(format, scale);
    return std::tuple(l.overflow, l.zero, l.subnormal, scale);
  };
  int best = 0;
  for (int scale = 1; scale < kScales; ++scale)
    if (badness(scale) < badness(best)) best = scale;
  return best;
}

void LostUpdates::add(std::span<const double> weights, std::span<const double> updates) {
  for (size_t i = 0; i < weights.size(); ++i) {
    if (updates[i] == 0) continue;
    ++moved;
    for (int f = 0; f < kFormats; ++f) {
      const float stored = kFormat[f].round(float(weights[i]));
      lost[size_t(f)] += kFormat[f].round(float(stored + updates[i])) == stored;
    }
  }
}

void LostUpdates::add(const LostUpdates& other) {
  moved += other.moved;
  for (int f = 0; f < kFormats; ++f) lost[size_t(f)] += other.lost[size_t(f)];
}

double relative_error(std::span<const double> t, std::span<const double> exact) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    difference += (t[i] - exact[i]) * (t[i] - exact[i]);
    norm += exact[i] * exact[i];
  }
  const double error = difference == 0 ? 0 : std::sqrt(difference / norm);
  return error >= 0 ? error : std::numeric_limits<double>::infinity();  // a NaN is no comparison
}

}  // namespace pneuma
