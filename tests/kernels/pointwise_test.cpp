// The formulas of pointwise.h against long double and against numbers worked out by hand.
#include "kernels/pointwise.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <limits>

namespace pneuma::pointwise {
namespace {

constexpr double kLogits[] = {-1e4, -800, -80, -20, -1, -1e-3, 0, 1e-3, 1, 20, 80, 800, 1e4};

// log(1 + e^t) and 1 / (1 + e^-t) where long double holds them without a trick.
long double exact_softplus(long double t) { return t > 60 ? t : std::log1p(std::exp(t)); }

template <class T>
void check_loss(T tolerance) {
  for (const double z : kLogits) {
    for (const double y : {0.0, 0.3, 1.0}) {
      CAPTURE(z);
      CAPTURE(y);
      const T w_pos = 3, w_neg = T(0.5);
      T dz;
      const T loss = sigmoid_cross_entropy(T(z), T(y), w_pos, w_neg, &dz);
      const auto exact = [&](long double t) {
        return w_pos * (long double)T(y) * exact_softplus(-t) +
               w_neg * (1 - (long double)T(y)) * exact_softplus(t);
      };
      const long double l = exact(T(z)), h = 1e-6L;
      CHECK(std::isfinite(loss));
      CHECK(std::fabs(loss - l) <= tolerance * l + std::numeric_limits<T>::min());
      const long double slope = (exact(T(z) + h) - exact(T(z) - h)) / (2 * h);
      CHECK(std::fabs(dz - slope) <= 1e-9L + tolerance);
    }
  }
}

UpdateRule<double> rule(double weight_decay) {
  return {.learning_rate = 0.1,
          .momentum = 0.9,
          .beta_1 = 0.5,
          .beta_2 = 0.75,
          .eps = 0.5,
          .gamma = 0.75,
          .weight_decay = weight_decay,
          .adam_rate = 0.2};
}

}  // namespace

TEST_CASE("softplus neither overflows nor loses small values") {
  for (const double t : kLogits) {
    CAPTURE(t);
    const long double exact = exact_softplus(t);
    CHECK(std::fabs(softplus(t) - exact) <= 4e-16L * exact + 1e-307L);  // or underflows
    const long double exact_float = exact_softplus(float(t));
    CHECK(std::fabs(softplus(float(t)) - exact_float) <= 2.5e-7L * exact_float + 1e-37L);
  }
}

TEST_CASE("weighted sigmoid cross-entropy and its derivative, far out too") {
  check_loss<double>(1e-15);
  check_loss<float>(5e-7f);
}

TEST_CASE("an unknown label gives no loss and no gradient") {
  double dz = 7;
  CHECK(sigmoid_cross_entropy(3.0, std::numeric_limits<double>::quiet_NaN(), 2.0, 2.0, &dz) == 0);
  CHECK(dz == 0);
}

TEST_CASE("the loss's gradient keeps its relative precision where the label is right") {
  double dz;
  sigmoid_cross_entropy(40.0, 1.0, 1.0, 1.0, &dz);  // -sigmoid(-40), which 1 - p would round to 0
  CHECK(dz == doctest::Approx(-4.248354255291589e-18).epsilon(1e-12));
}

TEST_CASE("sgd: m = mu m - lr (g + wd w); w += m") {
  double w = 2, m = 0.5;
  rule(0.25).sgd(w, 1.5, m);  // 0.45 - 0.1 * 2
  CHECK(m == doctest::Approx(0.25).epsilon(1e-15));
  CHECK(w == doctest::Approx(2.25).epsilon(1e-15));
}

TEST_CASE("nag: g += wd w; m = mu m + g; w -= lr (g + mu m)") {
  double w = 2, m = 0.5;
  rule(0.25).nag(w, 1.5, m);  // g 2; m 2.45; w - 0.1 (2 + 2.205)
  CHECK(m == doctest::Approx(2.45).epsilon(1e-15));
  CHECK(w == doctest::Approx(1.5795).epsilon(1e-15));
}

TEST_CASE("adam: w -= rate m / (sqrt v + eps), L2 inside g") {
  double w = 2, m = 0.5, v = 4;
  rule(0.25).adam(w, 1.5, m, v);  // g 2; m 1.25; v 3 + 1; w - 0.2 * 1.25 / 2.5
  CHECK(m == doctest::Approx(1.25).epsilon(1e-15));
  CHECK(v == doctest::Approx(4).epsilon(1e-15));
  CHECK(w == doctest::Approx(1.9).epsilon(1e-15));
}

TEST_CASE("rmsprop: n = (1 - gamma) g^2 + gamma n; w -= lr g / sqrt(n + eps)") {
  double w = 2, n = 7;
  rule(0.25).rmsprop(w, 1.5, n);  // g 2; n 1 + 5.25; w - 0.1 * 2 / sqrt(6.75)
  CHECK(n == doctest::Approx(6.25).epsilon(1e-15));
  CHECK(w == doctest::Approx(2 - 0.2 / std::sqrt(6.75)).epsilon(1e-15));
}

}  // namespace pneuma::pointwise
