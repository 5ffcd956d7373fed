// Residual networks in three forms, from one description (ResNetPlan):
// - v1.5: He, Zhang, Ren, Sun 2016, "Deep residual learning for image recognition", as torchvision
//   has it (a bottleneck strides in its 3x3 convolution), with torchvision's names:
//   layer2.0.downsample.0.weight;
// - v1: the same as MXNet's example resnet-v1 has it (a bottleneck strides in its first 1x1);
// - v2: "Identity mappings in deep residual networks" of the same authors, as MXNet's example
//   resnet has it: norm and ReLU before each convolution, the sum as it is. v1 and v2 bear MXNet's
//   names: stage2_unit1_sc_weight.
// Parameters are in the order of those libraries. 20, 32, 44, 56 and 110 are the small nets for
// images of about 32x32: three stages, a 3x3 stem without stride. The depth alone chooses them
// (MXNet's examples go by the height of the image); they take images of any size.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/nn/parameters.h"
#include "engine/ops/ops.h"

namespace pneuma {

enum class Arch { v1_5, v1, v2 };
Arch arch_named(const std::string& name);  // v1.5 | v1 | v2; throws
const char* name_of(Arch arch);

struct ResNetSettings {
  int num_layers = 18;  // of known_depths(); and 10, one block a stage, for tests
  int num_classes = 14;
  int channels = 3;     // of the input
  int base_width = 64;  // of the stem and the first stage, a quarter of it in the small nets; each
                        // stage is twice as wide as the last
  Arch arch = Arch::v1_5;
};
std::vector<int> known_depths();  // 18, 34, 50, 101, 152, 200, 20, 32, 44, 56, 110

// A network in words: what its parameters, its forward pass and its files go by.
struct ConvolutionPlan {
  std::string name, norm;  // norm: of the norm that goes with it, "" where there is none
  int outputs, kernel, stride;
};
struct BlockPlan {
  int stage;  // from 1
  std::vector<ConvolutionPlan> convolutions;
  std::optional<ConvolutionPlan> shortcut;  // none where the block's input is added as it is
};
struct ResNetPlan {
  bool norm_first;        // v2: in a block, norm and ReLU before each convolution, else behind it
  std::string data_norm;  // of the input, without scale; "" where there is none
  ConvolutionPlan stem;
  bool stem_relu, stem_pool;
  std::vector<BlockPlan> blocks;
  std::string last_norm;  // with ReLU, behind the blocks; "" where there is none
  std::string last_layer;
  int features;  // that the last layer reads
  double eps;    // of the norms
  int stages() const { return blocks.back().stage; }
};
// Throws Error(Exit::usage) where a setting is out of range.
ResNetPlan plan_of(const ResNetSettings&);

class ResNet {
 public:
  // All values are zero until initialize() or load_weights() (weight_files.h). Throws as plan_of.
  ResNet(Context&, const ResNetSettings&);

  // A start that is a pure function of `seed`. v1.5 as torchvision draws it: convolutions normal,
  // variance 2 / fan_out (He et al. 2015, "Delving deep into rectifiers"); last layer uniform
  // within 1 / sqrt(fan_in). v1 and v2 as MXNet's examples do: every weight normal, variance 2 /
  // fan_in; biases 0. Norms: scale 1, shift 0, statistics of N(0, 1). Parameter k draws from the
  // stream (seed, Purpose::initial_weights, k), in its order in memory.
  void initialize(Context&, uint64_t seed);

  // For fine-tuning; REQUIRES make_gradients() was not called yet. freeze_stages 1 freezes the
  // stem, 2 the first stage too, and so on; stages + 1 all but the last layer. What is frozen keeps
  // its values, and its norms take and keep their running statistics; nothing is remembered for a
  // gradient there. What else comes before the last layer learns at backbone_factor x the rate.
  // Throws Error(Exit::usage) where there are not so many stages.
  void fine_tune(int freeze_stages, double backbone_factor);

  // x [N,H,W,channels] -> logits [N,num_classes]; the sides shrink 32-fold on the way (4-fold in
  // the small nets). ctx.training chooses between the batch's statistics and the running ones.
  Tensor forward(Context&, const Tensor& x) const;

  const ResNetSettings& settings() const { return settings_; }
  const ResNetPlan& plan() const { return plan_; }
  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }

 private:
  struct Layer {
    Tensor weight;  // [O,R,S,C]
    int stride = 1, padding = 0;
    ops::BatchNormTensors norm;
    Tensor convolve(Context& ctx, const Tensor& x) const {
      return ops::convolution(ctx, x, weight, stride, padding);
    }
  };
  struct Block {
    int stage;
    std::vector<Layer> layers;
    std::optional<Layer> shortcut;
  };
  ops::BatchNormTensors add_norm(Context&, const std::string& name, int channels, bool scale);
  Layer add_layer(Context&, const ConvolutionPlan&, int inputs, bool norm_first);
  Tensor forward_after(Context&, const Block&, const Tensor& x) const;  // norms behind convolutions
  Tensor forward_first(Context&, const Block&, const Tensor& x) const;  // norms before them

  ResNetSettings settings_;
  ResNetPlan plan_;
  ops::BatchNormSettings norm_;
  Parameters parameters_;
  std::vector<size_t> ends_;  // parameters up to the end of the stem, of the first stage, ...
  int frozen_ = 0;            // so many of them
  ops::BatchNormTensors data_norm_, last_norm_;
  Layer stem_;
  std::vector<Block> blocks_;
  Tensor fc_weight_, fc_bias_;
};

}  // namespace pneuma
