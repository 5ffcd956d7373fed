// A file of weights, whoever wrote it: what is in it counts, never its name. Safetensors (ours,
// torchvision's, timm's), MXNet's .params, and a .tar.gz that holds one of them, as model.tar.gz of
// the published training job does.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"
#include "models/resnet.h"

namespace pneuma {

class WeightFile {
 public:
  // Errors: Exit::data. Of PyTorch's own format it says what makes it readable.
  explicit WeightFile(const std::filesystem::path& path);
  WeightFile(const WeightFile&) = delete;

  const std::string& name() const { return name_; }                    // for messages
  const Metadata& metadata() const { return metadata_; }               // empty where there is none
  const std::vector<FileTensor>& tensors() const { return tensors_; }  // without arg: and aux:
  const FileTensor* find(std::string_view name) const;                 // null: not in the file
  // The images of model-shapes.json beside the weights in an archive: batch, channels, height,
  // width.
  const std::optional<std::array<int, 4>>& data_shape() const { return data_shape_; }
  // MXNet's: of a network that is given pixels of 0..255 as they are.
  bool of_raw_pixels() const { return !params_.empty(); }

 private:
  void take_safetensors(SafetensorsFile file);
  void take_params(std::string bytes);
  void take_archive(const std::filesystem::path& path);

  std::string name_, params_;
  std::optional<SafetensorsFile> safetensors_;
  Metadata metadata_;
  std::vector<FileTensor> tensors_;
  std::optional<std::array<int, 4>> data_shape_;
};

// The last layer goes by its place, not by its name: it is the only matrix of a ResNet. Null where
// the file has none, or several.
struct LastLayer {
  const FileTensor *weight = nullptr, *bias = nullptr;
};
LastLayer last_layer_of(const WeightFile& file);

// The network whose weights these are, by the names and shapes of its convolutions and last layer
// (num_classes 0: that is not there). Throws Error(Exit::data) where it is none of
// models/resnet.h.
ResNetSettings network_of(const WeightFile& file);

// "ResNet-50 v1.5"
std::string text_of(const ResNetSettings& settings);

}  // namespace pneuma
