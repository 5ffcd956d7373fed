// 30 steps of each optimizer on a narrow ResNet and real images, against PyTorch
// (make_optimizer_golden.py): float64 within 1e-7 at every step, and float32 on the cpu device no
// further from float64 than twice PyTorch's float32.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

#include "data/image.h"
#include "engine/optim/optimizer.h"
#include "kernels/cpu/table.h"
#include "kernels/reference/table.h"
#include "models/resnet.h"
#include "tests/golden/formula.h"
#include "tests/shared_data.h"

using namespace pneuma;
using golden::Json;

namespace {

constexpr int kSteps = 30, kBatch = 8, kSide = 32, kWidth = 8, kClasses = 14;
constexpr const char* kFindings[kClasses] = {
    "Atelectasis", "Cardiomegaly",       "Consolidation", "Edema",        "Effusion",
    "Emphysema",   "Fibrosis",           "Hernia",        "Infiltration", "Mass",
    "Nodule",      "Pleural_Thickening", "Pneumonia",     "Pneumothorax"};

// All batches, images in NHWC.
struct Input {
  std::vector<double> images, labels;
};

// The rule stands in make_optimizer_golden.py.
Input read_input(const std::filesystem::path& folder) {
  Input input;
  std::ifstream csv(folder / "Data_Entry_2017.csv");
  std::string line;
  std::getline(csv, line);
  for (int i = 0; i < kSteps * kBatch && std::getline(csv, line); ++i) {
    const size_t comma = line.find(',');
    const std::string findings =
        fmt::format("|{}|", line.substr(comma + 1, line.find(',', comma + 1) - comma - 1));
    const Image image = read_image(folder / "images", line.substr(0, comma));
    REQUIRE(image.height == 2 * kSide);
    REQUIRE(image.width == 2 * kSide);
    const auto gray = [&](int y, int x) {
      return double(image.pixels[size_t((y * image.width + x) * image.channels)]);
    };
    for (int y = 0; y < image.height; y += 2)
      for (int x = 0; x < image.width; x += 2) {
        const double sum = gray(y, x) + gray(y, x + 1) + gray(y + 1, x) + gray(y + 1, x + 1);
        input.images.insert(input.images.end(), 3, (sum / 4 - 128) / 64);
      }
    for (const char* finding : kFindings)
      input.labels.push_back(findings.find(fmt::format("|{}|", finding)) != std::string::npos);
  }
  return input;
}

struct Run {
  std::vector<double> losses;
  std::vector<std::string> names;
  std::vector<Shape> shapes;
  std::vector<std::vector<double>> weights;  // in the order of memory
};

Run train(const Backend& backend, const Precision& precision, const std::string& kind,
          double learning_rate, const Input& input) {
  Context ctx(backend, precision);
  ResNet net(ctx, {.num_layers = 10, .num_classes = kClasses, .base_width = kWidth});
  Parameters& parameters = net.parameters();
  golden::fill(ctx, parameters);
  parameters.make_gradients(ctx);
  Optimizer optimizer(ctx, parameters,
                      {.kind = optimizer_named(kind), .momentum = 0.9, .weight_decay = 1e-4});
  const Tensor x = ctx.persistent({kBatch, kSide, kSide, 3}, precision.master);
  const Tensor labels = ctx.persistent({kBatch, kClasses}, precision.master);
  const auto upload = [&](const Tensor& to, const std::vector<double>& all, int step) {
    const auto count = size_t(to.shape().count());
    set_values(ctx, to, std::span(all).subspan(size_t(step) * count, count));
  };
  Run run;
  for (int step = 0; step < kSteps; ++step) {
    upload(x, input.images, step);
    upload(labels, input.labels, step);
    train_step(ctx, parameters, optimizer, learning_rate, [&](Context& c) {
      const Tensor loss = ops::sigmoid_cross_entropy(c, net.forward(c, x), labels);
      run.losses.push_back(get_values(c, loss)[0]);
      return loss;
    });
  }
  CHECK(optimizer.state(ctx).step == kSteps);
  for (const Parameter& p : parameters.parameters) {
    run.names.push_back(p.name);
    run.shapes.push_back(p.value.shape());
    run.weights.push_back(get_values(ctx, p.value));
  }
  return run;
}

std::vector<double> flat(const std::vector<std::vector<double>>& all) {
  std::vector<double> v;
  for (const auto& part : all) v.insert(v.end(), part.begin(), part.end());
  return v;
}

double largest(const Json& list) {
  const std::vector<double> all = list;
  return *std::ranges::max_element(all);
}

}  // namespace

TEST_CASE("30 steps of every optimizer follow PyTorch") {
  const std::filesystem::path shared = testing::shared_data();
  if (shared.empty()) return;
  const Json g = golden::read("optimizers.json");
  const Input input = read_input(shared / "nih_64_followup");
  // The same input, before anything is said of the steps.
  const Shape images{kSteps * kBatch, kSide, kSide, 3}, labels{kSteps * kBatch, kClasses};
  REQUIRE(golden::distance_from_sketch("images", images, input.images, g.at("images")) < 1e-12);
  REQUIRE(golden::distance_from_sketch("labels", labels, input.labels, g.at("labels")) < 1e-12);

  for (const char* kind : {"sgd", "nag", "adam", "rmsprop"}) {
    CAPTURE(std::string(kind));
    const Json& expected = g.at("optimizers").at(kind);
    const double rate = expected.at("learning_rate");
    const Run oracle = train(reference_backend(), float64(), kind, rate, input);
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

    const Run single = train(cpu_backend(), float32(), kind, rate, input);
    const double losses = golden::distance(single.losses, oracle.losses);
    const double weights = golden::distance(flat(single.weights), flat(oracle.weights));
    CHECK(losses <= 2 * largest(expected.at("float32_losses")));
    CHECK(weights <= 2 * largest(expected.at("float32_weights")));
    MESSAGE(std::string(kind) << ": float64 from PyTorch's " << worst << "; float32 losses "
                              << losses << " (PyTorch's at most "
                              << largest(expected.at("float32_losses")) << "), weights " << weights
                              << " (" << largest(expected.at("float32_weights")) << ")");
  }
}
