// 30 steps of each optimizer on a narrow ResNet and real images, against PyTorch
// (make_optimizer_golden.py): float64 within 1e-7 at every step, and float32 on each device no
// further from float64 than twice PyTorch's float32.
#include <doctest/doctest.h>

#include "kernels/reference/table.h"
#include "tests/devices.h"
#include "tests/models/narrow_training.h"
#include "tests/shared_data.h"

using namespace pneuma;
using golden::Input;
using golden::Json;
using golden::Run;

namespace {

constexpr int kSteps = 30;

}  // namespace

TEST_CASE("30 steps of every optimizer follow PyTorch") {
  const std::filesystem::path shared = testing::shared_data();
  if (shared.empty()) return;
  const Json g = golden::read("optimizers.json");
  const Input input = golden::read_input(shared / "nih_64_followup", kSteps);
  // The same input, before anything is said of the steps.
  const Shape images{kSteps * golden::kBatch, golden::kSide, golden::kSide, 3},
      labels{kSteps * golden::kBatch, golden::kClasses};
  REQUIRE(golden::distance_from_sketch("images", images, input.images, g.at("images")) < 1e-12);
  REQUIRE(golden::distance_from_sketch("labels", labels, input.labels, g.at("labels")) < 1e-12);

  for (const char* kind : {"sgd", "nag", "adam", "rmsprop"}) {
    CAPTURE(std::string(kind));
    const Json& expected = g.at("optimizers").at(kind);
    const double rate = expected.at("learning_rate");
    const Run oracle = golden::train(reference_backend(), float64(), kind, rate, input, kSteps);
    double worst = 0;
    for (size_t step = 0; step < kSteps; ++step) {
      CAPTURE(step);
      const double loss = expected.at("losses")[step];
      CHECK(std::fabs(oracle.losses[step] - loss) / loss < 1e-7);
      worst = std::max(worst, std::fabs(oracle.losses[step] - loss) / loss);
    }
    for (size_t i = 0; i < oracle.names.size(); ++i) {
      const std::string& name = oracle.names[i];
      CAPTURE(name);
      const double d = golden::distance_from_sketch(name, oracle.shapes[i], oracle.weights[i],
                                                    expected.at("weights").at(name));
      CHECK(d < 1e-7);
      worst = std::max(worst, d);
    }

    for (const Backend* device : testing::devices()) {
      CAPTURE(std::string(device->name));
      const Run single = golden::train(*device, float32(), kind, rate, input, kSteps);
      const double losses = golden::distance(single.losses, oracle.losses);
      const double weights =
          golden::distance(golden::flat(single.weights), golden::flat(oracle.weights));
      CHECK(losses <= 2 * golden::largest(expected.at("float32_losses")));
      CHECK(weights <= 2 * golden::largest(expected.at("float32_weights")));
      MESSAGE(std::string(device->name)
              << " " << std::string(kind) << ": float64 from PyTorch's " << worst
              << "; float32 losses " << losses << " (PyTorch's at most "
              << golden::largest(expected.at("float32_losses")) << "), weights " << weights << " ("
              << golden::largest(expected.at("float32_weights")) << ")");
    }
  }
}
