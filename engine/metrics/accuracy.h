// Counts of right answers, from logits: all that adds up to an accuracy, batch by batch.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <span>

namespace pneuma {

struct RightAnswers {
  int64_t counted = 0, right = 0;
  int64_t right_in_top_k = 0;  // single-label

  // Several findings: each known label is an answer, a logit > 0 (p > 1/2) says yes.
  void count_elements(std::span<const double> logits, std::span<const float> labels) {
    for (size_t i = 0; i < labels.size(); ++i) {
      if (std::isnan(labels[i])) continue;
      ++counted;
      right += (logits[i] > 0) == (labels[i] > 0.5f);
    }
  }
  // One class: right where no other logit is larger, nor an equal one stands before it; in the top
  // k where less than k are or do. A NaN is larger than everything.
  void count_image(std::span<const double> logits, int64_t label, int top_k) {
    int64_t before = 0;
    for (int64_t c = 0; c < int64_t(logits.size()); ++c) {
      const double z = logits[size_t(c)], own = logits[size_t(label)];
      before += c < label ? !(z < own) : c > label ? !(z <= own) : std::isnan(own);
    }
    ++counted;
    right += before == 0;
    right_in_top_k += before < top_k;
  }
  std::optional<double> accuracy() const { return share(right); }
  std::optional<double> top_k_accuracy() const { return share(right_in_top_k); }

 private:
  std::optional<double> share(int64_t of) const {
    if (counted == 0) return std::nullopt;
    return double(of) / double(counted);
  }
};

}  // namespace pneuma
