#include "models/weight_source.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/error.h"
#include "engine/io/atomic_file.h"
#include "models/mxnet/archive.h"
#include "models/mxnet/params.h"

namespace pneuma {
namespace {

constexpr size_t kMaxBytes = size_t{16} << 30;
constexpr size_t kHead = 16;

std::string head_of(const std::filesystem::path& path) {
  InputFile file(path);
  std::string head(std::min<uint64_t>(file.size(), kHead), '\0');
  file.read(std::as_writable_bytes(std::span(head)));
  return head;
}

// Both of torch.save's forms; byte 8 of a safetensors file is the brace of its header.
bool is_pickle(const std::string& head) {
  return head.starts_with("PK\3\4") || head.starts_with("\x80\2\x8a\nl\xfc\x9c");
}

std::string first_names(const WeightFile& file) {
  std::string names;
  for (size_t k = 0; k < std::min<size_t>(file.tensors().size(), 3); ++k) {
    std::string name = file.tensors()[k].name.substr(0, 60);
    for (char& c : name)
      if (static_cast<unsigned char>(c) < ' ' || c == 127) c = '?';
    names += (k ? ", " : "") + name;
  }
  return names.empty() ? "it holds none" : "they are called " + names;
}

std::string weight_of(const ConvolutionPlan& convolution, Arch arch) {
  return convolution.name + (arch == Arch::v1_5 ? ".weight" : "_weight");
}

std::set<std::string> convolutions_of(const ResNetSettings& settings) {
  const ResNetPlan plan = plan_of(settings);
  std::set<std::string> names{weight_of(plan.stem, settings.arch)};
  for (const BlockPlan& block : plan.blocks) {
    for (const ConvolutionPlan& c : block.convolutions) names.insert(weight_of(c, settings.arch));
    if (block.shortcut) names.insert(weight_of(*block.shortcut, settings.arch));
  }
  return names;
}

size_t differences(const std::set<std::string>& a, const std::set<std::string>& b) {
  std::vector<std::string> apart;
  std::ranges::set_symmetric_difference(a, b, std::back_inserter(apart));
  return apart.size();
}

}  // namespace

WeightFile::WeightFile(const std::filesystem::path& path) : name_(path.string()) {
  const std::string head = head_of(path);
  if (head.size() > 8 && head[8] == '{') {
    take_safetensors(SafetensorsFile(path));
  } else if (is_params(std::as_bytes(std::span(head)))) {
    take_params(read_file(path, kMaxBytes));
  } else if (head.starts_with("\x1f\x8b")) {
    take_archive(path);
  } else if (is_pickle(head)) {
    fail(Exit::data,
         "{0}: this is PyTorch's own format, which can run code when it is read; turn it into "
         "safetensors: python3 apps/launch/convert_weights.py {0} OUT.safetensors",
         name_);
  } else {
    fail(Exit::data,
         "{}: neither safetensors nor MXNet's .params nor a .tar.gz of one; fetch it again, or "
         "give another file",
         name_);
  }
}

void WeightFile::take_safetensors(SafetensorsFile file) {
  safetensors_ = std::move(file);
  metadata_ = safetensors_->metadata();
  tensors_ = safetensors_->tensors();
}

void WeightFile::take_params(std::string bytes) {
  params_ = std::move(bytes);
  std::set<std::string> names;
  for (FileTensor& t : read_params(std::as_bytes(std::span(params_)), name_)) {
    if (t.name.starts_with("arg:") || t.name.starts_with("aux:")) t.name.erase(0, 4);
    if (!names.insert(t.name).second)
      fail(Exit::data, "{}: a tensor stands there both as arg: and as aux:; export it again",
           name_);
    tensors_.push_back(std::move(t));
  }
}

void WeightFile::take_archive(const std::filesystem::path& path) {
  // The last of its kind: that of the latest epoch. Ours before MXNet's, since it says more.
  std::string best[2];
  read_archive(path, [&](std::string_view name) {
    for (const size_t k : {0, 1})
      if (name.ends_with(k == 0 ? ".safetensors" : ".params") && best[k] < name) best[k] = name;
    return false;
  });
  const std::string& chosen = best[best[0].empty()];
  if (chosen.empty())
    fail(Exit::data, "{}: this archive holds neither .params nor .safetensors; give a model",
         name_);
  constexpr const char* kShapes = "model-shapes.json";
  for (ArchivedFile& file : read_archive(
           path, [&](std::string_view name) { return name == chosen || name == kShapes; })) {
    if (file.name == chosen && tensors_.empty()) {
      name_ += ": " + chosen;
      if (!best[0].empty())
        take_safetensors(SafetensorsFile(file.bytes, name_));
      else
        take_params(std::move(file.bytes));
    } else if (file.name == kShapes) {
      const auto json = nlohmann::json::parse(file.bytes, nullptr, false);
      try {
        data_shape_ = json.at(0).at("shape").get<std::array<int, 4>>();
      } catch (const nlohmann::json::exception&) {
        fail(Exit::data, "{}: its {} is no list of {{\"name\",\"shape\":[n,c,h,w]}}; export again",
             path.string(), kShapes);
      }
    }
  }
}

const FileTensor* WeightFile::find(std::string_view name) const {
  const auto found = std::ranges::find(tensors_, name, &FileTensor::name);
  return found == tensors_.end() ? nullptr : &*found;
}

LastLayer last_layer_of(const WeightFile& file) {
  LastLayer last;
  for (const FileTensor& t : file.tensors()) {
    if (t.shape.size() != 2) continue;
    if (last.weight) return {};
    last.weight = &t;
  }
  if (last.weight && last.weight->name.ends_with("weight"))
    last.bias = file.find(last.weight->name.substr(0, last.weight->name.size() - 6) + "bias");
  return last;
}

ResNetSettings network_of(const WeightFile& file) {
  std::set<std::string> convolutions;
  for (const FileTensor& t : file.tensors())
    if (t.shape.size() == 4) convolutions.insert(t.name);
  ResNetSettings found;
  size_t least = convolutions.size() / 2;  // what is further away is damaged beyond telling
  bool known = false;
  std::vector<int> depths = known_depths();
  depths.push_back(10);  // of tests
  for (const Arch arch : {Arch::v1_5, Arch::v1, Arch::v2})
    for (const int depth : depths) {
      const ResNetSettings candidate{.num_layers = depth, .arch = arch};
      const size_t apart = differences(convolutions, convolutions_of(candidate));
      if (apart >= least + !known) continue;
      least = apart;
      found = candidate;
      known = true;
    }
  if (!known)
    fail(Exit::data,
         "{}: its tensors are of no network that is known here ({}); readable are torchvision's "
         "and timm's ResNet-18 to 152, and those of MXNet's model zoo and examples (not Gluon's)",
         file.name(), first_names(file));
  const ConvolutionPlan stem = plan_of(found).stem;
  const FileTensor* first = file.find(weight_of(stem, found.arch));
  if (first && first->shape[0] > 0 && first->shape[0] <= 1024 && first->shape[1] <= 1024) {
    found.base_width = int(first->shape[0] * found.base_width / stem.outputs);
    found.channels = int(first->shape[1]);
  }
  const LastLayer last = last_layer_of(file);
  found.num_classes = last.weight ? int(std::min<int64_t>(last.weight->shape[0], INT32_MAX)) : 0;
  return found;
}

std::string text_of(const ResNetSettings& settings) {
  return fmt::format("ResNet-{} {}", settings.num_layers, name_of(settings.arch));
}

}  // namespace pneuma
