// The two losses, each with its gradient in the same launch, by one block: N x C is a few thousand
// numbers, so that the launch itself is what it costs, and one block sums in one order.
#include <cmath>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/memory.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/pointwise.h"

namespace pneuma::cuda {
namespace {

constexpr int kThreads = 512;  // 128 registers each at most

// Where the loss's gradient goes; the mean over `terms`, times the loss scale.
template <class T>
struct Gradients {
  T* dlogits;  // may be null
  const StepState* state;
  float terms;
  __device__ float scale() const {
    return float((state ? state->loss_scale : 1.0) / double(terms));
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads)
    sigmoid_cross_entropy_kernel(const T* logits, const float* labels, const float* positive_weight,
                                 const float* negative_weight, float* loss, Gradients<T> to,
                                 int64_t count, int64_t classes) {
  const float scale = to.scale();
  float sum = 0.f;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) {
    float gradient;
    sum += pointwise::sigmoid_cross_entropy(
        to_float(logits[i]), labels[i], positive_weight ? positive_weight[i % classes] : 1.f,
        negative_weight ? negative_weight[i % classes] : 1.f, &gradient);
    if (to.dlogits) to.dlogits[i] = from_float<T>(scale * gradient);
  }
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) *loss = sum / to.terms;
}

// A warp a row. log sum exp(z) = m + log sum exp(z - m) with m = max z: no exp overflows, and the
// sum is >= 1. A label out of range gives NaN, which the check of the gradients then reports.
template <class T>
__global__ void __launch_bounds__(kThreads)
    softmax_cross_entropy_kernel(const T* logits, const int32_t* labels, float* loss,
                                 Gradients<T> to, int64_t rows, int64_t classes) {
  const float scale = to.scale();
  const int lane = int(threadIdx.x) % kWarp;
  float sum = 0.f;
  for (int64_t n = threadIdx.x / kWarp; n < rows; n += kThreads / kWarp) {
    const T* z = logits + n * classes;
    float largest = -INFINITY;
    for (int64_t c = lane; c < classes; c += kWarp) largest = fmaxf(largest, to_float(z[c]));
#pragma unroll
    for (int distance = kWarp / 2; distance > 0; distance /= 2)
      largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, distance));
    float exps = 0.f;
    for (int64_t c = lane; c < classes; c += kWarp) exps += expf(to_float(z[c]) - largest);
    exps = __shfl_sync(kAllLanes, warp_sum(exps), 0);
    const int32_t label = labels[n];
    const bool known = label >= 0 && label < classes;
    for (int64_t c = lane; to.dlogits && c < classes; c += kWarp) {
      const float p = expf(to_float(z[c]) - largest) / exps;
      to.dlogits[n * classes + c] =
          from_float<T>(known ? scale * (p - (c == label ? 1.f : 0.f)) : NAN);
    }
    if (lane == 0) sum += known ? largest - to_float(z[label]) + logf(exps) : NAN;
  }
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) *loss = sum / to.terms;
}

Status check(const View& logits, const View& loss, const View& dlogits) {
  PN_REQUIRE(logits.rank == 2 && logits.count() > 0 && logits.data,
             "logits are not [N,C], or are empty");
  PN_REQUIRE(is(loss, Dtype::f32, {1}) && are_like(logits, {either(dlogits, logits)}),
             "loss is not f32 [1], or dlogits is not like logits");
  return {};
}

}  // namespace

Status sigmoid_cross_entropy(Stream stream, const SigmoidCrossEntropy& a) {
  if (const Status s = check(a.logits, a.loss, a.dlogits); !s) return s;
  const int64_t N = a.logits.dims[0], C = a.logits.dims[1];
  PN_REQUIRE(is(a.labels, Dtype::f32, {N, C}), "labels are not f32 [N,C]");
  for (const View& w : {a.positive_weight, a.negative_weight})
    PN_REQUIRE(!w || is(w, Dtype::f32, {C}), "a weight is not f32 [C]");
  return dispatch(a.logits.dtype, [&]<class T>(T) -> Status {
    const Gradients<T> to{a.dlogits.as<T>(), a.state, float(a.batch * C)};
    return launch(sigmoid_cross_entropy_kernel<T>, dim3(1), kThreads, 0, stream,
                  a.logits.as<const T>(), a.labels.as<const float>(),
                  a.positive_weight.as<const float>(), a.negative_weight.as<const float>(),
                  a.loss.as<float>(), to, N * C, C);
  });
}

Status softmax_cross_entropy(Stream stream, const SoftmaxCrossEntropy& a) {
  if (const Status s = check(a.logits, a.loss, a.dlogits); !s) return s;
  const int64_t N = a.logits.dims[0], C = a.logits.dims[1];
  PN_REQUIRE(is(a.labels, Dtype::i32, {N}), "labels are not i32 [N]");
  return dispatch(a.logits.dtype, [&]<class T>(T) -> Status {
    const Gradients<T> to{a.dlogits.as<T>(), a.state, float(a.batch)};
    return launch(softmax_cross_entropy_kernel<T>, dim3(1), kThreads, 0, stream,
                  a.logits.as<const T>(), a.labels.as<const int32_t>(), a.loss.as<float>(), to, N,
                  C);
  });
}

}  // namespace pneuma::cuda
