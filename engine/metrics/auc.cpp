#include "engine/metrics/auc.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/error.h"

namespace pneuma {
namespace {

constexpr double kNormal975 = 1.959963984540054;  // 97.5 % quantile of the normal distribution

struct Image {
  float score;
  bool positive;
  int64_t patient;
  int64_t wins;  // twice the number of images of the other class on the right side, ties once
};

std::vector<Image> known_images(std::span<const float> scores, std::span<const float> labels,
                                std::span<const int64_t> patients) {
  std::vector<Image> images;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (std::isnan(labels[i])) continue;
    if (labels[i] != 0 && labels[i] != 1)
      fail(Exit::data, "AUC: the label of image {} is {}; it must be 0, 1 or unknown", i,
           labels[i]);
    if (std::isnan(scores[i]))
      fail(Exit::numeric, "AUC: the score of image {} is not a number; check the model", i);
    images.push_back({scores[i], labels[i] == 1, patients[i], 0});
  }
  return images;
}

// Fills in `wins` and returns their sum over the positives: 2 * AUC * positives * negatives.
int64_t count_wins(std::vector<Image>& images, int64_t positives) {
  std::sort(images.begin(), images.end(),
            [](const Image& a, const Image& b) { return a.score < b.score; });
  int64_t below[2] = {0, 0}, sum = 0;  // negatives and positives of lower scores
  for (auto first = images.begin(); first != images.end();) {
    int64_t equal[2] = {0, 0};
    auto last = first;
    for (; last != images.end() && last->score == first->score; ++last) ++equal[last->positive];
    for (; first != last; ++first) {
      first->wins = first->positive ? 2 * below[0] + equal[0]
                                    : 2 * (positives - below[1] - equal[1]) + equal[1];
      if (first->positive) sum += first->wins;
    }
    below[0] += equal[0];
    below[1] += equal[1];
  }
  return sum;
}

// Obuchowski 1997, equations for S10, S01, S11 in her notation: a patient's placements minus what
// the AUC predicts for them, squared and summed over patients.
struct Clusters {
  int64_t with_positives = 0, with_negatives = 0, all = 0;
  double variance = 0;
};

Clusters cluster_variance(std::vector<Image>& images, double auc, double positives,
                          double negatives) {
  std::sort(images.begin(), images.end(),
            [](const Image& a, const Image& b) { return a.patient < b.patient; });
  Clusters clusters;
  double s10 = 0, s01 = 0, s11 = 0;
  for (auto image = images.begin(); image != images.end();) {
    int64_t count[2] = {0, 0}, wins[2] = {0, 0};
    for (const int64_t patient = image->patient; image != images.end() && image->patient == patient;
         ++image) {
      ++count[image->positive];
      wins[image->positive] += image->wins;
    }
    const double x = double(wins[1]) / (2 * negatives) - double(count[1]) * auc;
    const double y = double(wins[0]) / (2 * positives) - double(count[0]) * auc;
    s10 += x * x;
    s01 += y * y;
    s11 += x * y;
    ++clusters.all;
    clusters.with_positives += count[1] > 0;
    clusters.with_negatives += count[0] > 0;
  }
  if (clusters.with_positives < 2 || clusters.with_negatives < 2) {
    clusters.variance = std::numeric_limits<double>::quiet_NaN();
    return clusters;
  }
  const auto unbiased = [](int64_t n) { return double(n) / double(n - 1); };
  clusters.variance = unbiased(clusters.with_positives) * s10 / (positives * positives) +
                      unbiased(clusters.with_negatives) * s01 / (negatives * negatives) +
                      unbiased(clusters.all) * s11 * 2 / (positives * negatives);
  return clusters;
}

}  // namespace

AucResult auc(std::span<const float> scores, std::span<const float> labels,
              std::span<const int64_t> patients) {
  std::vector<Image> images = known_images(scores, labels, patients);
  AucResult result;
  for (const Image& image : images) ++(image.positive ? result.positives : result.negatives);
  if (result.positives == 0 || result.negatives == 0) return result;

  const double m = double(result.positives), n = double(result.negatives);
  const double area = double(count_wins(images, result.positives)) / (2 * m * n);
  const Clusters clusters = cluster_variance(images, area, m, n);
  result.auc = area;
  result.variance = clusters.variance;
  if (area == 0 || area == 1) {
    const int64_t pairs =
        std::min({clusters.with_positives, clusters.with_negatives, clusters.all / 2});
    const double bound = std::pow(0.025, 1 / double(std::max<int64_t>(pairs, 1)));
    result.ci_low = area == 1 ? bound : 0;
    result.ci_high = area == 1 ? 1 : 1 - bound;
  } else if (!std::isnan(clusters.variance)) {
    const double half = kNormal975 * std::sqrt(clusters.variance);
    result.ci_low = std::max(0.0, area - half);
    result.ci_high = std::min(1.0, area + half);
  }
  return result;
}

AucTable auc_table(std::span<const float> scores, std::span<const float> labels,
                   std::span<const int64_t> patients, size_t classes) {
  AucTable table;
  std::vector<float> column_scores(patients.size()), column_labels(patients.size());
  double sum = 0;
  for (size_t c = 0; c < classes; ++c) {
    for (size_t i = 0; i < patients.size(); ++i) {
      column_scores[i] = scores[i * classes + c];
      column_labels[i] = labels[i * classes + c];
    }
    table.classes.push_back(auc(column_scores, column_labels, patients));
    if (!table.classes.back().auc) continue;
    sum += *table.classes.back().auc;
    ++table.classes_counted;
  }
  if (table.classes_counted > 0) table.macro_auc = sum / double(table.classes_counted);
  return table;
}

std::optional<double> accuracy(std::span<const float> probabilities,
                               std::span<const float> labels) {
  int64_t known = 0, right = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (std::isnan(labels[i])) continue;
    ++known;
    right += (probabilities[i] > 0.5f) == (labels[i] > 0.5f);
  }
  if (known == 0) return std::nullopt;
  return double(right) / double(known);
}

}  // namespace pneuma
