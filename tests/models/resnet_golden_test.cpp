// Whole networks against PyTorch (make_resnet_golden.py): the oracle in float64 against PyTorch's
// float64 sketches, then each device's float32 against the oracle's full tensors, by the criterion
// that two honest float32 runs allow: ||g - g64|| / ||g64|| <= max(1e-4, 1.5 x PyTorch float32's
// own).
#include <doctest/doctest.h>

#include <map>

#include "kernels/reference/table.h"
#include "models/resnet.h"
#include "tests/devices.h"
#include "tests/golden/formula.h"

using namespace pneuma;
using golden::Json;

namespace {

struct Named {
  Shape shape;
  std::vector<double> values;
};
struct Result {
  std::vector<double> evaluation, logits, loss;
  std::map<std::string, Named> gradients, statistics;
};

// The step of make_resnet_golden.py.
Result run(const Backend& backend, const Precision& precision, int num_layers, const Json& g) {
  Context ctx(backend, precision);
  const int64_t batch = g.at("batch"), side = g.at("side"), classes = g.at("classes");
  ResNet net(ctx, {.num_layers = num_layers, .num_classes = int(classes)});
  Parameters& parameters = net.parameters();
  golden::fill(ctx, parameters, /*apart=*/true);
  parameters.make_gradients(ctx);
  const Tensor x = golden::uniform_tensor(ctx, "image", {batch, side, side, 3});
  Tensor labels = golden::uniform_tensor(ctx, "labels", {batch, classes});
  std::vector<double> y = get_values(ctx, labels);
  for (double& v : y) v = v > 0.5;
  set_values(ctx, labels, y);
  Tensor weights = golden::uniform_tensor(ctx, "positive_weight", {classes});
  std::vector<double> w = get_values(ctx, weights);
  for (double& v : w) v += 2;
  set_values(ctx, weights, w);

  Result result;
  result.evaluation = get_values(ctx, net.forward(ctx, x));
  Tape tape;
  parameters.watch(tape);
  {
    const Recording recording(ctx, tape);
    const Tensor logits = net.forward(ctx, x);
    result.logits = get_values(ctx, logits);
    const Tensor loss = ops::sigmoid_cross_entropy(ctx, logits, labels, weights);
    result.loss = get_values(ctx, loss);
    tape.backward(ctx, loss);
  }
  for (const Parameter& p : parameters.parameters)
    result.gradients[p.name] = {p.gradient.shape(), get_values(ctx, p.gradient)};
  for (const Buffer& b : parameters.buffers)
    result.statistics[b.name] = {b.value.shape(), get_values(ctx, b.value)};
  return result;
}

void check_oracle(const Result& oracle, const Json& g) {
  constexpr double kTolerance = 1e-9;
  CHECK(golden::distance(oracle.evaluation, g.at("evaluation")) < kTolerance);
  CHECK(golden::distance(oracle.logits, g.at("logits")) < kTolerance);
  CHECK(golden::distance(oracle.loss, g.at("loss")) < kTolerance);
  double worst = 0;
  const auto check = [&](const std::map<std::string, Named>& all, const Json& sketches) {
    REQUIRE(all.size() == sketches.size());
    for (const auto& [name, t] : all) {
      CAPTURE(name);
      const double d = golden::distance_from_sketch(name, t.shape, t.values, sketches.at(name));
      CHECK(d < kTolerance);
      worst = std::max(worst, d);
    }
  };
  check(oracle.gradients, g.at("gradients"));
  check(oracle.statistics, g.at("statistics"));
  MESSAGE("float64, furthest tensor from PyTorch's float64: " << worst);
}

void check_float32(const char* device, const Result& single, const Result& oracle, const Json& g) {
  constexpr double kOneStep = 1e-4, kOfPyTorch = 1.5;
  CAPTURE(std::string(device));
  CHECK(golden::distance(single.evaluation, oracle.evaluation) <= kOneStep);
  CHECK(golden::distance(single.logits, oracle.logits) <= kOneStep);
  CHECK(golden::distance(single.loss, oracle.loss) <= kOneStep);
  double worst = 0, share = 0;
  const auto check = [&](const std::map<std::string, Named>& all, const auto& truth,
                         const Json& sketches) {
    for (const auto& [name, t] : all) {
      CAPTURE(name);
      const double own = sketches.at(name).at("float32");
      const double d = golden::distance(t.values, truth.at(name).values);
      const double allowed = std::max(kOneStep, kOfPyTorch * own);
      CHECK(d <= allowed);
      worst = std::max(worst, d);
      share = std::max(share, d / allowed);
    }
  };
  check(single.gradients, oracle.gradients, g.at("gradients"));
  check(single.statistics, oracle.statistics, g.at("statistics"));
  MESSAGE(std::string(device) << " float32: furthest tensor " << worst << ", at most " << share
                              << " of what is allowed");
}

void check_network(int num_layers) {
  const Json g = golden::read(fmt::format("resnet{}.json", num_layers));
  const Result oracle = run(reference_backend(), float64(), num_layers, g);
  check_oracle(oracle, g);
  for (const Backend* device : testing::devices())
    check_float32(device->name, run(*device, float32(), num_layers, g), oracle, g);
}

}  // namespace

TEST_CASE("ResNet-18 is PyTorch's, in float64 and in float32") { check_network(18); }
TEST_CASE("ResNet-50 is PyTorch's, in float64 and in float32") { check_network(50); }
