#include "models/resnet.h"

#include <cmath>

#include "engine/host_values.h"
#include "engine/random.h"

namespace pneuma {
namespace {

constexpr int kStages = 4;
constexpr int kExpansion = 4;  // a bottleneck's output is this much wider than its middle
constexpr int kMaxWidth = 256, kMaxChannels = 16, kMaxClasses = 10'000;

struct Depth {
  int num_layers;
  int blocks[kStages];
  bool bottleneck;
};
constexpr Depth kDepths[] = {
    {10, {1, 1, 1, 1}, false}, {18, {2, 2, 2, 2}, false},  {34, {3, 4, 6, 3}, false},
    {50, {3, 4, 6, 3}, true},  {101, {3, 4, 23, 3}, true}, {152, {3, 8, 36, 3}, true},
};

const Depth& depth_of(int num_layers) {
  for (const Depth& depth : kDepths) {
    if (depth.num_layers == num_layers) return depth;
  }
  fail(Exit::usage, "--num_layers {} is not known; known are 18, 34, 50, 101, 152", num_layers);
}

void check_range(const char* what, int value, int most) {
  if (value < 1 || value > most)
    fail(Exit::usage, "a ResNet with {} {} cannot be built; it takes 1 to {}", value, what, most);
}

}  // namespace

ResNet::ResNet(Context& ctx, const ResNetSettings& settings) : settings_(settings) {
  const Depth& depth = depth_of(settings.num_layers);
  check_range("classes", settings.num_classes, kMaxClasses);
  check_range("input channels", settings.channels, kMaxChannels);
  check_range("channels in its first stage", settings.base_width, kMaxWidth);

  int channels = settings.base_width;
  stem_ = add_layer(ctx, "conv1", "bn1", settings.channels, channels, 7, 2);
  for (int stage = 0; stage < kStages; ++stage) {
    const int width = settings.base_width << stage;
    for (int i = 0; i < depth.blocks[stage]; ++i) {
      const int stride = stage > 0 && i == 0 ? 2 : 1;
      blocks_.push_back(
          add_block(ctx, fmt::format("layer{}.{}", stage + 1, i), channels, width, stride));
      channels = depth.bottleneck ? width * kExpansion : width;
    }
  }
  fc_weight_ = parameters_.add(ctx, "fc.weight", Role::weight, {settings.num_classes, channels});
  fc_bias_ = parameters_.add(ctx, "fc.bias", Role::bias, {settings.num_classes});
}

ResNet::Layer ResNet::add_layer(Context& ctx, const std::string& convolution,
                                const std::string& norm, int inputs, int outputs, int kernel,
                                int stride) {
  Layer layer{.stride = stride, .padding = kernel / 2};
  layer.weight = parameters_.add(ctx, convolution + ".weight", Role::weight,
                                 {outputs, kernel, kernel, inputs});
  layer.norm.gamma = parameters_.add(ctx, norm + ".weight", Role::norm_scale, {outputs});
  layer.norm.beta = parameters_.add(ctx, norm + ".bias", Role::norm_shift, {outputs});
  layer.norm.running_mean = parameters_.add_buffer(ctx, norm + ".running_mean", {outputs});
  layer.norm.running_var = parameters_.add_buffer(ctx, norm + ".running_var", {outputs});
  return layer;
}

ResNet::Block ResNet::add_block(Context& ctx, const std::string& name, int inputs, int width,
                                int stride) {
  struct Part {
    int outputs, kernel, stride;
  };
  const bool bottleneck = depth_of(settings_.num_layers).bottleneck;
  const std::vector<Part> parts =
      bottleneck ? std::vector<Part>{{width, 1, 1}, {width, 3, stride}, {width * kExpansion, 1, 1}}
                 : std::vector<Part>{{width, 3, stride}, {width, 3, 1}};
  Block block;
  int channels = inputs;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    block.layers.push_back(add_layer(ctx, fmt::format("{}.conv{}", name, i + 1),
                                     fmt::format("{}.bn{}", name, i + 1), channels, part.outputs,
                                     part.kernel, part.stride));
    channels = part.outputs;
  }
  if (stride != 1 || inputs != channels) {
    block.shortcut =
        add_layer(ctx, name + ".downsample.0", name + ".downsample.1", inputs, channels, 1, stride);
  }
  return block;
}

void ResNet::initialize(Context& ctx, uint64_t seed) {
  if (ctx.dry()) return;
  const double bound = 1 / std::sqrt(double(fc_weight_.dim(1)));
  std::vector<float> values;
  for (size_t k = 0; k < parameters_.parameters.size(); ++k) {
    const Parameter& p = parameters_.parameters[k];
    const Shape& shape = p.value.shape();
    Random random(seed, Purpose::initial_weights, uint32_t(k));
    values.assign(size_t(shape.count()), p.role == Role::norm_scale ? 1.f : 0.f);
    if (shape.rank == 4) {
      const double deviation = std::sqrt(2.0 / double(shape[0] * shape[1] * shape[2]));
      for (float& v : values) v = float(deviation * random.normal());
    } else if (p.role == Role::weight || p.role == Role::bias) {
      for (float& v : values) v = float(random.uniform(-bound, bound));
    }
    set_values(ctx, p.value, values);
  }
  for (const Buffer& b : parameters_.buffers) {
    values.assign(size_t(b.value.shape().count()), b.name.ends_with("running_var") ? 1.f : 0.f);
    set_values(ctx, b.value, values);
  }
  parameters_.write_working(ctx);
}

Tensor ResNet::Block::forward(Context& ctx, const Tensor& x) const {
  Tensor y = x;
  for (const Layer& layer : layers) {
    y = layer.convolve(ctx, y);
    if (&layer != &layers.back()) y = ops::batch_norm_relu(ctx, y, layer.norm);
  }
  Tensor residual = x;
  if (shortcut) residual = ops::batch_norm(ctx, shortcut->convolve(ctx, x), shortcut->norm);
  return ops::batch_norm_add_relu(ctx, y, residual, layers.back().norm);
}

Tensor ResNet::forward(Context& ctx, const Tensor& x) const {
  Tensor y = stem_.convolve(ctx, x);
  y = ops::batch_norm_relu(ctx, y, stem_.norm);
  y = ops::max_pool(ctx, y, 3, 2, 1);
  for (const Block& block : blocks_) y = block.forward(ctx, y);
  y = ops::global_average_pool(ctx, y);
  y = ops::linear(ctx, y, fc_weight_, fc_bias_);
  return ops::cast(ctx, y, ctx.precision()[OpKind::loss].input);
}

}  // namespace pneuma
