// Residual networks: He, Zhang, Ren, Sun 2016, "Deep residual learning for image recognition", in
// the form that torchvision calls v1.5 (a bottleneck strides in its 3x3 convolution). Parameters
// bear torchvision's names, in its order: conv1.weight, layer2.0.downsample.0.weight, fc.bias...
#pragma once

#include <cstdint>
#include <optional>

#include "engine/nn/parameters.h"
#include "engine/ops/ops.h"

namespace pneuma {

struct ResNetSettings {
  int num_layers = 18;  // 18, 34, 50, 101, 152; and 10, one block a stage, for tests
  int num_classes = 14;
  int channels = 3;     // of the input
  int base_width = 64;  // of the stem and the first stage; each stage is twice as wide as the last
};

class ResNet {
 public:
  // All values are zero until initialize() or load_weights() (weight_files.h).
  // Throws Error(Exit::usage) where a setting is out of range.
  ResNet(Context&, const ResNetSettings&);

  // A start that is a pure function of `seed`, as torchvision draws it. Convolutions: normal,
  // variance 2 / fan_out (He et al. 2015, "Delving deep into rectifiers"); norms: scale 1, shift 0,
  // statistics of N(0, 1); last layer: uniform within 1 / sqrt(fan_in). Parameter k draws from the
  // stream (seed, Purpose::initial_weights, k), in its order in memory.
  void initialize(Context&, uint64_t seed);

  // x [N,H,W,channels] -> logits [N,num_classes]; the sides shrink 32-fold on the way. ctx.training
  // chooses between the batch's statistics and the running ones.
  Tensor forward(Context&, const Tensor& x) const;

  const ResNetSettings& settings() const { return settings_; }
  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }

 private:
  // A convolution and the norm of its output.
  struct Layer {
    Tensor weight;  // [O,R,S,C]
    int stride = 1, padding = 0;
    ops::BatchNormTensors norm;
    Tensor convolve(Context& ctx, const Tensor& x) const {
      return ops::convolution(ctx, x, weight, stride, padding);
    }
  };
  struct Block {
    std::vector<Layer> layers;      // two 3x3, or 1x1, 3x3, 1x1 of a bottleneck
    std::optional<Layer> shortcut;  // none where the block's input is added as it is
    Tensor forward(Context&, const Tensor& x) const;
  };
  Layer add_layer(Context&, const std::string& convolution, const std::string& norm, int inputs,
                  int outputs, int kernel, int stride);
  Block add_block(Context&, const std::string& name, int inputs, int width, int stride);

  ResNetSettings settings_;
  Parameters parameters_;
  Layer stem_;
  std::vector<Block> blocks_;
  Tensor fc_weight_, fc_bias_;
};

}  // namespace pneuma
