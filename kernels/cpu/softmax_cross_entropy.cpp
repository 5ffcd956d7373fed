// Softmax cross-entropy: loss = mean of log sum exp(z) - z[label], dz = (softmax - one_hot) / N.
#include <cmath>

#include "kernels/cpu/own.h"

namespace pneuma::PN_ISA {

Status softmax_cross_entropy(Stream, const SoftmaxCrossEntropy& a) {
  PN_REQUIRE_DTYPE(alike(a.logits, a.dlogits) && a.loss.dtype == Dtype::f32);
  PN_REQUIRE(a.logits.rank == 2 && a.logits.count() > 0 && a.labels.rank == 1 &&
                 a.labels.dtype == Dtype::i32 && a.labels.dims[0] == a.logits.dims[0] &&
                 (!a.dlogits || same_shape(a.logits, a.dlogits)) && a.loss.count() == 1,
             "softmax cross-entropy: logits must be [N,C], labels i32 [N], loss [1]");
  const int64_t N = a.logits.dims[0], channels = a.logits.dims[1];
  const int32_t* labels = a.labels.as<int32_t>();
  for (int64_t i = 0; i < N; ++i)
    PN_REQUIRE(labels[i] >= 0 && labels[i] < channels,
               "softmax cross-entropy: a label is outside 0..C-1");
  const float scale = float((a.state ? a.state->loss_scale : 1.0) / double(a.batch));
  double loss = 0;
  const Status status = dispatch(a.logits.dtype, [&]<class T>(T) {
    for (int64_t i = 0; i < N; ++i) {
      const auto z = [&](int64_t c) { return number(a.logits.as<T>() + i * channels + c); };
      float largest = z(0);
      for (int64_t c = 1; c < channels; ++c) largest = z(c) > largest ? z(c) : largest;
      double sum = 0;
      for (int64_t c = 0; c < channels; ++c) sum += double(std::exp(z(c) - largest));
      loss += std::log(sum) + double(largest - z(labels[i]));
      if (!a.dlogits) continue;
      for (int64_t c = 0; c < channels; ++c) {
        const float p = float(double(std::exp(z(c) - largest)) / sum);
        store(a.dlogits.as<T>() + i * channels + c, splat(scale * (p - float(c == labels[i]))), 1);
      }
    }
  });
  *a.loss.as<float>() = float(loss / double(a.batch));
  return status;
}

}  // namespace pneuma::PN_ISA
