// Training with 16-bit activations, gradients and weights: which dtype each tensor of a step has, a
// bad value that changes nothing, and what happens without the loss scale or without the masters.
#include <doctest/doctest.h>

#include <cmath>
#include <optional>

#include "engine/host_values.h"
#include "engine/optim/optimizer.h"
#include "engine/random.h"
#include "kernels/half.h"
#include "kernels/reference/table.h"
#include "models/resnet.h"
#include "tests/devices.h"
#include "tests/network.h"

using namespace pneuma;

namespace {

// What the tests of a network's step need, on one batch of noise.
struct Fixture {
  Fixture(const Backend& backend, const Precision& precision, int num_layers, int width,
          OptimizerSettings settings = {}, ScalerPolicy scaler = {.dynamic = true})
      : ctx(backend, precision),
        net(ctx, {.num_layers = num_layers, .num_classes = 3, .base_width = width}),
        x(testing::noise(ctx, {2, 32, 32, 3}, precision.activation())),
        labels(testing::noise(ctx, {2, 3}, Dtype::f32)) {
    net.initialize(ctx, 1);
    net.parameters().make_gradients(ctx);
    optimizer.emplace(ctx, net.parameters(), settings, scaler);
    std::vector<double> y = get_values(ctx, labels);
    for (double& v : y) v = v > 0;
    set_values(ctx, labels, std::span<const double>(y));
  }
  Tensor loss(Context& c) {
    return ops::sigmoid_cross_entropy(c, net.forward(c, x), labels, {}, {},
                                      optimizer->device_state());
  }
  void step() {
    train_step(ctx, net.parameters(), *optimizer, 1e-3, [&](Context& c) { return loss(c); });
  }
  // Everything that a skipped step must leave alone.
  std::vector<std::vector<double>> all() {
    std::vector<std::vector<double>> values;
    for (const Parameter& p : net.parameters().parameters) {
      values.push_back(get_values(ctx, p.value));
      if (p.working) values.push_back(get_values(ctx, p.working));
    }
    for (const Buffer& m : optimizer->moments()) values.push_back(get_values(ctx, m.value));
    return values;
  }

  Context ctx;
  ResNet net;
  Tensor x, labels;
  std::optional<Optimizer> optimizer;
};

const Precision* const kSixteenBits[] = {&float16(), &bfloat16()};

std::vector<std::pair<const Backend*, const Precision*>> devices_and_policies() {
  std::vector<std::pair<const Backend*, const Precision*>> all;
  for (const Backend* device : testing::every_device())
    for (const Precision* precision : kSixteenBits) all.emplace_back(device, precision);
  return all;
}

}  // namespace

TEST_CASE("every tensor of a step has the dtype that the policy's table says") {
  for (const auto& [device, precision] : devices_and_policies()) {
    CAPTURE(std::string(device->name));
    CAPTURE(std::string(precision->name));
    const Dtype t = precision->activation();
    Fixture f(*device, *precision, 10, 4);
    for (const Parameter& p : f.net.parameters().parameters) {
      CAPTURE(p.name);
      const bool weight = p.role == Role::weight;
      CHECK(p.value.dtype() == Dtype::f32);
      CHECK(bool(p.working) == weight);
      CHECK(p.read().dtype() == (weight ? t : Dtype::f32));
      CHECK(p.gradient.dtype() == (weight ? t : Dtype::f32));
    }
    for (const Buffer& m : f.optimizer->moments()) CHECK(m.value.dtype() == Dtype::f32);
    for (const Buffer& b : f.net.parameters().buffers) CHECK(b.value.dtype() == Dtype::f32);

    Tape tape;
    f.net.parameters().watch(tape);
    const Recording recording(f.ctx, tape);
    const Tensor loss = f.loss(f.ctx);
    int casts = 0;
    for (const Node& node : tape.nodes()) {
      CAPTURE(std::string(node.name));
      const std::string name = node.name;
      const bool single = name == "cast" || name == "sigmoid_cross_entropy";
      CHECK(tape.dtype_of(node.output) == (single ? Dtype::f32 : t));
      // Statistics, scales and shifts have one dimension; what else is kept has the op's dtype.
      for (const Tensor& kept : node.saved)
        if (kept && kept.dtype() != Dtype::u8)  // masks, places of maxima
          CHECK(kept.dtype() == (single || kept.shape().rank == 1 ? Dtype::f32 : t));
      casts += name == "cast";
    }
    CHECK(casts == 1);  // the logits
    tape.observe = [&](const Node& node, const Tensor& dy) {
      CAPTURE(std::string(node.name));
      if (dy) CHECK(dy.dtype() == (std::string(node.name) == "cast" ? Dtype::f32 : t));
    };
    tape.backward(f.ctx, loss);
  }
}

TEST_CASE("working copies are the masters, rounded, after each of initialize and a step") {
  for (const auto& [device, precision] : devices_and_policies()) {
    CAPTURE(std::string(device->name));
    Fixture f(*device, *precision, 10, 4);
    for (int step = 0; step < 3; ++step) {
      testing::check_working_copies(f.ctx, f.net.parameters());
      f.step();
    }
  }
}

// The whole of a ResNet-50, narrow: all 161 gradients, all four optimizers, every device. Each
// tensor's bad value comes at a step of its own drawing, among good ones. `whole`: on host_cuda
// too, which else has a quarter of the tensors for each optimizer.
void check_bad_values(bool whole) {
  constexpr int kSteps = 3;
  constexpr double kScale = 16;
  constexpr double kBad[] = {INFINITY, -INFINITY, NAN};
  for (const Backend* device : testing::every_device())
    for (const OptimizerKind kind :
         {OptimizerKind::sgd, OptimizerKind::nag, OptimizerKind::adam, OptimizerKind::rmsprop}) {
      CAPTURE(std::string(device->name));
      CAPTURE(std::string(name_of(kind)));
      // Either format with either kind of optimizer: with one moment, and Adam with two.
      const bool half = kind == OptimizerKind::sgd || kind == OptimizerKind::adam;
      Fixture f(*device, half ? float16() : bfloat16(), 50, 2, {.kind = kind});
      StepState state;
      state.loss_scale = kScale;
      f.optimizer->set_state(f.ctx, state);
      const auto& parameters = f.net.parameters().parameters;
      REQUIRE(parameters.size() == 161);
      Random random(5, Purpose::test);
      int64_t injected = 0;
      std::vector<int> step_of;
      for (size_t k = 0; k < parameters.size(); ++k) step_of.push_back(int(random.below(kSteps)));
      for (int step = 0; step < kSteps; ++step) {
        f.step();
        state = f.optimizer->state(f.ctx);
        REQUIRE(state.good);
        REQUIRE(state.step == step + 1);
        const auto before = f.all();
        for (size_t k = 0; k < parameters.size(); ++k) {
          if (step_of[k] != step) continue;
          if (!whole && std::string(device->name) == "host_cuda" && k % 4 != size_t(kind)) continue;
          ++injected;
          CAPTURE(parameters[k].name);
          const std::vector<double> gradient = get_values(f.ctx, parameters[k].gradient);
          std::vector<double> bad = gradient;
          bad[random.below(uint32_t(bad.size()))] = kBad[random.below(3)];
          set_values(f.ctx, parameters[k].gradient, std::span<const double>(bad));
          f.optimizer->step(f.ctx, 1e-3);
          StepState after = f.optimizer->state(f.ctx);
          CHECK(!after.good);
          CHECK(after.first_bad == int64_t(k));
          CHECK(after.step == state.step);
          CHECK(after.skipped == state.skipped + 1);
          CHECK(after.skipped_in_a_row == state.skipped_in_a_row + 1);
          CHECK(after.loss_scale == kScale / 2);
          state = after;
          state.loss_scale = kScale;
          f.optimizer->set_state(f.ctx, state);
          set_values(f.ctx, parameters[k].gradient, std::span<const double>(gradient));
        }
        CHECK(f.all() == before);
      }
      CHECK(injected >= (whole ? 161 : 40));
      CHECK(state.skipped == injected);
    }
}
TEST_CASE("one bad value in any gradient skips the step, changes nothing and halves the scale") {
  check_bad_values(false);
}
TEST_CASE("a bad value in any gradient, with every optimizer on host_cuda too [slow]") {
  check_bad_values(true);
}

// A gradient of 2^-26 is less than half of f16's smallest number.
TEST_CASE("a small gradient is lost in f16 without the loss scale, and kept with it") {
  for (const double scale : {1.0, 1024.0}) {
    Context ctx(reference_backend(), float16());
    const Tensor x = ctx.persistent({1, 1}, Dtype::f16),
                 labels = ctx.persistent({1, 1}, Dtype::f32);
    const Tensor b = ctx.persistent({1}, Dtype::f32);
    Parameters net;
    const Tensor w = net.add(ctx, "w", Role::weight, {1, 1});
    const double small[] = {0x1p-25}, one[] = {1};
    set_values(ctx, x, std::span<const double>(one));
    set_values(ctx, labels, std::span<const double>(one));
    net.make_gradients(ctx);
    Optimizer optimizer(ctx, net, {.kind = OptimizerKind::sgd, .momentum = 0});
    StepState state;
    state.loss_scale = scale;
    optimizer.set_state(ctx, state);
    const Tensor weight = ctx.persistent({1}, Dtype::f32);  // d loss / d logit = -0.5 * this
    set_values(ctx, weight, std::span<const double>(small));
    train_step(ctx, net, optimizer, 1.0, [&](Context& c) {
      const Tensor z = ops::cast(c, ops::linear(c, x, w, b), Dtype::f32);
      return ops::sigmoid_cross_entropy(c, z, labels, weight, {}, optimizer.device_state());
    });
    const double moved = get_values(ctx, net.parameters[0].value)[0];
    CHECK(moved == (scale == 1 ? 0.0 : 0x1p-26));
  }
}

// A weight of 1 in f16 does not see a step of 1e-4, a tenth of the distance to the next number.
TEST_CASE("f16 weights stall without a master, and arrive with one") {
  for (const bool with_master : {false, true}) {
    Context ctx(reference_backend(), float16());
    Parameters net;
    const Tensor value = ctx.persistent({1}, with_master ? Dtype::f32 : Dtype::f16);
    net.parameters.push_back({"w", Role::weight, value, {}, {}});
    if (with_master) net.parameters[0].working = ctx.persistent({1}, Dtype::f16);
    const double start[] = {1}, gradient[] = {1};
    set_values(ctx, value, std::span<const double>(start));
    net.write_working(ctx);
    net.make_gradients(ctx);
    set_values(ctx, net.parameters[0].gradient, std::span<const double>(gradient));
    Optimizer optimizer(ctx, net, {.kind = OptimizerKind::sgd, .momentum = 0});
    for (int step = 0; step < 100; ++step) optimizer.step(ctx, 1e-4);
    const double w = get_values(ctx, net.parameters[0].read())[0];
    if (with_master)
      CHECK(w == doctest::Approx(0.99).epsilon(0.001));
    else
      CHECK(w == 1);
  }
}

// What is alive when the loss is computed: everything that the backward pass needs.
TEST_CASE("saved activations of ResNet-50 at 896, batch 4, take about half of float32's bytes") {
  const auto saved_bytes = [](const Precision& precision) {
    Context ctx(reference_backend(), precision, /*dry=*/true);
    ResNet net(ctx, {.num_layers = 50, .num_classes = 14});
    net.parameters().make_gradients(ctx);
    Optimizer optimizer(ctx, net.parameters(), {});
    const Tensor x = ctx.persistent({4, 896, 896, 3}, precision.activation());
    const Tensor labels = ctx.persistent({4, 14}, Dtype::f32);
    const MemoryPlan plan = ctx.record([&] {
      train_step(ctx, net.parameters(), optimizer, 1e-3, [&](Context& c) {
        return ops::sigmoid_cross_entropy(c, net.forward(c, x), labels);
      });
    });
    const size_t bytes = bytes_alive_at(plan, "sigmoid_cross_entropy");
    REQUIRE(bytes > 0);
    return double(bytes);
  };
  const double single = saved_bytes(float32());
  CHECK(single > 1e9);
  for (const Precision* precision : kSixteenBits) {
    CAPTURE(std::string(precision->name));
    CHECK(saved_bytes(*precision) <= 0.52 * single);
    MESSAGE(std::string(precision->name) << ": " << saved_bytes(*precision) / single);
  }
}
