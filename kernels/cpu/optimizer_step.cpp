// All parameters in one launch: unscale, clip, update the master. Every element is touched once.
#include <cmath>

#include "kernels/cpu/items.h"
#include "kernels/cpu/own.h"
#include "kernels/pointwise.h"

namespace pneuma::PN_ISA {
namespace {

template <OptimizerKind kKind, class G>
PN_INLINE void update(const ParameterUpdate& p, Range range, float factor,
                      const pointwise::UpdateRule<float>& rule) {
  const auto r = rule;
  float *w = static_cast<float*>(p.value), *m = static_cast<float*>(p.moment1),
        *v = static_cast<float*>(p.moment2);
  const G* stored = static_cast<const G*>(p.gradient);
  float buffer[kBlock];
  for (int64_t begin = range.begin; begin < range.end; begin += kBlockOf<G>) {
    const int64_t end = least(begin + kBlockOf<G>, range.end);
    const float* g = read(stored + begin, end - begin, buffer);
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) {
      const float gradient = factor * g[i - begin];
      if constexpr (kKind == OptimizerKind::sgd) r.sgd(w[i], gradient, m[i]);
      if constexpr (kKind == OptimizerKind::nag) r.nag(w[i], gradient, m[i]);
      if constexpr (kKind == OptimizerKind::adam) r.adam(w[i], gradient, m[i], v[i]);
      if constexpr (kKind == OptimizerKind::rmsprop) r.rmsprop(w[i], gradient, m[i]);
    }
  }
}

template <OptimizerKind kKind>
void step(const OptimizerStep& a, float factor, pointwise::UpdateRule<float> rule) {
  for_items(a.items, a.count, [&](const ParameterUpdate& p, Range range, int64_t, int64_t) {
    pointwise::UpdateRule<float> r = rule;
    r.weight_decay = float(p.weight_decay);
    dispatch(p.gradient_dtype, [&]<class G>(G) { update<kKind, G>(p, range, factor, r); });
    if (!p.working) return;
    const float* value = static_cast<const float*>(p.value) + range.begin;
    dispatch(p.working_dtype, [&]<class W>(W) {
      write_back(static_cast<W*>(p.working) + range.begin, range.end - range.begin, value);
    });
  });
}

}  // namespace

Status optimizer_step(Stream, const OptimizerStep& a) {
  for (int64_t i = 0; i < a.count; ++i) {
    const ParameterUpdate& p = a.items[i];
    PN_REQUIRE_DTYPE(p.dtype == Dtype::f32 && is_stored(p.gradient_dtype) &&
                     (!p.working || is_stored(p.working_dtype)));
    PN_REQUIRE(p.value && p.gradient && p.moment1 && (p.moment2 || a.kind != OptimizerKind::adam),
               "optimizer step: a parameter lacks its gradient or a moment");
  }
  const StepState& state = *a.state;
  if (!state.good) return {};
  // As torch.nn.utils.clip_grad_norm_ clips.
  const double clip = a.clip_norm / (state.gradient_norm + 1e-6);
  const double factor = (a.clip_norm > 0 && clip < 1 ? clip : 1) / state.gradient_scale;
  const double t = double(state.step);
  const double adam_rate =
      a.learning_rate * std::sqrt(1 - std::pow(a.beta_2, t)) / (1 - std::pow(a.beta_1, t));
  const pointwise::UpdateRule<float> rule{float(a.learning_rate),
                                          float(a.momentum),
                                          float(a.beta_1),
                                          float(a.beta_2),
                                          float(a.eps),
                                          float(a.gamma),
                                          0.f,
                                          float(adam_rate)};
  if (a.kind == OptimizerKind::sgd) step<OptimizerKind::sgd>(a, float(factor), rule);
  if (a.kind == OptimizerKind::nag) step<OptimizerKind::nag>(a, float(factor), rule);
  if (a.kind == OptimizerKind::adam) step<OptimizerKind::adam>(a, float(factor), rule);
  if (a.kind == OptimizerKind::rmsprop) step<OptimizerKind::rmsprop>(a, float(factor), rule);
  return {};
}

}  // namespace pneuma::PN_ISA
