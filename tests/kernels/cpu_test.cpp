// The cpu device against the reference, each instruction set that this machine has; the same bits
// for every number of threads; the choice of the instruction set; the errors; the cache.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cpu/convolution.h"
#include "kernels/cpu/device.h"
#include "kernels/cpu/table.h"
#include "kernels/pointwise.h"
#include "kernels/reference/table.h"

namespace pneuma {
namespace {

// A tensor that owns its memory; a copy is a tensor of its own.
struct Tensor {
  std::vector<int64_t> dims;
  Dtype dtype = Dtype::f32;
  std::shared_ptr<std::byte> memory;

  Tensor() = default;
  Tensor(std::vector<int64_t> d, Dtype t = Dtype::f32) : dims(d), dtype(t) {
    const size_t bytes = (view().bytes() + kAlignment) / kAlignment * kAlignment;
    memory.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, bytes)),
                 [](std::byte* p) { std::free(p); });
    std::memset(memory.get(), 0, bytes);
  }
  View view() const {
    View v{memory.get(), {}, int32_t(dims.size()), dtype};
    for (size_t i = 0; i < dims.size(); ++i) v.dims[i] = dims[i];
    return v;
  }
  Tensor copy() const {
    if (dims.empty()) return {};
    Tensor t(dims, dtype);
    std::memcpy(t.memory.get(), memory.get(), view().bytes());
    return t;
  }
  float* f() const { return reinterpret_cast<float*>(memory.get()); }
  int64_t count() const { return view().count(); }
};

Tensor uniform(std::vector<int64_t> dims, double low = -1, double high = 1) {
  static uint32_t state = 1;
  Tensor t(dims);
  for (int64_t i = 0; i < t.count(); ++i) {
    state = state * 1664525u + 1013904223u;
    t.f()[i] = float(low + (high - low) * double(state >> 8) / double(1 << 24));
  }
  return t;
}

struct Named {
  const char* name;
  Kernels kernels;
};
std::vector<Named> instruction_sets() {
  std::vector<Named> sets = {{"baseline", baseline::kernels()}};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    sets.push_back({"avx2", avx2::kernels()});
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    sets.push_back({"avx512", avx512::kernels()});
  return sets;
}
void set_threads(int n) { REQUIRE(cpu_backend().device.set_threads(n)); }

template <class Args>
Status call(const Kernel<Args>& kernel, Args args) {
  Tensor workspace;
  if constexpr (requires { args.workspace; }) {
    workspace = Tensor({int64_t(kernel.workspace ? kernel.workspace(args) : 0)}, Dtype::u8);
    std::memset(workspace.memory.get(), 0xff, workspace.view().bytes());  // NaN: nothing is 0 there
    args.workspace = workspace.view();
  }
  return kernel.run(nullptr, args);
}

// Largest difference relative to the largest entry; NaN must meet NaN.
double difference(const Tensor& a, const Tensor& b) {
  double worst = 0, scale = 0;
  for (int64_t i = 0; i < a.count(); ++i) {
    if (std::isnan(a.f()[i]) != std::isnan(b.f()[i])) return 1e30;
    if (std::isnan(a.f()[i])) continue;
    worst = std::max(worst, std::fabs(double(a.f()[i]) - double(b.f()[i])));
    scale = std::max(scale, std::fabs(double(b.f()[i])));
  }
  return worst / std::max(scale, 1e-30);
}
bool same_bits(const Tensor& a, const Tensor& b) {
  return std::memcmp(a.memory.get(), b.memory.get(), a.view().bytes()) == 0;
}

// An op is a function that runs it with some kernels on copies and returns its results.
using Op = std::function<std::vector<Tensor>(const Kernels&)>;

// Every instruction set within `tolerance` of the reference, equal bits for 1, 2, 3 and 5 threads.
void check(const Op& op, double tolerance, bool any_threads = true) {
  const std::vector<Tensor> expected = op(reference_backend().kernels);
  for (const Named& isa : instruction_sets()) {
    CAPTURE(isa.name);
    set_threads(1);
    const std::vector<Tensor> one = op(isa.kernels);
    for (size_t i = 0; i < expected.size(); ++i) {
      CAPTURE(i);
      if (expected[i].dtype == Dtype::f32)
        CHECK(difference(one[i], expected[i]) <= tolerance);
      else
        CHECK(same_bits(one[i], expected[i]));
    }
    for (int threads : {2, 3, 5}) {
      set_threads(threads);
      const std::vector<Tensor> more = op(isa.kernels);
      for (size_t i = 0; i < one.size(); ++i)
        if (any_threads)
          CHECK(same_bits(one[i], more[i]));
        else
          CHECK(difference(more[i], expected[i]) <= tolerance);
    }
  }
  set_threads(2);
}

constexpr double kEps = 1.2e-7;

// N, H, W, C: odd, tiny, wide, and of several chunks.
const std::vector<std::vector<int64_t>> kShapes = {{2, 5, 7, 3},  {1, 1, 1, 1},    {3, 4, 5, 17},
                                                   {2, 9, 9, 64}, {1, 3, 3, 1037}, {4, 40, 31, 64}};

}  // namespace

TEST_CASE("batch norm forward") {
  for (const auto& shape : kShapes)
    for (const bool relu : {false, true})
      for (const bool residual : {false, true}) {
        const int64_t c = shape[3];
        const Tensor x = uniform(shape, -1, 2), z = residual ? uniform(shape) : Tensor();
        const Tensor gamma = relu ? uniform({c}) : Tensor(), beta = uniform({c});
        check(
            [&](const Kernels& k) {
              Tensor y(shape), mask({(x.count() + 7) / 8}, Dtype::u8), mean({c}), rstd({c});
              Tensor running_mean({c}), running_var({c});
              REQUIRE(call(k.batch_norm_forward, {x.view(),
                                                  z.view(),
                                                  gamma.view(),
                                                  beta.view(),
                                                  y.view(),
                                                  relu ? mask.view() : View(),
                                                  mean.view(),
                                                  rstd.view(),
                                                  running_mean.view(),
                                                  running_var.view(),
                                                  {},
                                                  1e-5,
                                                  0.1,
                                                  relu}));
              return std::vector<Tensor>{y, mean, rstd, running_mean, running_var};
            },
            shape[1] == 1 ? 1e-3 : 64 * kEps);  // one element: rstd is 316
      }
}

TEST_CASE("batch norm: the mask is the sign of y") {
  for (const auto& shape : kShapes)
    for (const Named& isa : instruction_sets()) {
      CAPTURE(isa.name);
      const int64_t c = shape[3];
      const Tensor x = uniform(shape), beta = uniform({c});
      Tensor y(shape), mask({(x.count() + 7) / 8}, Dtype::u8), mean({c}), rstd({c}), rm({c}),
          rv({c});
      std::memset(mask.memory.get(), 0xff, mask.view().bytes());
      REQUIRE(call(isa.kernels.batch_norm_forward, {x.view(),
                                                    {},
                                                    {},
                                                    beta.view(),
                                                    y.view(),
                                                    mask.view(),
                                                    mean.view(),
                                                    rstd.view(),
                                                    rm.view(),
                                                    rv.view(),
                                                    {},
                                                    1e-5,
                                                    0.1,
                                                    true}));
      int64_t wrong = 0;
      for (int64_t i = 0; i < y.count(); ++i)
        wrong += (int(mask.memory.get()[i / 8]) >> i % 8 & 1) != (y.f()[i] > 0);
      CHECK(wrong == 0);
    }
}

TEST_CASE("batch norm keeps its digits far from 0") {
  const int64_t c = 64, n = 8 * 32 * 32;
  Tensor x({8, 32, 32, c}), beta({c});
  for (int64_t i = 0; i < x.count(); ++i) {
    double sum = 0;  // 12 uniforms: mean 1e3, deviation 1
    for (uint64_t j = 0; j < 12; ++j)
      sum += double(uint64_t(i) * 12 + j) * 0.6180339887498949 -
             std::floor(double(uint64_t(i) * 12 + j) * 0.6180339887498949);
    x.f()[i] = float(1e3 + sum - 6 + double(i * 7919 % 1000) / 500);
  }
  for (const Named& isa : instruction_sets()) {
    CAPTURE(isa.name);
    Tensor y({8, 32, 32, c}), mean({c}), rstd({c}), rm({c}), rv({c});
    REQUIRE(call(isa.kernels.batch_norm_forward, {x.view(),
                                                  {},
                                                  {},
                                                  beta.view(),
                                                  y.view(),
                                                  {},
                                                  mean.view(),
                                                  rstd.view(),
                                                  rm.view(),
                                                  rv.view(),
                                                  {},
                                                  1e-5,
                                                  1.0,
                                                  false}));
    for (int64_t j = 0; j < c; ++j) {
      double m = 0, v = 0;
      for (int64_t i = 0; i < n; ++i) m += double(x.f()[i * c + j]) / double(n);
      for (int64_t i = 0; i < n; ++i) v += std::pow(double(x.f()[i * c + j]) - m, 2) / double(n);
      CHECK(std::fabs(double(mean.f()[j]) / m - 1) < 1e-7);
      CHECK(std::fabs(double(rstd.f()[j]) * std::sqrt(v + 1e-5) - 1) < 1e-6);
      CHECK(std::fabs(double(y.f()[j]) - (double(x.f()[j]) - m) / std::sqrt(v + 1e-5)) < 1e-5);
    }
  }
}

TEST_CASE("batch norm backward") {
  for (const auto& shape : kShapes)
    for (const bool masked : {false, true})
      for (const bool add : {false, true}) {
        const int64_t c = shape[3];
        const Tensor x = uniform(shape), dy = uniform(shape), gamma = uniform({c}),
                     mean = uniform({c}, -.1, .1), rstd = uniform({c}, 1, 2);
        Tensor mask({(x.count() + 7) / 8}, Dtype::u8);
        for (size_t i = 0; i < mask.view().bytes(); ++i) mask.memory.get()[i] = std::byte(i * 37);
        const Tensor old = uniform(shape), old_c = uniform({c});
        check(
            [&](const Kernels& k) {
              const Tensor dx = old.copy(), dz = old.copy(), dg = old_c.copy(), db = old_c.copy();
              REQUIRE(call(k.batch_norm_backward, {dy.view(),
                                                   x.view(),
                                                   masked ? mask.view() : View(),
                                                   gamma.view(),
                                                   mean.view(),
                                                   rstd.view(),
                                                   {dx.view(), add},
                                                   {dz.view(), !add},
                                                   {dg.view(), add},
                                                   {db.view(), !add},
                                                   {}}));
              return std::vector<Tensor>{dx, dz, dg, db};
            },
            64 * kEps);
      }
}

TEST_CASE("batch norm inference") {
  for (const auto& shape : kShapes) {
    const int64_t c = shape[3];
    const Tensor x = uniform(shape), z = uniform(shape), gamma = uniform({c}), beta = uniform({c}),
                 mean = uniform({c}), var = uniform({c}, .5, 2);
    check(
        [&](const Kernels& k) {
          const Tensor y(shape);
          REQUIRE(call(k.batch_norm_inference, {x.view(), z.view(), gamma.view(), beta.view(),
                                                mean.view(), var.view(), y.view(), 1e-5, true}));
          return std::vector<Tensor>{y};
        },
        8 * kEps);
  }
}

TEST_CASE("max pool") {
  for (const auto& shape : kShapes)
    for (const auto [kernel, stride, padding] :
         {std::array{3, 2, 1}, std::array{2, 1, 0}, std::array{5, 3, 2}, std::array{1, 2, 0}}) {
      const auto out = [&](int64_t size) { return (size + 2 * padding - kernel) / stride + 1; };
      if (shape[1] + 2 * padding < kernel || shape[2] + 2 * padding < kernel) continue;
      const std::vector<int64_t> pooled = {shape[0], out(shape[1]), out(shape[2]), shape[3]};
      Tensor x = uniform(shape);
      for (int64_t i = 0; i < x.count(); ++i) x.f()[i] = std::round(x.f()[i] * 4);  // many ties
      x.f()[0] = -INFINITY;
      x.f()[x.count() - 1] = NAN;
      const Tensor dy = uniform(pooled), old = uniform(shape);
      for (const bool add : {false, true})
        check(
            [&](const Kernels& k) {
              const Tensor y(pooled), argmax(pooled, Dtype::u8), dx = old.copy();
              REQUIRE(call(k.max_pool_forward,
                           {x.view(), y.view(), argmax.view(), kernel, stride, padding}));
              REQUIRE(call(k.max_pool_backward,
                           {dy.view(), argmax.view(), {dx.view(), add}, kernel, stride, padding}));
              return std::vector<Tensor>{y, argmax, dx};
            },
            4 * kEps);
    }
}

TEST_CASE("global average pool") {
  for (const auto& shape : kShapes) {
    const Tensor x = uniform(shape), dy = uniform({shape[0], shape[3]}), old = uniform(shape);
    check(
        [&](const Kernels& k) {
          const Tensor y({shape[0], shape[3]}), dx = old.copy(), fresh(shape);
          REQUIRE(call(k.global_average_pool_forward, {x.view(), y.view()}));
          REQUIRE(call(k.global_average_pool_backward, {dy.view(), {dx.view(), true}}));
          REQUIRE(call(k.global_average_pool_backward, {dy.view(), {fresh.view(), false}}));
          return std::vector<Tensor>{y, dx, fresh};
        },
        16 * kEps);
  }
}

TEST_CASE("pointwise, fill, convert") {
  const std::vector<int64_t> shape = {3, 50021};
  const Tensor a = uniform(shape, -3, 3), b = uniform(shape), dy = uniform(shape),
               old = uniform(shape);
  for (const Pointwise op :
       {Pointwise::relu, Pointwise::sigmoid, Pointwise::scale, Pointwise::add, Pointwise::multiply})
    check(
        [&](const Kernels& k) {
          const Tensor y(shape), da(shape), db = old.copy(), sum = old.copy(), filled(shape);
          REQUIRE(call(k.pointwise_forward, {op, a.view(), b.view(), y.view(), .7}));
          REQUIRE(call(k.pointwise_backward, {op,
                                              a.view(),
                                              b.view(),
                                              y.view(),
                                              dy.view(),
                                              {da.view(), false},
                                              {db.view(), true},
                                              .7}));
          REQUIRE(call(k.fill, {filled.view(), 1.5}));
          REQUIRE(call(k.convert, {a.view(), {sum.view(), true}}));
          return std::vector<Tensor>{y, da, db, sum, filled};
        },
        0);
}

TEST_CASE("losses") {
  const int64_t n = 7, c = 14;
  Tensor z = uniform({n, c}, -4, 4), y = uniform({n, c}), labels({n}, Dtype::i32);
  for (int64_t i = 0; i < y.count(); ++i) y.f()[i] = y.f()[i] > 0 ? 1 : 0;
  z.f()[0] = 80, z.f()[1] = -80, y.f()[0] = 0, y.f()[1] = 1, y.f()[2] = NAN;
  for (int64_t i = 0; i < n; ++i) reinterpret_cast<int32_t*>(labels.f())[i] = int32_t(i * 2);
  const Tensor positive = uniform({c}, 1, 5);
  StepState state;
  state.loss_scale = 1024;
  check(
      [&](const Kernels& k) {
        const Tensor loss({1}), dz({n, c}), loss2({1}), dz2({n, c});
        REQUIRE(
            call(k.sigmoid_cross_entropy,
                 {z.view(), y.view(), positive.view(), {}, loss.view(), dz.view(), &state, {}}));
        REQUIRE(call(k.softmax_cross_entropy,
                     {z.view(), labels.view(), loss2.view(), dz2.view(), &state, {}}));
        return std::vector<Tensor>{loss, dz, loss2, dz2};
      },
      4 * kEps);
}

TEST_CASE("augment") {
  const int64_t n = 3, h = 6, w = 5;
  Tensor pixels({9 * 8 * 3 * n}, Dtype::u8), items({n * int64_t(sizeof(AugmentItem))}, Dtype::u8);
  for (int64_t i = 0; i < pixels.count(); ++i) pixels.memory.get()[i] = std::byte(i * 31 + i / 7);
  AugmentItem* item = reinterpret_cast<AugmentItem*>(items.memory.get());
  item[0] = {0, 9, 8, 3, 0, 0, 0};
  item[1] = {9 * 8 * 3, 9, 8, 1, 3, 3, 1};
  item[2] = {9 * 8 * 4, 9, 8, 3, 2, 1, 1};
  Augment a{pixels.view(), items.view(), {}, {120, 110, 100}, {50, 60, 70}};
  check(
      [&](const Kernels& k) {
        const Tensor y({n, h, w, 3});
        a.y = y.view();
        REQUIRE(call(k.augment, a));
        return std::vector<Tensor>{y};
      },
      0);
  item[2].crop_x = 4;
  CHECK(call(cpu_backend().kernels.augment, a).code == StatusCode::invalid);
}

TEST_CASE("gradient check and optimizer step") {
  const std::vector<int64_t> counts = {1, 17, 70000, 131072};
  for (const OptimizerKind kind :
       {OptimizerKind::sgd, OptimizerKind::nag, OptimizerKind::adam, OptimizerKind::rmsprop})
    for (const double clip : {0.0, 0.5}) {
      std::vector<Tensor> values, gradients;
      for (const int64_t n : counts)
        values.push_back(uniform({n})), gradients.push_back(uniform({n}));
      check(
          [&](const Kernels& k) {
            std::vector<Tensor> w, m, v;
            std::vector<ParameterUpdate> items;
            for (size_t i = 0; i < counts.size(); ++i) {
              w.push_back(values[i].copy()), m.push_back(gradients[i].copy());
              v.push_back(uniform({counts[i]}, .5, .5));
              items.push_back({w[i].f(), gradients[i].f(), m[i].f(), v[i].f(), nullptr, counts[i],
                               Dtype::f32, Dtype::f32, Dtype::f32, i % 2 ? 1e-2 : 0.});
              if (kind == OptimizerKind::rmsprop) items[i].moment1 = v[i].f();
            }
            StepState state;
            state.loss_scale = 8;
            REQUIRE(call(k.gradient_check, {items.data(), nullptr, 4, &state, {}, {}}));
            Tensor norm({1});
            norm.f()[0] = float(state.gradient_norm);
            REQUIRE(call(k.optimizer_step, {kind, items.data(), nullptr, 4, &state, .1, .9, .9,
                                            .999, 1e-8, .9, clip}));
            w.insert(w.end(), m.begin(), m.end());
            w.insert(w.end(), v.begin(), v.end());
            w.push_back(norm);
            return w;
          },
          4 * kEps);
    }
}

TEST_CASE("a gradient that is not finite is found and skips the step") {
  for (const Named& isa : instruction_sets())
    for (const float bad : {INFINITY, -INFINITY, NAN}) {
      Tensor w = uniform({100}), g0 = uniform({100}), g1 = uniform({70001}, 1e30, 3e38);
      ParameterUpdate items[2] = {
          {w.f(), g0.f(), g0.f(), g0.f(), nullptr, 100, Dtype::f32, Dtype::f32, Dtype::f32, 0},
          {w.f(), g1.f(), g0.f(), g0.f(), nullptr, 70001, Dtype::f32, Dtype::f32, Dtype::f32, 0}};
      StepState state;
      REQUIRE(call(isa.kernels.gradient_check, {items, nullptr, 2, &state, {}, {}}));
      CHECK(state.good == 1);  // huge is not infinite
      g1.f()[70000] = bad;
      REQUIRE(call(isa.kernels.gradient_check, {items, nullptr, 2, &state, {}, {}}));
      CHECK(state.first_bad == 1);
      const Tensor before = w.copy();
      REQUIRE(call(isa.kernels.optimizer_step,
                   {OptimizerKind::sgd, items, nullptr, 2, &state, .1, .9, .9, .999, 1e-8, .9, 0}));
      CHECK(same_bits(before, w));
    }
}

TEST_CASE("convolution and linear") {
  if (!cpu_backend().kernels.convolution_forward.run) return;
  struct Case {
    std::vector<int64_t> x, w;
    int stride, padding;
  };
  for (const Case& c :
       {Case{{2, 17, 13, 3}, {16, 7, 7, 3}, 2, 3}, Case{{2, 9, 9, 64}, {32, 1, 1, 64}, 1, 0},
        Case{{3, 8, 7, 32}, {48, 3, 3, 32}, 1, 1}, Case{{2, 8, 8, 32}, {64, 3, 3, 32}, 2, 1},
        Case{{2, 7, 8, 33}, {5, 1, 1, 33}, 2, 0}, Case{{1, 6, 6, 5}, {7, 3, 3, 5}, 3, 2}}) {
    const auto out = [&](int i) {
      return (c.x[size_t(i)] + 2 * c.padding - c.w[size_t(i)]) / c.stride + 1;
    };
    const std::vector<int64_t> ys = {c.x[0], out(1), out(2), c.w[0]};
    const Tensor x = uniform(c.x), w = uniform(c.w), dy = uniform(ys), old_x = uniform(c.x),
                 old_w = uniform(c.w);
    for (const bool add : {false, true})
      check(
          [&](const Kernels& k) {
            const Tensor y(ys), dx = old_x.copy(), dw = old_w.copy();
            REQUIRE(call(k.convolution_forward,
                         {x.view(), w.view(), y.view(), c.stride, c.padding, {}}));
            REQUIRE(call(k.convolution_backward_data,
                         {dy.view(), w.view(), {dx.view(), add}, c.stride, c.padding, {}}));
            REQUIRE(call(k.convolution_backward_weights,
                         {x.view(), dy.view(), {dw.view(), add}, c.stride, c.padding, {}}));
            return std::vector<Tensor>{y, dx, dw};
          },
          16 * kEps, false);
  }
  const Tensor x = uniform({5, 33}), w = uniform({14, 33}), b = uniform({14}),
               dy = uniform({5, 14});
  for (const bool add : {false, true})
    check(
        [&](const Kernels& k) {
          const Tensor y({5, 14}), dx = x.copy(), dw = w.copy(), db = b.copy();
          REQUIRE(call(k.linear_forward, {x.view(), w.view(), b.view(), y.view(), {}}));
          REQUIRE(call(k.linear_backward, {dy.view(),
                                           x.view(),
                                           w.view(),
                                           {dx.view(), add},
                                           {dw.view(), add},
                                           {db.view(), add},
                                           {}}));
          return std::vector<Tensor>{y, dx, dw, db};
        },
        16 * kEps, false);
}

TEST_CASE("wrong shapes get a status") {
  const Kernels& k = cpu_backend().kernels;
  const Tensor x = uniform({2, 4, 4, 8}), y({2, 4, 4, 9}), c({8});
  CHECK(k.batch_norm_forward
            .run(nullptr,
                 {x.view(), {}, {}, c.view(), y.view(), {}, c.view(), c.view(), c.view(), c.view()})
            .code == StatusCode::invalid);
  CHECK(k.batch_norm_forward  // no workspace
            .run(nullptr,
                 {x.view(), {}, {}, c.view(), x.view(), {}, c.view(), c.view(), c.view(), c.view()})
            .code == StatusCode::invalid);
  View half = x.view();
  half.dtype = Dtype::f16;
  CHECK(k.fill.run(nullptr, {half, 1}).code == StatusCode::unsupported);
  CHECK(k.max_pool_forward.run(nullptr, {x.view(), x.view(), x.view()}).code ==
        StatusCode::invalid);
  if (!k.convolution_forward.run) return;
  CHECK(k.convolution_forward.run(nullptr, {x.view(), x.view(), y.view(), 1, 0, {}}).code ==
        StatusCode::invalid);
  const Tensor w = uniform({9, 1, 1, 8});
  CHECK(k.convolution_forward.run(nullptr, {x.view(), w.view(), y.view(), 2, 0, {}}).code ==
        StatusCode::invalid);
}

#ifdef PNEUMA_ONEDNN
TEST_CASE("the cache of primitives is bounded") {
  for (int64_t n = 1; n <= int64_t(onednn::kMaxOperations) + 20; ++n)
    cpu_backend().kernels.linear_forward.workspace(
        {Tensor({n, 2}).view(), Tensor({3, 2}).view(), {}, Tensor({n, 3}).view(), {}});
  CHECK(onednn::cached_operations() == onednn::kMaxOperations);
}
#endif

TEST_CASE("prints the device's name") {  // what the next case starts
  DeviceProperties p;
  const Status status = cpu_backend().device.properties(&p);
  std::printf("DEVICE %s|%s\n", p.name, status.message);
}

TEST_CASE("PNEUMA_CPU_ISA forces an instruction set") {
  const auto device_with = [](const std::string& isa) {
    const std::string program = std::filesystem::read_symlink("/proc/self/exe");
    FILE* pipe = popen(("PNEUMA_CPU_ISA=" + isa + " " + program + " -tc='prints*'").c_str(), "r");
    std::string text;
    for (char line[256]; std::fgets(line, sizeof line, pipe);) text += line;
    pclose(pipe);
    return text;
  };
  for (const Named& isa : instruction_sets())
    CHECK(device_with(isa.name).find(std::string(", ") + isa.name + ", ") != std::string::npos);
  CHECK(device_with("sse9").find("PNEUMA_CPU_ISA must be") != std::string::npos);
}

// An inline function of a header that two instruction sets leave behind would be merged, and run
// where it cannot.
TEST_CASE("no weak symbol in the objects of an instruction set") {
  int objects = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(PNEUMA_BIN_DIR "/../kernels/cpu")) {
    const std::string path = entry.path().string();
    if (path.find("/pneuma_cpu_") == std::string::npos || entry.path().extension() != ".o")
      continue;
    ++objects;
    FILE* pipe = popen(("nm -C --defined-only '" + path + "'").c_str(), "r");
    for (char line[1024]; std::fgets(line, sizeof line, pipe);) {
      CAPTURE(path);
      CHECK_MESSAGE(!std::strpbrk(std::string(line).substr(17, 1).c_str(), "WVuvw"), line);
    }
    CHECK(pclose(pipe) == 0);
  }
  CHECK(objects >= 3 * 10);
}

}  // namespace pneuma
