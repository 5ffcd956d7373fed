// Weighted sigmoid cross-entropy on logits, loss and gradient at once. A batch of N x 14 is tiny:
// one thread, sums in f64.
#include "kernels/cpu/own.h"
#include "kernels/pointwise.h"

namespace pneuma::PN_ISA {

Status sigmoid_cross_entropy(Stream, const SigmoidCrossEntropy& a) {
  PN_REQUIRE_DTYPE(alike(a.logits, a.dlogits) && is_stored(a.labels.dtype) &&
                   a.loss.dtype == Dtype::f32);
  PN_REQUIRE(a.logits.rank == 2 && a.logits.count() > 0 && same_shape(a.logits, a.labels) &&
                 (!a.dlogits || same_shape(a.logits, a.dlogits)) && a.loss.count() == 1,
             "sigmoid cross-entropy: logits, labels and dlogits must be [N,C], loss [1]");
  const int64_t channels = a.logits.dims[1], count = a.logits.count(), terms = a.batch * channels;
  PN_REQUIRE(
      channel_vector(a.positive_weight, channels) && channel_vector(a.negative_weight, channels),
      "sigmoid cross-entropy: weights must be [C] f32");
  const float scale = float((a.state ? a.state->loss_scale : 1.0) / double(terms));
  double sum = 0;
  const Status status = dispatch(a.logits.dtype, [&]<class T>(T) {
    dispatch(a.labels.dtype, [&]<class L>(L) {
      for (int64_t i = 0; i < count; ++i) {
        const int64_t c = i % channels;
        float dz;
        sum += double(pointwise::sigmoid_cross_entropy(
            number(a.logits.as<T>() + i), number(a.labels.as<L>() + i),
            a.positive_weight ? a.positive_weight.as<float>()[c] : 1.f,
            a.negative_weight ? a.negative_weight.as<float>()[c] : 1.f, &dz));
        if (a.dlogits) store(a.dlogits.as<T>() + i, splat(scale * dz), 1);
      }
    });
  });
  *a.loss.as<float>() = float(sum / double(terms));
  return status;
}

}  // namespace pneuma::PN_ISA
