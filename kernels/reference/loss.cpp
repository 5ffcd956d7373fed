// The two losses, each with its gradient.
#include <algorithm>
#include <cmath>

#include "kernels/pointwise.h"
#include "kernels/reference/dispatch.h"
#include "kernels/reference/reference.h"

namespace pneuma::reference {
namespace {

Status check(const View& logits, const View& loss, const View& dlogits) {
  if (logits.rank != 2 || logits.count() == 0 || !logits.data)
    return invalid("logits are not [N,C], or are empty");
  if (!is(loss, arithmetic_of(logits.dtype), {1}) || !are_like(logits, {either(dlogits, logits)}))
    return invalid("loss is not [1], or dlogits is not like logits");
  return {};
}

}  // namespace

Status sigmoid_cross_entropy(Stream, const SigmoidCrossEntropy& a) {
  if (const Status s = check(a.logits, a.loss, a.dlogits); !s) return s;
  const int64_t N = a.logits.dims[0], C = a.logits.dims[1];
  if (!is_stored(a.labels.dtype) || !is(a.labels, a.labels.dtype, {N, C}))
    return invalid("labels are not of a float dtype and [N,C]");
  for (const View& w : {a.positive_weight, a.negative_weight})
    if (w && !is(w, arithmetic_of(a.logits.dtype), {C})) return invalid("a weight is not [C]");
  return dispatch(a.logits.dtype, [&]<class T>(T) {
    using A = Arithmetic<T>;
    const A scale = A((a.state ? a.state->loss_scale : 1) / double(a.batch * C));
    const double total = sum(N * C, [&](int64_t i) {
      A gradient;
      const A loss = pointwise::sigmoid_cross_entropy(
          at<T>(a.logits, i), A(load(a.labels.dtype, a.labels.data, i)),
          a.positive_weight ? at<A>(a.positive_weight, i % C) : A(1),
          a.negative_weight ? at<A>(a.negative_weight, i % C) : A(1), &gradient);
      if (a.dlogits) a.dlogits.as<T>()[i] = T(scale * gradient);
      return loss;
    });
    a.loss.as<A>()[0] = A(total / double(a.batch * C));
  });
}

// log sum exp(z) = m + log sum exp(z - m) with m = max z: no exp overflows, and the sum is >= 1.
Status softmax_cross_entropy(Stream, const SoftmaxCrossEntropy& a) {
  if (const Status s = check(a.logits, a.loss, a.dlogits); !s) return s;
  const int64_t N = a.logits.dims[0], C = a.logits.dims[1];
  if (!is(a.labels, Dtype::i32, {N})) return invalid("labels are not i32 [N]");
  const int32_t* labels = a.labels.as<int32_t>();
  if (std::any_of(labels, labels + N, [&](int32_t label) { return label < 0 || label >= C; }))
    return invalid("a label is not in 0 .. C-1");
  return dispatch(a.logits.dtype, [&]<class T>(T) {
    using A = Arithmetic<T>;
    const A scale = A((a.state ? a.state->loss_scale : 1) / double(a.batch));
    const double total = sum(N, [&](int64_t n) {
      const auto z = [&](int64_t c) { return at<T>(a.logits, n * C + c); };
      A max = z(0);
      for (int64_t c = 1; c < C; ++c) max = std::max(max, z(c));
      const double exps = sum(C, [&](int64_t c) { return std::exp(z(c) - max); });
      for (int64_t c = 0; a.dlogits && c < C; ++c)
        a.dlogits.as<T>()[n * C + c] =
            T(scale * (std::exp(z(c) - max) / A(exps) - A(c == labels[n] ? 1 : 0)));
      return double(max - z(labels[n])) + std::log(exps);
    });
    a.loss.as<A>()[0] = A(total / double(a.batch));
  });
}

}  // namespace pneuma::reference
