// A small net on phantoms, on every device: one step by the criterion that two honest float32 runs
// allow, per tensor ||g - g64|| / ||g64|| <= max(1e-4, 1.5 x PyTorch float32's own) and the loss
// within 1e-4, then 20 steps no further from float64 than twice PyTorch's float32.
// Golden: make_phantom_golden.py.
#include <doctest/doctest.h>

#include "kernels/reference/table.h"
#include "tests/devices.h"
#include "tests/models/narrow_training.h"
#include "tests/program.h"
#include "tests/temporary_folder.h"

using namespace pneuma;
using golden::Input;
using golden::Json;
using golden::Run;

TEST_CASE("one step and 20 steps on phantoms follow PyTorch on every device") {
  constexpr int kSteps = 20;
  constexpr double kOneStep = 1e-4, kOfPyTorch = 1.5;
  const Json g = golden::read("phantoms.json");
  const testing::TemporaryFolder folder;
  REQUIRE(testing::run_program("prepare_cxr", {"phantoms", "--patients", "200", "--size", "64",
                                               "--seed", "7", "--output", folder.path.string()})
              .exit == 0);
  const Input input = golden::read_input(folder.path, kSteps);
  const Shape images{kSteps * golden::kBatch, golden::kSide, golden::kSide, 3};
  REQUIRE(golden::distance_from_sketch("images", images, input.images, g.at("images")) < 1e-12);

  const double rate = g.at("learning_rate");
  const Run oracle = golden::train(reference_backend(), float64(), "adam", rate, input, kSteps);
  for (size_t step = 0; step < kSteps; ++step) {
    const double loss = g.at("losses")[step];
    CHECK(std::fabs(oracle.losses[step] - loss) / loss < 1e-7);
  }
  for (const Backend* device : testing::devices()) {
    CAPTURE(std::string(device->name));
    const Run single = golden::train(*device, float32(), "adam", rate, input, kSteps);
    CHECK(std::fabs(single.losses[0] - oracle.losses[0]) / oracle.losses[0] <= kOneStep);
    double worst = 0;
    for (size_t i = 0; i < oracle.names.size(); ++i) {
      CAPTURE(oracle.names[i]);
      const double d = golden::distance(single.first_gradients[i], oracle.first_gradients[i]);
      const double own = g.at("gradients").at(oracle.names[i]).at("float32");
      CHECK(d <= std::max(kOneStep, kOfPyTorch * own));
      worst = std::max(worst, d);
    }
    const double losses = golden::distance(single.losses, oracle.losses);
    const double weights =
        golden::distance(golden::flat(single.weights), golden::flat(oracle.weights));
    CHECK(losses <= 2 * golden::largest(g.at("float32_losses")));
    CHECK(weights <= 2 * golden::largest(g.at("float32_weights")));
    MESSAGE(std::string(device->name)
            << ": furthest gradient of the first step " << worst << ", losses of 20 steps "
            << losses << " (PyTorch's at most " << golden::largest(g.at("float32_losses"))
            << "), weights " << weights << " (" << golden::largest(g.at("float32_weights")) << ")");
  }
}
