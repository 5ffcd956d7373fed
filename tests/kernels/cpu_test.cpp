// The cpu device's own kernels against the reference, each instruction set that this machine has,
// each storage; the same bits for every number of threads.
#include "kernels/pointwise.h"
#include "tests/kernels/cpu_check.h"

namespace pneuma::testing {
namespace {

// N, H, W, C: odd, tiny, wide, and of several chunks.
const std::vector<std::vector<int64_t>> kShapes = {{2, 5, 7, 3},  {1, 1, 1, 1},    {3, 4, 5, 17},
                                                   {2, 9, 9, 64}, {1, 3, 3, 1037}, {4, 40, 31, 64}};

}  // namespace

TEST_CASE("batch norm forward") {
  for (const auto& shape : kShapes)
    for (const Dtype t : kStorage)
      for (const bool relu : {false, true})
        for (const bool residual : {false, true}) {
          const int64_t c = shape[3];
          const Tensor x = stored(uniform(shape, -1, 2), t),
                       z = residual ? stored(uniform(shape), t) : Tensor();
          const Tensor gamma = relu ? uniform({c}) : Tensor(), beta = uniform({c});
          check(
              [&](const Kernels& k) {
                Tensor y(shape, t), mask({(x.count() + 7) / 8}, Dtype::u8), mean({c}), rstd({c});
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
      for (const bool add : {false, true})
        for (const Dtype t : kStorage) {
          const int64_t c = shape[3];
          const Tensor x = stored(uniform(shape), t), dy = stored(uniform(shape), t),
                       gamma = uniform({c}), mean = uniform({c}, -.1, .1),
                       rstd = uniform({c}, 1, 2);
          Tensor mask({(x.count() + 7) / 8}, Dtype::u8);
          for (size_t i = 0; i < mask.view().bytes(); ++i) mask.memory.get()[i] = std::byte(i * 37);
          const Tensor old = stored(uniform(shape), t), old_c = uniform({c});
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
  for (const auto& shape : kShapes)
    for (const Dtype t : kStorage) {
      const int64_t c = shape[3];
      const Tensor x = stored(uniform(shape), t), z = stored(uniform(shape), t),
                   gamma = uniform({c}), beta = uniform({c}), mean = uniform({c}),
                   var = uniform({c}, .5, 2);
      check(
          [&](const Kernels& k) {
            const Tensor y(shape, t);
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
      for (const Dtype t : kStorage)
        for (const bool add : {false, true}) {
          const Tensor stored_x = stored(x, t), dy = stored(uniform(pooled), t),
                       old = stored(uniform(shape), t);
          check(
              [&](const Kernels& k) {
                const Tensor y(pooled, t), argmax(pooled, Dtype::u8), dx = old.copy();
                REQUIRE(call(k.max_pool_forward,
                             {stored_x.view(), y.view(), argmax.view(), kernel, stride, padding}));
                REQUIRE(
                    call(k.max_pool_backward,
                         {dy.view(), argmax.view(), {dx.view(), add}, kernel, stride, padding}));
                return std::vector<Tensor>{y, argmax, dx};
              },
              t == Dtype::f32 ? 4 * kEps : 0);  // sums of 16 bits are exact
        }
    }
}

TEST_CASE("global average pool") {
  for (const auto& shape : kShapes)
    for (const Dtype t : kStorage) {
      const Tensor x = stored(uniform(shape), t), dy = stored(uniform({shape[0], shape[3]}), t),
                   old = stored(uniform(shape), t);
      check(
          [&](const Kernels& k) {
            const Tensor y({shape[0], shape[3]}, t), dx = old.copy(), fresh(shape, t);
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
  for (const Dtype t : kStorage) {
    const Tensor a = stored(uniform(shape, -3, 3), t), b = stored(uniform(shape), t),
                 dy = stored(uniform(shape), t), old = stored(uniform(shape), t);
    for (const Pointwise op : {Pointwise::relu, Pointwise::sigmoid, Pointwise::scale,
                               Pointwise::add, Pointwise::multiply})
      check(
          [&](const Kernels& k) {
            const Tensor y(shape, t), da(shape, t), db = old.copy(), sum = old.copy(),
                                                    filled(shape, t);
            REQUIRE(call(k.pointwise_forward, {op, a.view(), b.view(), y.view(), .7}));
            REQUIRE(call(k.pointwise_backward, {op,
                                                a.view(),
                                                b.view(),
                                                y.view(),
                                                dy.view(),
                                                {da.view(), false},
                                                {db.view(), true},
                                                .7}));
            REQUIRE(call(k.fill, {filled.view(), 1.2345}));
            REQUIRE(call(k.convert, {a.view(), {sum.view(), true}}));
            return std::vector<Tensor>{y, da, db, sum, filled};
          },
          0);
  }
}

TEST_CASE("losses, of a batch and of a part of one") {
  const int64_t n = 7, c = 14, batch = 18;
  Tensor z = uniform({n, c}, -4, 4), y = uniform({n, c}), labels({n}, Dtype::i32);
  for (int64_t i = 0; i < y.count(); ++i) y.f()[i] = y.f()[i] > 0 ? 1 : 0;
  z.f()[0] = 80, z.f()[1] = -80, y.f()[0] = 0, y.f()[1] = 1, y.f()[2] = NAN;
  for (int64_t i = 0; i < n; ++i) reinterpret_cast<int32_t*>(labels.f())[i] = int32_t(i * 2);
  const Tensor positive = uniform({c}, 1, 5);
  StepState state;
  state.loss_scale = 1024;
  for (const Dtype t : kStorage) {
    const Tensor logits = stored(z, t);
    check(
        [&](const Kernels& k) {
          const Tensor loss({1}), dz({n, c}, t), loss2({1}), dz2({n, c}, t);
          REQUIRE(call(k.sigmoid_cross_entropy, {logits.view(),
                                                 y.view(),
                                                 positive.view(),
                                                 {},
                                                 loss.view(),
                                                 dz.view(),
                                                 n,
                                                 &state,
                                                 {}}));
          REQUIRE(
              call(k.softmax_cross_entropy,
                   {logits.view(), labels.view(), loss2.view(), dz2.view(), batch, &state, {}}));
          const Tensor loss3({1}), dz3({n, c}, t);
          REQUIRE(call(k.sigmoid_cross_entropy, {logits.view(),
                                                 y.view(),
                                                 positive.view(),
                                                 {},
                                                 loss3.view(),
                                                 dz3.view(),
                                                 batch,
                                                 &state,
                                                 {}}));
          return std::vector<Tensor>{loss, dz, loss2, dz2, loss3, dz3};
        },
        4 * kEps);
  }
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
  for (const bool turned : {false, true})
    for (const Dtype t : kStorage) {
      item[1].transform = turned;
      item[1].affine[0] = item[1].affine[4] = .75f;
      check(
          [&](const Kernels& k) {
            const Tensor y({n, h, w, 3}, t);
            a.y = y.view();
            REQUIRE(call(k.augment, a));
            return std::vector<Tensor>{y};
          },
          0);
    }
  item[2].crop_x = 4;
  CHECK(call(cpu_backend().kernels.augment, a).code == StatusCode::invalid);
}

TEST_CASE("gradient check and optimizer step") {
  const std::vector<int64_t> counts = {1, 17, 70000, 131072};
  for (const OptimizerKind kind :
       {OptimizerKind::sgd, OptimizerKind::nag, OptimizerKind::adam, OptimizerKind::rmsprop})
    for (const double clip : {0.0, 0.5})
      for (const Dtype t : kStorage) {
        std::vector<Tensor> values, gradients;
        for (const int64_t n : counts)
          values.push_back(uniform({n})), gradients.push_back(uniform({n}));
        check(
            [&](const Kernels& k) {
              std::vector<Tensor> w, m, v, g, working;
              std::vector<ParameterUpdate> items;
              for (size_t i = 0; i < counts.size(); ++i) {
                w.push_back(values[i].copy()), m.push_back(gradients[i].copy());
                v.push_back(uniform({counts[i]}, .5, .5));
                const Dtype other = kStorage[(i + size_t(t)) % 3];  // as the working copy is stored
                g.push_back(stored(gradients[i], i ? t : Dtype::f32));
                working.push_back(Tensor({counts[i]}, other));
                items.push_back({w[i].f(), g[i].f(), m[i].f(), v[i].f(), working[i].f(), counts[i],
                                 Dtype::f32, g[i].dtype, other, i % 2 ? 1e-2 : 0.});
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
              w.insert(w.end(), working.begin(), working.end());
              w.push_back(norm);
              return w;
            },
            clip > 0 ? 4 * kEps : 0);  // a clipped step has the rounding of the norm
      }
}

TEST_CASE("a gradient that is not finite is found and skips the step") {
  for (const Named& isa : instruction_sets())
    for (const float bad : {INFINITY, -INFINITY, NAN})
      for (const Dtype t : kStorage) {
        Tensor w = uniform({100}), g0 = uniform({100});
        Tensor huge = t == Dtype::f16 ? uniform({70001}, 6e4, 65504) : uniform({70001}, 1e30, 3e38);
        Tensor g1 = stored(huge, t);
        ParameterUpdate items[2] = {
            {w.f(), g0.f(), g0.f(), g0.f(), nullptr, 100, Dtype::f32, Dtype::f32, Dtype::f32, 0},
            {w.f(), g1.f(), g0.f(), g0.f(), nullptr, 70001, Dtype::f32, t, Dtype::f32, 0}};
        StepState state;
        REQUIRE(call(isa.kernels.gradient_check, {items, nullptr, 2, &state, {}, {}}));
        CHECK(state.good == 1);  // huge is not infinite
        huge.f()[70000] = bad;
        g1 = stored(huge, t);
        items[1].gradient = g1.f();
        REQUIRE(call(isa.kernels.gradient_check, {items, nullptr, 2, &state, {}, {}}));
        CHECK(state.first_bad == 1);
        const Tensor before = w.copy();
        REQUIRE(call(isa.kernels.optimizer_step, {OptimizerKind::sgd, items, nullptr, 2, &state, .1,
                                                  .9, .9, .999, 1e-8, .9, 0}));
        CHECK(same_bits(before, w));
      }
}

}  // namespace pneuma::testing
