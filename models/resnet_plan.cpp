// What each depth and form of ResNet consists of, and what its parts are called.
#include "models/resnet.h"

namespace pneuma {
namespace {

constexpr const char* kNames[] = {"v1.5", "v1", "v2"};
constexpr int kExpansion = 4;  // a bottleneck's output is this much wider than its middle
constexpr int kMaxWidth = 256, kMaxChannels = 16, kMaxClasses = 10'000;

struct Depth {
  int num_layers;
  int blocks[4];  // of each stage
  bool bottleneck;
  bool small() const { return blocks[3] == 0; }
};
constexpr Depth kDepths[] = {
    {10, {1, 1, 1, 1}, false},   {18, {2, 2, 2, 2}, false},  {34, {3, 4, 6, 3}, false},
    {50, {3, 4, 6, 3}, true},    {101, {3, 4, 23, 3}, true}, {152, {3, 8, 36, 3}, true},
    {200, {3, 24, 36, 3}, true}, {20, {3, 3, 3}, false},     {32, {5, 5, 5}, false},
    {44, {7, 7, 7}, false},      {56, {9, 9, 9}, false},     {110, {18, 18, 18}, false},
};

const Depth& depth_of(int num_layers) {
  for (const Depth& depth : kDepths) {
    if (depth.num_layers == num_layers) return depth;
  }
  fail(Exit::usage,
       "--num_layers {} is not known; known are 18, 34, 50, 101, 152, 200, and 20, 32, 44, 56, 110 "
       "for small images",
       num_layers);
}

void check_range(const char* what, int value, int most) {
  if (value < 1 || value > most)
    fail(Exit::usage, "a ResNet with {} {} cannot be built; it takes 1 to {}", value, what, most);
}

// Block `index` of a stage, whose middle has `width` channels.
BlockPlan block_plan(Arch arch, bool bottleneck, int stage, int index, int inputs, int width) {
  const bool mxnet = arch != Arch::v1_5;
  const std::string name = mxnet ? fmt::format("stage{}_unit{}", stage, index + 1)
                                 : fmt::format("layer{}.{}", stage, index);
  const char* separator = mxnet ? "_" : ".";
  const int stride = stage > 1 && index == 0 ? 2 : 1;
  const size_t strided = bottleneck && arch != Arch::v1 ? 1 : 0;
  const std::vector<int> kernels = bottleneck ? std::vector{1, 3, 1} : std::vector{3, 3};
  BlockPlan block{.stage = stage};
  for (size_t i = 0; i < kernels.size(); ++i)
    block.convolutions.push_back({fmt::format("{}{}conv{}", name, separator, i + 1),
                                  fmt::format("{}{}bn{}", name, separator, i + 1),
                                  i == 2 ? width * kExpansion : width, kernels[i],
                                  i == strided ? stride : 1});
  const int outputs = block.convolutions.back().outputs;
  if (mxnet ? index == 0 : stride != 1 || inputs != outputs) {
    const std::string names[][2] = {{name + ".downsample.0", name + ".downsample.1"},
                                    {name + "_conv1sc", name + "_sc"},
                                    {name + "_sc", ""}};
    const auto& [convolution, norm] = names[int(arch)];
    block.shortcut = {convolution, norm, outputs, 1, stride};
  }
  return block;
}

}  // namespace

Arch arch_named(const std::string& name) {
  for (int i = 0; i < 3; ++i) {
    if (name == kNames[i]) return Arch(i);
  }
  fail(Exit::usage, "--arch {} is not known; known are v1.5, v1, v2", name);
}
const char* name_of(Arch arch) { return kNames[int(arch)]; }

std::vector<int> known_depths() {
  std::vector<int> all;
  for (const Depth& depth : kDepths)
    if (depth.num_layers != 10) all.push_back(depth.num_layers);
  return all;
}

ResNetPlan plan_of(const ResNetSettings& s) {
  const Depth& depth = depth_of(s.num_layers);
  const int width = depth.small() ? s.base_width / 4 : s.base_width;
  check_range("classes", s.num_classes, kMaxClasses);
  check_range("input channels", s.channels, kMaxChannels);
  check_range("channels in its first stage", width, kMaxWidth);

  const bool mxnet = s.arch != Arch::v1_5, v2 = s.arch == Arch::v2, small = depth.small();
  ResNetPlan plan{.norm_first = v2,
                  .data_norm = v2 ? "bn_data" : "",
                  .stem = {mxnet ? "conv0" : "conv1", mxnet ? "bn0" : "bn1", width, small ? 3 : 7,
                           small ? 1 : 2},
                  .stem_relu = !small || !mxnet,  // MXNet's small v1 has the norm alone
                  .stem_pool = !small,
                  .last_norm = v2 ? "bn1" : "",
                  .last_layer = mxnet ? "fc1" : "fc",
                  .eps = mxnet ? 2e-5 : 1e-5};
  if (small && v2) plan.stem.norm = "";
  plan.features = width;
  for (int stage = 1; stage <= 4; ++stage)
    for (int i = 0; i < depth.blocks[stage - 1]; ++i) {
      plan.blocks.push_back(
          block_plan(s.arch, depth.bottleneck, stage, i, plan.features, width << (stage - 1)));
      plan.features = plan.blocks.back().convolutions.back().outputs;
    }
  return plan;
}

}  // namespace pneuma
