// inspect_cxr tape: prints every node of one training step on drawn pictures and labels.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "models/resnet.h"

namespace pneuma::inspect {

struct TapeSettings {
  int num_layers = 18, num_classes = 14, mini_batch_size = 2, threads = 0;
  std::string arch = "v1.5", image_shape = "3,64,64", device = "cpu";
  uint64_t seed = 1;
};

void add_step_flags(CLI::App& command, TapeSettings& settings);
ResNetSettings network_of(const TapeSettings& settings);
// Drawn pictures, normal, and labels.
struct DrawnBatch {
  Tensor x, labels;  // [N,H,W,C], [N,classes]
};
DrawnBatch draw_batch(Context& ctx, const TapeSettings& settings);

CLI::App* add_tape_command(CLI::App& app, TapeSettings& settings);
// Columns: node, its inputs (values of the tape; - where no gradient is wanted), its output's shape
// and value, the bytes it saved for its backward, the norm of its output's gradient.
void print_tape(const TapeSettings& settings);

}  // namespace pneuma::inspect
