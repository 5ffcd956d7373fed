#include "engine/precision.h"

#include "engine/error.h"

namespace pneuma {
namespace {

// Storage t, sums and masters a.
constexpr Precision uniform(const char* name, Dtype t, Dtype a) {
  return {name, {{t, a, t}, {t, a, t}, {t, a, t}, {t, a, t}, {t, a, t}, {a, a, a}, {t, a, a}}, a};
}

}  // namespace

const Precision& float32() {
  static constexpr Precision policy = uniform("float32", Dtype::f32, Dtype::f32);
  return policy;
}
const Precision& float64() {
  static constexpr Precision policy = uniform("float64", Dtype::f64, Dtype::f64);
  return policy;
}

const Precision& float16() {
  static constexpr Precision policy = uniform("float16", Dtype::f16, Dtype::f32);
  return policy;
}
const Precision& bfloat16() {
  static constexpr Precision policy = uniform("bfloat16", Dtype::bf16, Dtype::f32);
  return policy;
}

const Precision& precision_named(const std::string& name) {
  if (name == "float32") return float32();
  if (name == "float16") return float16();
  if (name == "bfloat16") return bfloat16();
  if (name == "float64") return float64();
  fail(Exit::usage,
       "--precision_dtype {} is not known; known are float32, float16, bfloat16, and float64 with "
       "--device reference",
       name);
}

std::string Precision::text() const {
  static constexpr const char* kinds[kOpKinds] = {"convolution", "linear", "batch_norm", "pool",
                                                  "pointwise",   "loss",   "optimizer"};
  std::string s =
      fmt::format("precision {}: master weights, moments, statistics {}\n", name, name_of(master));
  for (int i = 0; i < kOpKinds; ++i) {
    s += fmt::format("  {:<12} in {:<4} sums {:<4} out {}\n", kinds[i], name_of(table[i].input),
                     name_of(table[i].accumulate), name_of(table[i].output));
  }
  return s;
}

ScalerPolicy usual_scaler(const Precision& precision) {
  const bool dynamic = size_of(precision.activation()) == 2;
  return {.dynamic = dynamic, .start = dynamic ? 0x1p16 : 1};
}

std::string text_of(const ScalerPolicy& p) {
  if (!p.dynamic) return fmt::format("loss scale: {:g}, which stays", p.start);
  return fmt::format(
      "loss scale: {:g} at first, x {:g} after {} clean steps, x {:g} at inf or nan, at least {:g}",
      p.start, p.growth, p.interval, p.backoff, p.floor);
}

}  // namespace pneuma
