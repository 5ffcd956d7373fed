// The loss scale in real steps of a network, on every device: its path, and what a skipped step
// leaves. The transitions one by one: tests/kernels/step_state_test.cpp.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/host_values.h"
#include "engine/optim/optimizer.h"
#include "engine/random.h"
#include "kernels/reference/table.h"
#include "models/resnet.h"
#include "tests/devices.h"
#include "tests/network.h"

using namespace pneuma;

// Scales far above what gradients of each dtype bear, so that the path falls, and a short interval,
// so that it grows and falls again.
TEST_CASE("the loss scale's path over real steps is the state machine's") {
  constexpr int kSteps = 24;
  for (const Backend* device : testing::every_device()) {
    for (const Precision* precision : {&float16(), &bfloat16()}) {
      CAPTURE(std::string(device->name));
      CAPTURE(std::string(precision->name));
      const bool half = precision == &float16();
      const ScalerPolicy policy = {.dynamic = true,
                                   .start = half ? 0x1p40 : 0x1p124,
                                   .growth = half ? 64.0 : 256.0,
                                   .backoff = 0x1p-5,
                                   .floor = 4,
                                   .interval = 3};
      Context ctx(*device, *precision);
      ResNet net(ctx, {.num_layers = 10, .num_classes = 3, .base_width = 4});
      net.initialize(ctx, 1);
      net.parameters().make_gradients(ctx);
      Optimizer optimizer(ctx, net.parameters(), {}, policy);
      const Tensor x = testing::noise(ctx, {2, 32, 32, 3}, precision->activation());
      const Tensor labels = ctx.persistent({2, 3}, Dtype::f32);
      StepState expected = optimizer.state(ctx);
      CHECK(expected.loss_scale == policy.start);
      bool grew = false;
      for (int step = 0; step < kSteps; ++step) {
        CAPTURE(step);
        std::vector<std::vector<double>> before, after;
        for (const Parameter& p : net.parameters().parameters)
          before.push_back(get_values(ctx, p.value));
        train_step(ctx, net.parameters(), optimizer, 1e-4, [&](Context& c) {
          return ops::sigmoid_cross_entropy(c, net.forward(c, x), labels, {}, {},
                                            optimizer.device_state());
        });
        const StepState state = optimizer.state(ctx);
        grew |= state.loss_scale > expected.loss_scale;
        expected.check(state.first_bad, state.gradient_norm, policy);
        CHECK(state.good == expected.good);
        CHECK(state.loss_scale == expected.loss_scale);
        CHECK(state.gradient_scale == expected.gradient_scale);
        CHECK(state.step == expected.step);
        CHECK(state.clean == expected.clean);
        CHECK(state.skipped == expected.skipped);
        CHECK(state.skipped_in_a_row == expected.skipped_in_a_row);
        for (const Parameter& p : net.parameters().parameters)
          after.push_back(get_values(ctx, p.value));
        CHECK((before == after) == !state.good);
      }
      CHECK(grew);
      CHECK(expected.skipped >= 2);
      CHECK(expected.step >= 6);
      CHECK(expected.step + expected.skipped == kSteps);
    }
  }
}

// A value beyond float16's largest, 65504, in the forward pass: the step is skipped, and running
// statistics that took the inf would spoil every evaluation from then on.
TEST_CASE("a channel with inf or nan leaves its running statistics alone") {
  for (const Backend* device : testing::every_device()) {
    for (const float bad : {INFINITY, -INFINITY, NAN}) {
      for (const size_t row : {0, 17, 31}) {
        CAPTURE(std::string(device->name));
        CAPTURE(bad);
        CAPTURE(row);
        constexpr int64_t kChannels = 5;
        Context ctx(*device, float16());
        const Tensor x = testing::noise(ctx, {2, 4, 4, kChannels}, Dtype::f16);
        std::vector<double> values = get_values(ctx, x);
        values[row * kChannels + 1] = double(bad);
        set_values(ctx, x, std::span<const double>(values));
        const auto filled = [&](float v) {
          const Tensor t = ctx.persistent({kChannels}, Dtype::f32);
          set_values(ctx, t, std::vector<float>(kChannels, v));
          return t;
        };
        const Tensor mean = filled(3), variance = filled(7);
        ctx.training = true;
        ops::batch_norm_relu(ctx, x, {filled(1), filled(0), mean, variance});
        const std::vector<double> m = get_values(ctx, mean), v = get_values(ctx, variance);
        for (size_t c = 0; c < size_t(kChannels); ++c) {
          CAPTURE(c);
          CHECK((m[c] == 3) == (c == 1));
          CHECK((v[c] == 7) == (c == 1));
          CHECK(std::isfinite(m[c] + v[c]));
        }
      }
    }
  }
}
