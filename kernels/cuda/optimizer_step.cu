// All parameters in one launch: unscale, clip, update the f32 master and its moments, write the
// 16-bit copy. 28 bytes a parameter for Adam with 16-bit gradients (Micikevicius et al. 2018 for
// the master; formulas and their sources: kernels/pointwise.h). Whether the step is to be skipped,
// the scale and the norm are read where they are, on the device.
#include <cmath>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/items.cuh"
#include "kernels/pointwise.h"

namespace pneuma::cuda {
namespace {

// 64 registers a thread let 1,024 share a multiprocessor, each with 56 bytes on the way (g, w, m
// and v of four parameters): more than memory asks for (memory.cuh).
constexpr int kThreads = 256;
constexpr int kVector = 4;  // masters a thread and access: 16 bytes

template <OptimizerKind kKind>
__device__ void update(const ParameterUpdate& item, int64_t begin, int64_t end, float factor,
                       const pointwise::UpdateRule<float>& rule) {
  float *value = static_cast<float*>(item.value), *moment1 = static_cast<float*>(item.moment1),
        *moment2 = static_cast<float*>(item.moment2);
  // Copies, since what is stored below might, for all the compiler knows, change the list.
  const void* gradient = item.gradient;
  void* working = item.working;
  const Dtype gradient_dtype = item.gradient_dtype, working_dtype = item.working_dtype;
  for (int64_t i = begin + threadIdx.x * kVector; i < end; i += kThreads * kVector)
    for_vector<kVector>(i, end, [&]<int kN>(int64_t at) {
      float w[kN], g[kN], m[kN];
      [[maybe_unused]] float v[kN];
      load<kN>(gradient_dtype, gradient, at, g);
      load<kN>(value + at, w);
      load<kN>(moment1 + at, m);
      if constexpr (kKind == OptimizerKind::adam) load<kN>(moment2 + at, v);
#pragma unroll
      for (int k = 0; k < kN; ++k) {
        const float dw = factor * g[k];
        if constexpr (kKind == OptimizerKind::sgd) rule.sgd(w[k], dw, m[k]);
        if constexpr (kKind == OptimizerKind::nag) rule.nag(w[k], dw, m[k]);
        if constexpr (kKind == OptimizerKind::adam) rule.adam(w[k], dw, m[k], v[k]);
        if constexpr (kKind == OptimizerKind::rmsprop) rule.rmsprop(w[k], dw, m[k]);
      }
      store<kN>(value + at, w);
      store<kN>(moment1 + at, m);
      if constexpr (kKind == OptimizerKind::adam) store<kN>(moment2 + at, v);
      if (working) store<kN>(working_dtype, working, at, w);
    });
}

struct Settings {
  double learning_rate, beta_1, beta_2, clip_norm;
};

template <OptimizerKind kKind>
__global__ void __launch_bounds__(kThreads)
    optimizer_step_kernel(const ParameterUpdate* items, int64_t count, const StepState* state,
                          Settings settings, pointwise::UpdateRule<float> rule) {
  if (!state->good) return;
  // What depends on the device's state is worked out once a block: powers in double are slow.
  __shared__ float shared_factor, shared_adam_rate;
  if (threadIdx.x == 0) {
    // As torch.nn.utils.clip_grad_norm_ clips.
    const double clip = settings.clip_norm / (state->gradient_norm + 1e-6);
    shared_factor =
        float((settings.clip_norm > 0 && clip < 1 ? clip : 1.0) / state->gradient_scale);
    const double t = double(state->step);
    shared_adam_rate = kKind == OptimizerKind::adam
                           ? float(settings.learning_rate * sqrt(1 - pow(settings.beta_2, t)) /
                                   (1 - pow(settings.beta_1, t)))
                           : 0.f;
  }
  __syncthreads();
  const ParameterUpdate& item = items[item_of(items, count, blockIdx.x)];
  rule.adam_rate = shared_adam_rate;
  rule.weight_decay = float(item.weight_decay);
  const int64_t begin = (blockIdx.x - item.first_chunk) * kParameterChunk;
  const int64_t end = begin + kParameterChunk < item.count ? begin + kParameterChunk : item.count;
  update<kKind>(item, begin, end, shared_factor, rule);
}

}  // namespace

Status optimizer_step(Stream stream, const OptimizerStep& a) {
  int64_t chunks;
  PN_REQUIRE(a.state && a.items && a.device_items, "optimizer step: state or items are absent");
  PN_REQUIRE(are_numbered(a.items, a.count, &chunks),
             "optimizer step: first_chunk does not count the chunks before an item");
  for (int64_t i = 0; i < a.count; ++i) {
    const ParameterUpdate& p = a.items[i];
    PN_REQUIRE(p.dtype == Dtype::f32 && is_float(p.gradient_dtype) && is_float(p.working_dtype),
               "optimizer step: a master is not f32, or a gradient or copy not f32, f16 or bf16");
    PN_REQUIRE(p.value && p.gradient && p.moment1 && (p.moment2 || a.kind != OptimizerKind::adam),
               "optimizer step: a parameter lacks its gradient or a moment");
  }
  const Settings settings{a.learning_rate, a.beta_1, a.beta_2, a.clip_norm};
  const pointwise::UpdateRule<float> rule{float(a.learning_rate),
                                          float(a.momentum),
                                          float(a.beta_1),
                                          float(a.beta_2),
                                          float(a.eps),
                                          float(a.gamma),
                                          0.f,
                                          0.f};
  const auto start = [&](auto kernel) {
    return launch(kernel, dim3(unsigned(chunks)), kThreads, 0, stream, a.device_items, a.count,
                  a.state, settings, rule);
  };
  switch (a.kind) {
    case OptimizerKind::sgd:
      return start(optimizer_step_kernel<OptimizerKind::sgd>);
    case OptimizerKind::nag:
      return start(optimizer_step_kernel<OptimizerKind::nag>);
    case OptimizerKind::adam:
      return start(optimizer_step_kernel<OptimizerKind::adam>);
    case OptimizerKind::rmsprop:
      return start(optimizer_step_kernel<OptimizerKind::rmsprop>);
  }
  return {StatusCode::invalid, "optimizer step: this kind is not known"};
}

}  // namespace pneuma::cuda
