// Files across precisions: weights and states hold the float32 masters, so a network of any policy
// takes those of any other bit for bit, and its working copies are those, rounded.
#include "engine/host_values.h"
#include "engine/io/training_state.h"
#include "engine/random.h"
#include "kernels/half.h"
#include "kernels/reference/table.h"
#include "models/weight_files.h"
#include "tests/network.h"
#include "tests/temporary.h"

using namespace pneuma;

namespace {

struct Trained {
  Trained(const Precision& precision, uint64_t seed)
      : ctx(reference_backend(), precision),
        net(ctx, {.num_layers = 10, .num_classes = 3, .base_width = 4}) {
    net.initialize(ctx, seed);
    net.parameters().make_gradients(ctx);
    optimizer.emplace(ctx, net.parameters(), OptimizerSettings{},
                      ScalerPolicy{.dynamic = true, .start = 1024, .interval = 2});
    const Tensor x = testing::noise(ctx, {2, 32, 32, 3}, precision.activation(), seed);
    const Tensor labels = ctx.persistent({2, 3}, Dtype::f32);
    for (int step = 0; step < 3; ++step) {
      train_step(ctx, net.parameters(), *optimizer, 1e-3, [&](Context& c) {
        return ops::sigmoid_cross_entropy(c, net.forward(c, x), labels, {}, {},
                                          optimizer->device_state());
      });
    }
    REQUIRE(optimizer->state(ctx).good);
  }
  std::vector<std::vector<double>> weights() {
    std::vector<std::vector<double>> all;
    for (const Parameter& p : net.parameters().parameters) all.push_back(get_values(ctx, p.value));
    for (const Buffer& b : net.parameters().buffers) all.push_back(get_values(ctx, b.value));
    return all;
  }
  std::vector<std::vector<double>> moments() {
    std::vector<std::vector<double>> all;
    for (const Buffer& m : optimizer->moments()) all.push_back(get_values(ctx, m.value));
    return all;
  }

  Context ctx;
  ResNet net;
  std::optional<Optimizer> optimizer;
};

const Precision* const kPolicies[] = {&float32(), &float16(), &bfloat16()};

template <class F>
void for_each_pair(F f) {
  for (const Precision* from : kPolicies) {
    for (const Precision* to : kPolicies) {
      CAPTURE(std::string(from->name));
      CAPTURE(std::string(to->name));
      const testing::Temporary folder;
      Trained one(*from, 1), other(*to, 2);
      REQUIRE(one.weights() != other.weights());
      f(folder, one, other);
    }
  }
}

}  // namespace

TEST_CASE("weights of any precision are loaded by any other bit for bit, there and back") {
  for_each_pair([](const testing::Temporary& folder, Trained& one, Trained& other) {
    save_weights(one.ctx, one.net.parameters(), folder / "there.safetensors");
    load_weights(other.ctx, other.net.parameters(), folder / "there.safetensors");
    CHECK(one.weights() == other.weights());
    testing::check_working_copies(other.ctx, other.net.parameters());
    save_weights(other.ctx, other.net.parameters(), folder / "back.safetensors");
    CHECK(folder.read("there.safetensors") == folder.read("back.safetensors"));
  });
}

// What a run's flags do not allow (train_cxr keeps a run's precision), its files do: a state knows
// no policy.
TEST_CASE("a training state of any precision is loaded by any other bit for bit") {
  for_each_pair([](const testing::Temporary& folder, Trained& one, Trained& other) {
    StepState before = one.optimizer->state(one.ctx);
    CHECK(before.loss_scale == 2048);
    save_training_state(one.ctx, one.net.parameters(), *one.optimizer, "here", folder.path);
    std::string note;
    CHECK(load_training_state(other.ctx, other.net.parameters(), *other.optimizer, folder.path,
                              &note) == "here");
    CHECK(note == "");
    CHECK(one.weights() == other.weights());
    CHECK(one.moments() == other.moments());
    StepState after = other.optimizer->state(other.ctx);
    CHECK(after.loss_scale == before.loss_scale);
    CHECK(after.step == before.step);
    CHECK(after.clean == before.clean);
    testing::check_working_copies(other.ctx, other.net.parameters());
  });
}
