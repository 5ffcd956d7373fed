// Adam over the tensors of a network, as mixed precision has it: an f16 gradient, scaled, f32
// master and moments, and an f16 copy of the master (formula: kernels/pointwise.h). 28 bytes a
// parameter must move; no product is worth speaking of.
#include <cmath>
#include <memory>

#include "bench/ladder/array.h"
#include "bench/ladder/ladder.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/items.cuh"
#include "kernels/half.h"
#include "kernels/pointwise.h"

namespace pneuma::ladder {
namespace {

using cuda::blocks_of, cuda::launch;
using Rule = pointwise::UpdateRule<float>;

constexpr int kThreads = 256;
constexpr double kRate = 1e-3, kBeta1 = 0.9, kBeta2 = 0.999, kEps = 1e-8, kDecay = 1e-4;

template <int kN>
__device__ void update(const ParameterUpdate& p, int64_t i, float factor, const Rule& rule) {
  float *value = static_cast<float*>(p.value) + i, *moment1 = static_cast<float*>(p.moment1) + i,
        *moment2 = static_cast<float*>(p.moment2) + i;
  float w[kN], g[kN], m[kN], v[kN];
  cuda::load<kN>(static_cast<const __half*>(p.gradient) + i, g);
  cuda::load<kN>(value, w);
  cuda::load<kN>(moment1, m);
  cuda::load<kN>(moment2, v);
#pragma unroll
  for (int k = 0; k < kN; ++k) rule.adam(w[k], factor * g[k], m[k], v[k]);
  cuda::store<kN>(value, w);
  cuda::store<kN>(moment1, m);
  cuda::store<kN>(moment2, v);
  cuda::store<kN>(static_cast<__half*>(p.working) + i, w);
}

// A thread takes 16 neighbours, as a thread of a CPU would: lanes stand 64 bytes apart, so each
// access of a warp asks for a sector a lane, and comes back for the rest of it later.
constexpr int kRun = 16;
__global__ void runs_kernel(ParameterUpdate p, float factor, Rule rule) {
  const int64_t first = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kRun;
  for (int64_t i = first; i < first + kRun && i < p.count; ++i) update<1>(p, i, factor, rule);
}
// An element a thread: neighbours take neighbours, an access of a warp asks for what it uses.
__global__ void elements_kernel(ParameterUpdate p, float factor, Rule rule) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < p.count) update<1>(p, i, factor, rule);
}
// Four elements a thread, 16 bytes an access: a quarter of the instructions, four times the bytes
// on their way for each warp.
constexpr int kVector = 4;
__global__ void vectors_kernel(ParameterUpdate p, float factor, Rule rule) {
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kVector;
  cuda::for_vector<kVector>(i, p.count,
                            [&]<int kN>(int64_t at) { update<kN>(p, at, factor, rule); });
}
// All tensors in one launch: a block finds its chunk in the list. Most of a network's tensors are
// far smaller than what it takes to fill a chip, or to pay for a launch.
__global__ void all_tensors_kernel(const ParameterUpdate* items, int64_t count, float factor,
                                   Rule rule) {
  const ParameterUpdate p = items[cuda::item_of(items, count, blockIdx.x)];
  const int64_t begin = (blockIdx.x - p.first_chunk) * kParameterChunk;
  const int64_t end = begin + kParameterChunk < p.count ? begin + kParameterChunk : p.count;
  for (int64_t i = begin + threadIdx.x * kVector; i < end; i += kThreads * kVector)
    cuda::for_vector<kVector>(i, end, [&]<int kN>(int64_t at) { update<kN>(p, at, factor, rule); });
}

struct Tensors {  // of all parameters, one behind the other
  std::vector<float> value, moment1, moment2;
  std::vector<Half> gradient, working;
};

struct Data {
  static constexpr int64_t kAlign = int64_t(kAlignment / sizeof(Half));
  static int64_t padded(const std::vector<int64_t>& counts) {
    int64_t sum = 0;
    for (const int64_t n : counts) sum += blocks_of(n, kAlign) * kAlign;
    return sum;
  }
  explicit Data(const std::vector<int64_t>& counts)
      : total(padded(counts)),
        before{numbers<float>(total, 1),
               numbers<float>(total, 2, 0, 0.1),
               numbers<float>(total, 3, 0.01, 0.01),
               numbers<Half>(total, 4, 0, 100),
               {}},
        value(total),
        moment1(total),
        moment2(total),
        gradient(before.gradient),
        working(total),
        state(1),
        items(int64_t(counts.size())) {
    int64_t at = 0, chunk = 0;
    for (const int64_t n : counts) {
      list.push_back({value.data() + at, gradient.data() + at, moment1.data() + at,
                      moment2.data() + at, working.data() + at, n, Dtype::f32, Dtype::f16,
                      Dtype::f16, kDecay, chunk});
      offsets.push_back(at);
      at += blocks_of(n, kAlign) * kAlign;
      chunk += blocks_of(n, kParameterChunk);
      parameters += n;
    }
    chunks = chunk;
    items.set(list);
    start.step = 10;
    start.loss_scale = start.gradient_scale = 128;
  }

  // The host asks the device whether the step counts and how the gradient is scaled, and waits.
  Status read_state(StepState* s) const {
    return cuda::status_of(cudaMemcpy(s, state.data(), sizeof *s, cudaMemcpyDeviceToHost));
  }
  static double adam_rate(const StepState& s) {
    const double t = double(s.step);
    return kRate * std::sqrt(1 - std::pow(kBeta2, t)) / (1 - std::pow(kBeta1, t));
  }
  static Rule rule(const StepState& s) {
    return {float(kRate), 0, float(kBeta1), float(kBeta2),
            float(kEps),  0, float(kDecay), float(adam_rate(s))};
  }
  Status each_tensor(void (*kernel)(ParameterUpdate, float, Rule), int64_t of_thread) const {
    StepState s;
    if (const Status read = read_state(&s); !read || !s.good) return read;
    for (const ParameterUpdate& p : list) {
      const unsigned blocks = unsigned(blocks_of(p.count, kThreads * of_thread));
      const Status started = launch(kernel, dim3(blocks), kThreads, 0, nullptr, p,
                                    float(1 / s.gradient_scale), rule(s));
      if (!started) return started;
    }
    return {};
  }
  Check check(int64_t roundings) const;

  int64_t total, chunks = 0, parameters = 0;
  Tensors before;
  Array<float> value, moment1, moment2;
  Array<Half> gradient, working;
  Array<StepState> state;
  Array<ParameterUpdate> items;
  std::vector<ParameterUpdate> list;
  std::vector<int64_t> offsets;
  StepState start;
};

// Errors of master and moments as a share of what was added up in them; the copy must be the master
// that was computed, rounded.
Check Data::check(int64_t roundings) const {
  Check worst{0, double(roundings) * kRounding};
  const auto take = [&](double got, double a, double b) {  // wanted: a + b
    worst.take(std::abs(got - (a + b)) / (std::abs(a) + std::abs(b)));
  };
  const Tensors got{value.values(), moment1.values(), moment2.values(), {}, working.values()};
  const double b1 = double(float(kBeta1)), b2 = double(float(kBeta2));  // as the kernels have them
  for (size_t p = 0; p < list.size(); ++p)
    for (int64_t k = 0; k < list[p].count; ++k) {
      const size_t i = size_t(offsets[p] + k);
      const double w = double(before.value[i]), m0 = double(before.moment1[i]);
      const double v0 = double(before.moment2[i]);
      const double g = double(float(before.gradient[i])) / start.gradient_scale + kDecay * w;
      const double m = b1 * m0 + (1 - b1) * g, v = b2 * v0 + (1 - b2) * g * g;
      const double size = std::abs(b1 * m0) + std::abs((1 - b1) * g);
      const double by = adam_rate(start) / (std::sqrt(v) + kEps);
      take(double(got.moment1[i]), b1 * m0, (1 - b1) * g);
      take(double(got.moment2[i]), b2 * v0, (1 - b2) * g * g);
      worst.take(std::abs(double(got.value[i]) - (w - by * m)) / (std::abs(w) + by * size));
      if (got.working[i].bits != Half(got.value[i]).bits) worst.take(INFINITY);
    }
  return worst;
}

}  // namespace

Ladder adam(const std::vector<int64_t>& tensors) {
  const auto d = std::make_shared<Data>(tensors);
  Ladder l{"adam",
           std::to_string(d->parameters) + " parameters in " + std::to_string(tensors.size()) +
               " tensors, f16 gradients",
           28.0 * double(d->parameters), 0};
  l.reset = [d] {
    d->value.set(d->before.value);
    d->moment1.set(d->before.moment1);
    d->moment2.set(d->before.moment2);
    d->working.fill(Half(float(NAN)));
    d->state.fill(d->start);
  };
  l.check = [d](const Rung& rung) { return d->check(rung.roundings); };
  constexpr int64_t kRoundings = 16;  // of the formula, from the gradient to the master
  l.rungs = {
      {"runs of 16", "a thread takes 16 neighbours, a launch a tensor; sectors are asked for again",
       kRoundings, [d] { return d->each_tensor(runs_kernel, kRun); }},
      {"an element a thread", "neighbouring lanes take neighbours: what is asked for is used",
       kRoundings, [d] { return d->each_tensor(elements_kernel, 1); }},
      {"16 bytes", "four elements a thread: a quarter of the accesses", kRoundings,
       [d] { return d->each_tensor(vectors_kernel, kVector); }},
      {"all tensors", "one launch; each block finds its chunk of its tensor in a list", kRoundings,
       [d]() -> Status {
         StepState s;
         if (const Status read = d->read_state(&s); !read || !s.good) return read;
         return launch(all_tensors_kernel, dim3(unsigned(d->chunks)), kThreads, 0, nullptr,
                       d->items.data(), int64_t(d->list.size()), float(1 / s.gradient_scale),
                       Data::rule(s));
       }},
      {"in use", "optimizer_step: scale and skip flag are read on the device, no host waits",
       kRoundings,
       [d] {
         OptimizerStep step{OptimizerKind::adam, d->list.data(), d->items.data(),
                            int64_t(d->list.size()), d->state.data()};
         step.learning_rate = kRate;
         step.beta_1 = kBeta1, step.beta_2 = kBeta2, step.eps = kEps;
         step.momentum = step.gamma = step.clip_norm = 0;
         return cuda::optimizer_step(nullptr, step);
       }},
  };
  return l;
}

}  // namespace pneuma::ladder
