// AUC and its interval: against scikit-learn, R's pROC, the defining sums, and by simulation.
#include "engine/metrics/auc.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/error.h"
#include "engine/io/atomic_file.h"
#include "engine/random.h"

namespace pneuma {
namespace {

constexpr float kUnknown = std::numeric_limits<float>::quiet_NaN();

struct Set {
  std::vector<float> scores, labels;
  std::vector<int64_t> patients;
  AucResult auc() const { return pneuma::auc(scores, labels, patients); }
};

std::vector<int64_t> one_image_each(size_t images) {
  std::vector<int64_t> patients(images);
  std::iota(patients.begin(), patients.end(), 0);
  return patients;
}

// `patients` patients of 1 to 5 images. Normal scores, `distance` apart by the label, whose
// correlation within a patient is `rho`; a `sick` share of the patients has the finding in 60 % of
// their images. The true AUC is Phi(distance / sqrt(2)).
Set clustered(uint32_t patients, double distance, double sick, double rho, Random random) {
  Set set;
  for (uint32_t p = 0; p < patients; ++p) {
    const double own = std::sqrt(rho) * random.normal();
    const bool ill = random.uniform() < sick;
    for (uint32_t images = 1 + random.below(5); images > 0; --images) {
      const bool positive = ill && random.uniform() < 0.6;
      set.scores.push_back(float(distance * positive + own + std::sqrt(1 - rho) * random.normal()));
      set.labels.push_back(positive);
      set.patients.push_back(p);
    }
  }
  return set;
}

// Small and nasty: few levels (ties), few patients, unknown labels.
Set small(uint32_t seed) {
  Random random(seed, Purpose::test);
  Set set;
  const uint32_t images = 4 + random.below(40), patients = 2 + random.below(12),
                 levels = 2 + random.below(20);
  for (uint32_t i = 0; i < images; ++i) {
    set.scores.push_back(float(random.below(levels)) / 8);
    set.labels.push_back(random.below(8) == 0 ? kUnknown : float(random.below(3) == 0));
    set.patients.push_back(int64_t(random.below(patients)) * 1'000'000'007 - 5);
  }
  return set;
}

// Obuchowski 1997 as printed, in O(n^2): psi, placements, S10, S01, S11.
struct Oracle {
  double auc = NAN, variance = NAN;
  explicit Oracle(const Set& set) {
    const auto psi = [&](size_t x, size_t y) {
      return set.scores[x] > set.scores[y] ? 1.0 : set.scores[x] == set.scores[y] ? 0.5 : 0.0;
    };
    std::vector<size_t> abnormal, normal;
    for (size_t i = 0; i < set.labels.size(); ++i)
      if (!std::isnan(set.labels[i])) (set.labels[i] == 1 ? abnormal : normal).push_back(i);
    const double big_m = double(abnormal.size()), big_n = double(normal.size());
    double sum = 0;
    for (size_t x : abnormal)
      for (size_t y : normal) sum += psi(x, y);
    auc = sum / (big_m * big_n);
    struct Patient {
      double m = 0, n = 0, v10 = 0, v01 = 0;
    };
    std::map<int64_t, Patient> patients;
    for (size_t x : abnormal) {
      double v10 = 0;
      for (size_t y : normal) v10 += psi(x, y) / big_n;
      patients[set.patients[x]].m += 1;
      patients[set.patients[x]].v10 += v10;
    }
    for (size_t y : normal) {
      double v01 = 0;
      for (size_t x : abnormal) v01 += psi(x, y) / big_m;
      patients[set.patients[y]].n += 1;
      patients[set.patients[y]].v01 += v01;
    }
    double i10 = 0, i01 = 0, i = 0, s10 = 0, s01 = 0, s11 = 0;
    for (const auto& [id, p] : patients) {
      i += 1;
      i10 += p.m > 0;
      i01 += p.n > 0;
      s10 += (p.v10 - p.m * auc) * (p.v10 - p.m * auc);
      s01 += (p.v01 - p.n * auc) * (p.v01 - p.n * auc);
      s11 += (p.v10 - p.m * auc) * (p.v01 - p.n * auc);
    }
    if (i10 < 2 || i01 < 2) return;
    s10 *= i10 / ((i10 - 1) * big_m);
    s01 *= i01 / ((i01 - 1) * big_n);
    s11 *= i / (i - 1);
    variance = s10 / big_m + s01 / big_n + 2 * s11 / (big_m * big_n);
  }
};

nlohmann::json golden(const char* name) {
  return nlohmann::json::parse(
      read_file(std::filesystem::path(PNEUMA_SOURCE_DIR) / "tests/golden" / name, 1 << 20));
}

bool same(const AucResult& a, const AucResult& b) {  // to the last bit
  const auto equal = [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); };
  return a.auc == b.auc && equal(a.variance, b.variance) && a.ci_low == b.ci_low &&
         a.ci_high == b.ci_high && a.positives == b.positives && a.negatives == b.negatives;
}

double normal_cdf(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }

// Share of `simulations` whose interval holds the true AUC.
double coverage(int simulations, uint32_t patients, double distance, double sick, double rho,
                bool know_patients = true) {
  const double truth = normal_cdf(distance / std::sqrt(2.0));
  int covered = 0;
  for (int i = 0; i < simulations; ++i) {
    Set set = clustered(patients, distance, sick, rho, Random(99, Purpose::test, uint32_t(i)));
    if (!know_patients) set.patients = one_image_each(set.patients.size());
    const AucResult result = set.auc();
    covered += result.ci_low <= truth && truth <= result.ci_high;
  }
  return double(covered) / simulations;
}

}  // namespace

TEST_CASE("AUC equals scikit-learn's; variance and interval equal pROC's DeLong") {
  const nlohmann::json sets = golden("auc.json")["cases"], proc = golden("auc_proc.json")["cases"];
  REQUIRE(sets.size() == 10);
  REQUIRE(proc.size() == sets.size());
  for (size_t i = 0; i < sets.size(); ++i) {
    CAPTURE(sets[i]["name"].get<std::string>());
    REQUIRE(sets[i]["name"] == proc[i]["name"]);
    Set set{sets[i]["scores"], sets[i]["labels"], {}};
    set.patients = one_image_each(set.scores.size());
    const AucResult result = set.auc();
    REQUIRE(result.auc);
    const auto near = [](double a, const nlohmann::json& b) {
      return std::fabs(a - b.get<double>()) <= 1e-13;
    };
    CHECK(near(*result.auc, sets[i]["auc"]));
    CHECK(near(*result.auc, proc[i]["auc"]));
    CHECK(near(result.variance, proc[i]["variance"]));
    if (*result.auc == 0 || *result.auc == 1) continue;  // pROC: an interval of no width
    CHECK(near(result.ci_low, proc[i]["ci_low"]));
    CHECK(near(result.ci_high, proc[i]["ci_high"]));
  }
}

TEST_CASE("small clustered sets: equal to the sums that define them") {
  int defined = 0, estimable = 0;
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    CAPTURE(seed);
    const Set set = small(seed);
    const AucResult result = set.auc();
    const Oracle oracle(set);
    REQUIRE(result.auc.has_value() == !std::isnan(oracle.auc));
    if (!result.auc) continue;
    ++defined;
    CHECK(std::fabs(*result.auc - oracle.auc) <= 1e-12);
    REQUIRE(std::isnan(result.variance) == std::isnan(oracle.variance));
    if (std::isnan(result.variance)) continue;
    ++estimable;
    CHECK(std::fabs(result.variance - oracle.variance) <= 1e-12);
    CHECK(result.variance >= 0);
    CHECK(0 <= result.ci_low);
    CHECK(result.ci_low <= *result.auc);
    CHECK(*result.auc <= result.ci_high);
    CHECK(result.ci_high <= 1);
  }
  CHECK(defined > 1500);
  CHECK(estimable > 1500);
}

TEST_CASE("what changes nothing, and what mirrors") {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    const Set set = small(seed);
    const AucResult result = set.auc();
    if (!result.auc) continue;
    CAPTURE(seed);

    std::vector<uint32_t> order(set.scores.size());
    std::iota(order.begin(), order.end(), 0);
    shuffle(order, Random(seed, Purpose::shuffle));
    Set shuffled;
    for (uint32_t i : order) {
      shuffled.scores.push_back(std::exp(set.scores[i]) - 3);  // rising, so no pair changes
      shuffled.labels.push_back(set.labels[i]);
      shuffled.patients.push_back(set.patients[i] + 77);
    }
    CHECK(same(shuffled.auc(), result));

    Set known;
    for (size_t i = 0; i < set.scores.size(); ++i)
      if (!std::isnan(set.labels[i])) {
        known.scores.push_back(set.scores[i]);
        known.labels.push_back(set.labels[i]);
        known.patients.push_back(set.patients[i]);
      }
    CHECK(same(known.auc(), result));

    Set mirrored = set;
    for (float& score : mirrored.scores) score = -score;
    const AucResult other = mirrored.auc();
    CHECK(*other.auc == doctest::Approx(1 - *result.auc).epsilon(1e-12));
    CHECK(std::fabs(other.ci_low - (1 - result.ci_high)) <= 1e-12);
    for (float& label : mirrored.labels) label = 1 - label;
    CHECK(*mirrored.auc().auc == doctest::Approx(*result.auc).epsilon(1e-12));

    // A patient's image shown three times is no news: as if it had been shown once.
    Set once = set, thrice;
    once.patients = one_image_each(set.scores.size());
    for (int copy = 0; copy < 3; ++copy) {
      thrice.scores.insert(thrice.scores.end(), once.scores.begin(), once.scores.end());
      thrice.labels.insert(thrice.labels.end(), once.labels.begin(), once.labels.end());
      thrice.patients.insert(thrice.patients.end(), once.patients.begin(), once.patients.end());
    }
    const double variance = once.auc().variance;
    if (!std::isnan(variance)) CHECK(std::fabs(thrice.auc().variance - variance) <= 1e-12);
  }
}

TEST_CASE("undefined, perfect, hopeless, and too few patients") {
  const auto result = [](std::vector<float> scores, std::vector<float> labels,
                         std::vector<int64_t> patients) { return auc(scores, labels, patients); };
  CHECK(!result({}, {}, {}).auc);
  CHECK(!result({.1f, .2f}, {1, 1}, {0, 1}).auc);
  CHECK(!result({.1f, .2f}, {0, kUnknown}, {0, 1}).auc);
  CHECK(result({.1f, .2f}, {0, kUnknown}, {0, 1}).negatives == 1);

  // Three pairs of patients: 0.025^(1/3); the images of one patient count once.
  const AucResult perfect =
      result({.1f, .2f, .3f, .7f, .8f, .9f, .95f}, {0, 0, 0, 1, 1, 1, 1}, {0, 1, 2, 3, 4, 5, 5});
  CHECK(*perfect.auc == 1);
  CHECK(perfect.ci_low == doctest::Approx(0.2924017738).epsilon(1e-9));
  CHECK(perfect.ci_high == 1);
  const AucResult hopeless =
      result({.9f, .8f, .7f, .3f, .2f, .1f}, {0, 0, 0, 1, 1, 1}, {0, 1, 2, 3, 4, 5});
  CHECK(*hopeless.auc == 0);
  CHECK(hopeless.ci_low == 0);
  CHECK(hopeless.ci_high == doctest::Approx(1 - 0.2924017738).epsilon(1e-9));
  // Three patients with both kinds of images make but one pair of different patients.
  CHECK(result({.1f, .2f, .3f, .7f, .8f, .9f}, {0, 0, 0, 1, 1, 1}, {0, 1, 2, 0, 1, 2}).ci_low ==
        doctest::Approx(0.025));
  // One patient with a positive: nothing is known about the next one.
  const AucResult lone = result({.1f, .5f, .9f, .6f}, {0, 0, 0, 1}, {0, 1, 2, 3});
  CHECK(*lone.auc == doctest::Approx(2.0 / 3));
  CHECK(std::isnan(lone.variance));
  CHECK(lone.ci_low == 0);
  CHECK(lone.ci_high == 1);

  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(*result({-infinity, 0, infinity}, {0, 0, 1}, {0, 1, 2}).auc == 1);
  CHECK_THROWS_AS(result({kUnknown, 0}, {0, 1}, {0, 1}), Error);
  CHECK_THROWS_AS(result({.5f, 0}, {0, -1}, {0, 1}), Error);
}

TEST_CASE("an AUC of 1: its chance is at most AUC^n for n pairs of patients, not of images") {
  // Two ill and two healthy patients, ten images each, nearly alike within a patient.
  constexpr int kSimulations = 4000;
  const double truth = normal_cdf(0.5 / std::sqrt(2.0)), rho = 0.98;
  int perfect = 0;
  for (uint32_t i = 0; i < kSimulations; ++i) {
    Random random(5, Purpose::test, i);
    Set set;
    for (int patient = 0; patient < 4; ++patient) {
      const double own = std::sqrt(rho) * random.normal() + (patient < 2 ? 0.5 : 0.0);
      for (int image = 0; image < 10; ++image) {
        set.scores.push_back(float(own + std::sqrt(1 - rho) * random.normal()));
        set.labels.push_back(patient < 2);
        set.patients.push_back(patient);
      }
    }
    const AucResult result = set.auc();
    if (result.auc != 1) continue;
    ++perfect;
    CHECK(result.ci_low == doctest::Approx(std::sqrt(0.025)));
  }
  const double share = double(perfect) / kSimulations;
  CHECK(share <= std::pow(truth, 2));
  CHECK(share > 100 * std::pow(truth, 20));
}

TEST_CASE("95 % intervals hold the truth where patients have several images") {
  // 94 to 96 %, widened by 3.3 standard errors of 2000 simulations (1 in 1000).
  const double slack = 3.3 * std::sqrt(0.95 * 0.05 / 2000);
  const double share = coverage(2000, 400, 1.2, 0.3, 0.7);
  MESSAGE("coverage ", share);
  CHECK(share >= 0.94 - slack);
  CHECK(share <= 0.96 + slack);
  CHECK(coverage(500, 400, 1.2, 0.3, 0.7, false) < 0.92);  // DeLong, blind to patients, is too sure
}

TEST_CASE("95 % intervals hold the truth in 94 to 96 % of 40,000 simulations [slow]") {
  const struct {
    uint32_t patients;
    double distance, sick, rho;
  } scenes[] = {{500, 1.2, 0.3, 0.7}, {500, 0.5, 0.4, 0.3}, {1000, 1.2, 0.2, 0.9}};
  for (const auto& [patients, distance, sick, rho] : scenes) {
    const double share = coverage(40'000, patients, distance, sick, rho);
    MESSAGE(patients, " patients, distance ", distance, ", ill ", sick, ", correlation ", rho,
            ": coverage ", share);
    CHECK(share >= 0.94);
    CHECK(share <= 0.96);
  }
}

TEST_CASE("the table leaves undefined AUCs out of the mean and says how many count") {
  //                              finding 0, 1 (never present), 2 (unknown but for two)
  const std::vector<float> scores = {.1f, .5f, .9f, .4f, .5f, .3f, .3f, .5f, .2f, .8f, .5f, .6f};
  const std::vector<float> labels = {0, 0, 0, 0, 0, 1, 1, 0, kUnknown, 1, 0, kUnknown};
  const std::vector<int64_t> patients = {0, 1, 2, 3};
  const AucTable table = auc_table(scores, labels, patients, 3);
  REQUIRE(table.classes.size() == 3);
  CHECK(*table.classes[0].auc == 0.75);
  CHECK(!table.classes[1].auc);
  CHECK(table.classes[1].negatives == 4);
  CHECK(*table.classes[2].auc == 0);
  CHECK(table.classes_counted == 2);
  CHECK(*table.macro_auc == 0.375);
  CHECK(!auc_table({}, {}, {}, 3).macro_auc);
}

TEST_CASE("accuracy is element-wise at 0.5 over the known labels") {
  const std::vector<float> p = {.4f, .6f, .5f, .9f, .1f}, y = {0, 1, 1, kUnknown, 1};
  CHECK(*accuracy(p, y) == 0.5);
  CHECK(!accuracy({}, {}));
}

TEST_CASE("the whole ChestX-ray14 (112,120 images of 30,805 patients, 14 findings) in a second") {
  constexpr size_t kImages = 112'120, kFindings = 14;
  Random random(3, Purpose::test);
  std::vector<float> scores(kImages * kFindings), labels(kImages * kFindings);
  for (float& score : scores) score = float(random.uniform());
  for (float& label : labels) label = random.below(20) == 0;
  std::vector<int64_t> patients(kImages);
  for (int64_t& patient : patients) patient = random.below(30'805);
  const std::clock_t start = std::clock();
  const AucTable table = auc_table(scores, labels, patients, kFindings);
  const double seconds = double(std::clock() - start) / CLOCKS_PER_SEC;
  MESSAGE(seconds, " s");
  CHECK(seconds < 1);
  CHECK(std::fabs(*table.macro_auc - 0.5) < 0.01);
}

}  // namespace pneuma
