#include "models/resnet.h"

#include <cmath>

#include "engine/host_values.h"
#include "engine/random.h"

namespace pneuma {
namespace {

// What follows the name of a layer in the names of its tensors.
struct Suffixes {
  const char *weight, *bias, *scale, *shift, *mean, *variance;
};
constexpr Suffixes kTorchvision{".weight", ".bias",         ".weight",
                                ".bias",   ".running_mean", ".running_var"};
constexpr Suffixes kMxnet{"_weight", "_bias", "_gamma", "_beta", "_moving_mean", "_moving_var"};
const Suffixes& suffixes_of(Arch arch) { return arch == Arch::v1_5 ? kTorchvision : kMxnet; }

}  // namespace

ResNet::ResNet(Context& ctx, const ResNetSettings& settings)
    : settings_(settings), plan_(plan_of(settings)), norm_{.eps = plan_.eps} {
  const bool first = plan_.norm_first;
  if (!plan_.data_norm.empty())
    data_norm_ = add_norm(ctx, plan_.data_norm, settings.channels, /*scale=*/false);
  stem_ = add_layer(ctx, plan_.stem, settings.channels, false);
  ends_.push_back(parameters_.parameters.size());
  int channels = plan_.stem.outputs;
  for (const BlockPlan& plan : plan_.blocks) {
    Block& block = blocks_.emplace_back(plan.stage);
    const int inputs = channels;
    for (const ConvolutionPlan& c : plan.convolutions) {
      block.layers.push_back(add_layer(ctx, c, channels, first));
      channels = c.outputs;
    }
    if (plan.shortcut) block.shortcut = add_layer(ctx, *plan.shortcut, inputs, first);
    ends_.resize(size_t(plan.stage) + 1);
    ends_.back() = parameters_.parameters.size();
  }
  if (!plan_.last_norm.empty()) last_norm_ = add_norm(ctx, plan_.last_norm, channels, true);
  ends_.back() = parameters_.parameters.size();
  const Suffixes& suffix = suffixes_of(settings.arch);
  fc_weight_ = parameters_.add(ctx, plan_.last_layer + suffix.weight, Role::weight,
                               {settings.num_classes, channels});
  fc_bias_ =
      parameters_.add(ctx, plan_.last_layer + suffix.bias, Role::bias, {settings.num_classes});
}

ops::BatchNormTensors ResNet::add_norm(Context& ctx, const std::string& name, int channels,
                                       bool scale) {
  const Suffixes& suffix = suffixes_of(settings_.arch);
  ops::BatchNormTensors norm;
  if (scale) norm.gamma = parameters_.add(ctx, name + suffix.scale, Role::norm_scale, {channels});
  norm.beta = parameters_.add(ctx, name + suffix.shift, Role::norm_shift, {channels});
  norm.running_mean = parameters_.add_buffer(ctx, name + suffix.mean, {channels});
  norm.running_var = parameters_.add_buffer(ctx, name + suffix.variance, {channels});
  return norm;
}

// `norm_first`: the norm is of what the convolution reads, and comes before it in order.
ResNet::Layer ResNet::add_layer(Context& ctx, const ConvolutionPlan& plan, int inputs,
                                bool norm_first) {
  Layer layer{.stride = plan.stride, .padding = plan.kernel / 2};
  const bool norm = !plan.norm.empty();
  if (norm && norm_first) layer.norm = add_norm(ctx, plan.norm, inputs, true);
  layer.weight = parameters_.add(ctx, plan.name + suffixes_of(settings_.arch).weight, Role::weight,
                                 {plan.outputs, plan.kernel, plan.kernel, inputs});
  if (norm && !norm_first) layer.norm = add_norm(ctx, plan.norm, plan.outputs, true);
  return layer;
}

void ResNet::initialize(Context& ctx, uint64_t seed) {
  if (ctx.dry()) return;
  const bool torchvision = settings_.arch == Arch::v1_5;
  const double bound = 1 / std::sqrt(double(fc_weight_.dim(1)));
  std::vector<float> values;
  for (size_t k = 0; k < parameters_.parameters.size(); ++k) {
    const Parameter& p = parameters_.parameters[k];
    const Shape& shape = p.value.shape();
    Random random(seed, Purpose::initial_weights, uint32_t(k));
    values.assign(size_t(shape.count()), p.role == Role::norm_scale ? 1.f : 0.f);
    if (p.role == Role::weight && (shape.rank == 4 || !torchvision)) {
      const int64_t fan = shape.count() / shape[torchvision ? 3 : 0];
      const double deviation = std::sqrt(2.0 / double(fan));
      for (float& v : values) v = float(deviation * random.normal());
    } else if (torchvision && (p.role == Role::weight || p.role == Role::bias)) {
      for (float& v : values) v = float(random.uniform(-bound, bound));
    }
    set_values(ctx, p.value, values);
  }
  for (const Buffer& b : parameters_.buffers) {
    values.assign(size_t(b.value.shape().count()), b.name.ends_with("_var") ? 1.f : 0.f);
    set_values(ctx, b.value, values);
  }
  parameters_.write_working(ctx);
}

void ResNet::fine_tune(int freeze_stages, double backbone_factor) {
  if (freeze_stages < 0 || size_t(freeze_stages) > ends_.size())
    fail(Exit::usage,
         "--freeze_stages {}: ResNet-{} has a stem and {} stages, so it is from 0 to {}",
         freeze_stages, settings_.num_layers, plan_.stages(), ends_.size());
  frozen_ = freeze_stages;
  const size_t frozen = frozen_ ? ends_[size_t(frozen_) - 1] : 0;
  for (size_t k = 0; k < ends_.back(); ++k)
    parameters_.parameters[k].rate_factor = k < frozen ? 0 : backbone_factor;
}

Tensor ResNet::forward_after(Context& ctx, const Block& block, const Tensor& x) const {
  Tensor y = x;
  for (const Layer& layer : block.layers) {
    y = layer.convolve(ctx, y);
    if (&layer != &block.layers.back()) y = ops::batch_norm_relu(ctx, y, layer.norm, norm_);
  }
  Tensor residual = x;
  if (block.shortcut)
    residual = ops::batch_norm(ctx, block.shortcut->convolve(ctx, x), block.shortcut->norm, norm_);
  return ops::batch_norm_add_relu(ctx, y, residual, block.layers.back().norm, norm_);
}

Tensor ResNet::forward_first(Context& ctx, const Block& block, const Tensor& x) const {
  Tensor y = x, residual = x;
  for (const Layer& layer : block.layers) {
    y = ops::batch_norm_relu(ctx, y, layer.norm, norm_);
    if (block.shortcut && &layer == &block.layers.front()) residual = y;
    y = layer.convolve(ctx, y);
  }
  if (block.shortcut) residual = block.shortcut->convolve(ctx, residual);
  return ops::add(ctx, y, residual);
}

Tensor ResNet::forward(Context& ctx, const Tensor& x) const {
  const bool training = ctx.training;
  ctx.training = training && frozen_ == 0;
  Tensor y = x;
  if (data_norm_.beta) y = ops::batch_norm(ctx, y, data_norm_, norm_);
  y = stem_.convolve(ctx, y);
  if (stem_.norm.beta)
    y = plan_.stem_relu ? ops::batch_norm_relu(ctx, y, stem_.norm, norm_)
                        : ops::batch_norm(ctx, y, stem_.norm, norm_);
  if (plan_.stem_pool) y = ops::max_pool(ctx, y, 3, 2, 1);
  for (const Block& block : blocks_) {
    ctx.training = training && block.stage >= frozen_;
    y = plan_.norm_first ? forward_first(ctx, block, y) : forward_after(ctx, block, y);
  }
  if (last_norm_.beta) y = ops::batch_norm_relu(ctx, y, last_norm_, norm_);
  ctx.training = training;
  y = ops::global_average_pool(ctx, y);
  y = ops::linear(ctx, y, fc_weight_, fc_bias_);
  return ops::cast(ctx, y, ctx.precision()[OpKind::loss].input);
}

}  // namespace pneuma
