#include "apps/common/start_weights.h"

#include <cstdlib>
#include <filesystem>

#include "models/weight_files.h"

namespace pneuma {
namespace {

namespace fs = std::filesystem;

// The model in a folder: the last by name of the kind that says most.
fs::path model_in(const fs::path& channel) {
  if (!fs::is_directory(channel)) return channel;
  for (const char* end : {"best.safetensors", ".safetensors", ".tar.gz", ".params"}) {
    fs::path last;
    for (const fs::directory_entry& entry : fs::directory_iterator(channel))
      if (entry.is_regular_file() && entry.path().filename().string().ends_with(end) &&
          entry.path() > last)
        last = entry.path();
    if (!last.empty()) return last;
  }
  fail(Exit::data, "{}: no model is in this folder; it wants a .safetensors, .tar.gz or .params",
       channel.string());
}

std::string pretrained_file(const TrainSettings& s) {
  if (!s.pretrained.empty()) return model_in(s.pretrained).string();
  const char* elsewhere = std::getenv("PNEUMA_PRETRAINED");
  if (!elsewhere || !*elsewhere)
    fail(Exit::usage,
         "--use_pretrained_model 1 needs the weights: give --pretrained FILE (or set "
         "PNEUMA_PRETRAINED), a ResNet of torchvision or timm as .safetensors "
         "(apps/launch/convert_weights.py makes it from .pth) or a .params of MXNet's model zoo");
  return model_in(elsewhere).string();
}

// Of what was trained before, for training on.
void check_channel(const TrainSettings& s, const WeightFile& file, const ResNetSettings& network) {
  constexpr const char* kEqual =
      "incremental training goes on with the same; --pretrained takes the weights alone";
  const ImageShape shape = parse_image_shape(s.image_shape);
  std::array<int, 3> theirs{shape.channels, shape.height, shape.width};
  if (file.metadata().contains("network"))
    theirs = model_info_from(file.metadata(), file.name()).image_shape;
  else if (file.data_shape())
    std::copy(file.data_shape()->begin() + 1, file.data_shape()->end(), theirs.begin());
  if (theirs != std::array{shape.channels, shape.height, shape.width})
    fail(Exit::usage, "--image_shape {} was asked for, and {} has {},{},{}; {}", s.image_shape,
         file.name(), theirs[0], theirs[1], theirs[2], kEqual);
  if (s.num_classes && s.num_classes != network.num_classes)
    fail(Exit::usage, "this run has {} classes, and {} has {}; {}", s.num_classes, file.name(),
         network.num_classes, kEqual);
}

}  // namespace

void settle_start(TrainSettings& s, const std::set<std::string>& given,
                  std::vector<std::string>* notes) {
  const bool wanted = s.use_pretrained_model || !s.pretrained.empty();
  const bool channel = !s.model_channel.empty();
  if (given.contains("init") && (wanted || channel))
    fail(Exit::usage, "--init, --pretrained and --model_channel each name a start; give one");
  if (given.contains("use_pretrained_model") && !s.use_pretrained_model && !channel &&
      !s.pretrained.empty()) {
    notes->push_back("--pretrained has no effect: --use_pretrained_model 0");
  } else if (channel) {
    if (wanted)
      notes->push_back("--use_pretrained_model has no effect: --model_channel has the weights");
    s.init = model_in(s.model_channel).string();
  } else if (wanted) {
    s.init = pretrained_file(s);
  }
  if (s.init.empty()) return;

  const WeightFile file(s.init);
  const ResNetSettings network = network_of(file);
  const std::string arch = name_of(network.arch);
  if ((given.contains("num_layers") && s.num_layers != network.num_layers) ||
      (given.contains("arch") && s.arch != arch))
    fail(Exit::usage,
         "{} was asked for, and {} holds a {}; leave --num_layers and --arch away to take it",
         text_of(ResNetSettings{.num_layers = s.num_layers, .arch = arch_named(s.arch)}),
         file.name(), text_of(network));
  if (s.num_layers != network.num_layers || s.arch != arch)
    notes->push_back(
        fmt::format("the network is a {}, as {} has it", text_of(network), file.name()));
  s.num_layers = network.num_layers;
  s.arch = arch;
  if (!given.contains("mean")) s.mean = usual_mean(arch);
  if (!given.contains("std")) s.std = usual_std(arch);
  s.base_width = network.base_width;
  if (channel) check_channel(s, file, network);
}

}  // namespace pneuma
