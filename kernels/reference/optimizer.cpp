// The end of a step: one pass over all gradients for their norm and the first bad one, then the
// update of every parameter.
#include <algorithm>
#include <cmath>

#include "kernels/pointwise.h"
#include "kernels/reference/dispatch.h"
#include "kernels/reference/reference.h"

namespace pneuma::reference {

Status gradient_check(Stream, const GradientCheck& a) {
  if (!a.state || (a.count && !a.items)) return invalid("state or items are absent");
  double squares = 0;
  int64_t bad = -1;
  for (int64_t k = 0; k < a.count; ++k) {
    const ParameterUpdate& item = a.items[k];
    if (!item.gradient || !is_stored(item.gradient_dtype))
      return invalid("a gradient is absent, or of no float dtype");
    for (int64_t i = 0; i < item.count; ++i) {
      const double g = load(item.gradient_dtype, item.gradient, i);
      squares += g * g;
      if (bad < 0 && !std::isfinite(g)) bad = k;
    }
  }
  a.state->check(bad, std::sqrt(squares) / a.state->loss_scale, a.scaler);
  return {};
}

// Gradients are divided by the scale they carry, and clipped as torch.nn.utils.clip_grad_norm_
// does: times min(1, clip_norm / (norm + 1e-6)).
Status optimizer_step(Stream, const OptimizerStep& a) {
  if (!a.state || (a.count && !a.items)) return invalid("state or items are absent");
  for (int64_t k = 0; k < a.count; ++k) {
    const ParameterUpdate& item = a.items[k];
    if (!item.value || !item.gradient || !item.moment1 ||
        (a.kind == OptimizerKind::adam && !item.moment2) || !is_stored(item.dtype) ||
        !is_stored(item.gradient_dtype) || !is_stored(item.working_dtype))
      return invalid("a value, gradient or moment is absent, or of no float dtype");
  }
  if (!a.state->good) return {};
  const double t = double(a.state->step);
  const double adam_rate =
      a.learning_rate * std::sqrt(1 - std::pow(a.beta_2, t)) / (1 - std::pow(a.beta_1, t));
  const double clip =
      a.clip_norm > 0 ? std::min(1.0, a.clip_norm / (a.state->gradient_norm + 1e-6)) : 1;
  for (int64_t k = 0; k < a.count; ++k) {
    const ParameterUpdate& item = a.items[k];
    dispatch(item.dtype, [&]<class T>(T) {
      using A = Arithmetic<T>;
      const pointwise::UpdateRule<A> rule{A(a.learning_rate),   A(a.momentum), A(a.beta_1),
                                          A(a.beta_2),          A(a.eps),      A(a.gamma),
                                          A(item.weight_decay), A(adam_rate)};
      const A factor = A(clip / a.state->gradient_scale);
      T *value = static_cast<T*>(item.value), *m1 = static_cast<T*>(item.moment1),
        *m2 = static_cast<T*>(item.moment2);
      for (int64_t i = 0; i < item.count; ++i) {
        const A g = A(load(item.gradient_dtype, item.gradient, i)) * factor;
        A w = A(value[i]), m = A(m1[i]), v = a.kind == OptimizerKind::adam ? A(m2[i]) : A(0);
        if (a.kind == OptimizerKind::sgd) rule.sgd(w, g, m);
        if (a.kind == OptimizerKind::nag) rule.nag(w, g, m);
        if (a.kind == OptimizerKind::adam) rule.adam(w, g, m, v);
        if (a.kind == OptimizerKind::rmsprop) rule.rmsprop(w, g, m);
        value[i] = T(w);
        m1[i] = T(m);
        if (a.kind == OptimizerKind::adam) m2[i] = T(v);
        if (item.working) store(item.working_dtype, item.working, i, double(w));
      }
    });
  }
  return {};
}

}  // namespace pneuma::reference
