// The narrow ResNet-10 that make_optimizer_golden.py trains in PyTorch, trained here: the same
// pictures, start and rates.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "data/image.h"
#include "engine/optim/optimizer.h"
#include "models/resnet.h"
#include "tests/golden/formula.h"

namespace pneuma::golden {

inline constexpr int kBatch = 8, kSide = 32, kWidth = 8, kClasses = 14;
inline constexpr const char* kFindings[kClasses] = {
    "Atelectasis", "Cardiomegaly",       "Consolidation", "Edema",        "Effusion",
    "Emphysema",   "Fibrosis",           "Hernia",        "Infiltration", "Mass",
    "Nodule",      "Pleural_Thickening", "Pneumonia",     "Pneumothorax"};

// All batches, images in NHWC.
struct Input {
  std::vector<double> images, labels;
};

// The rule stands in make_optimizer_golden.py.
inline Input read_input(const std::filesystem::path& folder, int steps) {
  Input input;
  std::ifstream csv(folder / "Data_Entry_2017.csv");
  std::string line;
  std::getline(csv, line);
  for (int i = 0; i < steps * kBatch && std::getline(csv, line); ++i) {
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
  std::vector<std::vector<double>> weights;          // in the order of memory, as
  std::vector<std::vector<double>> first_gradients;  // those of the first step
};

inline Run train(const Backend& backend, const Precision& precision, const std::string& kind,
                 double learning_rate, const Input& input, int steps) {
  Context ctx(backend, precision);
  ResNet net(ctx, {.num_layers = 10, .num_classes = kClasses, .base_width = kWidth});
  Parameters& parameters = net.parameters();
  fill(ctx, parameters);
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
  for (int step = 0; step < steps; ++step) {
    upload(x, input.images, step);
    upload(labels, input.labels, step);
    train_step(ctx, parameters, optimizer, learning_rate, [&](Context& c) {
      const Tensor loss = ops::sigmoid_cross_entropy(c, net.forward(c, x), labels);
      run.losses.push_back(get_values(c, loss)[0]);
      return loss;
    });
    if (step > 0) continue;
    for (const Parameter& p : parameters.parameters)
      run.first_gradients.push_back(get_values(ctx, p.gradient));
  }
  CHECK(optimizer.state(ctx).step == steps);
  for (const Parameter& p : parameters.parameters) {
    run.names.push_back(p.name);
    run.shapes.push_back(p.value.shape());
    run.weights.push_back(get_values(ctx, p.value));
  }
  return run;
}

inline std::vector<double> flat(const std::vector<std::vector<double>>& all) {
  std::vector<double> v;
  for (const auto& part : all) v.insert(v.end(), part.begin(), part.end());
  return v;
}

inline double largest(const Json& list) {
  const std::vector<double> all = list;
  return *std::ranges::max_element(all);
}

}  // namespace pneuma::golden
