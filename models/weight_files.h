// Weights into networks and out of them. Files have the network's names, convolutions in the order
// [O,C,R,S] (memory has [O,R,S,C]). A model file of ours, safetensors, also says in its metadata
// which network it is, how images are prepared for it and which split it was trained on, so that it
// can be used from the file alone.
#pragma once

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/image_input.h"
#include "engine/io/safetensors.h"
#include "models/weight_source.h"

namespace pneuma {

struct LoadReport {
  bool last_layer_loaded = true;  // false: it keeps the values that it had
  std::string text;               // what was loaded, one sentence
};

// Sets every parameter and buffer from a file of f32, f64, f16 or bf16, whoever wrote it. Where
// only the number of outputs of the last layer differs (or the file has no last layer), that layer
// alone is left as it is, and the report says so. Any other difference, or an inf or nan, is an
// Error(Exit::data) that names tensors and shapes; nothing is changed then. Ignored are
// num_batches_tracked, of no use here, and bn_data_gamma, which MXNet holds at 1 whatever is
// stored.
LoadReport load_weights(Context&, const Parameters&, const WeightFile&);
inline LoadReport load_weights(Context& ctx, const Parameters& parameters,
                               const std::filesystem::path& path) {
  return load_weights(ctx, parameters, WeightFile(path));
}

// The statistics of bn_data, one channel's: of raw pixels, as MXNet's files have them, and of
// pixels from which `mean` is subtracted and that are then divided by `std`. The norm's output is
// the same, to the last eps.
struct PixelScale {
  double mean, std, eps;
  void to_raw(double& m, double& variance) const {
    m = m * std + mean;
    variance = variance * std * std + (std * std - 1) * eps;
  }
  void from_raw(double& m, double& variance) const {
    m = (m - mean) / std;
    variance = std::max(0.0, (variance - (std * std - 1) * eps) / (std * std));
  }
};

// load_weights for a network that is given images of this format.
LoadReport load_pretrained(Context&, const ResNet&, const WeightFile&, const ImageFormat&);

std::vector<double> numbers_of(const FileTensor&);  // REQUIRES f32, f64, f16 or bf16

// Writes every parameter and buffer, atomically, in the dtype that it has in memory.
void save_weights(Context&, const Parameters&, const std::filesystem::path&,
                  const Metadata& metadata = {});

// What a model file says of itself: in metadata `network`, `preprocessing`, `split`, each a JSON
// object in a string.
struct ModelInfo {
  ResNetSettings network;                       // "arch": "v1.5", "v1" or "v2"
  std::array<int, 3> image_shape{3, 224, 224};  // channels, height, width; as network.channels
  std::vector<std::string> findings;            // one an output, in their order
  bool multi_label = true;                      // false: one class an image, softmax
  std::array<float, 3> mean{123.675f, 116.28f, 103.53f};  // in 0..255; ImageNet's
  std::array<float, 3> std{58.395f, 57.12f, 57.375f};
  int resize = 0;                           // shorter side before the crop; 0: as it is
  std::string resize_filter = "antialias";  // antialias | linear
  std::string crop = "center";              // to image_shape
  std::string split_method, split_hash;     // both empty: trained on lists
  uint64_t split_seed = 0;

  ImageFormat image_format() const {
    return {image_shape, mean, std, network.num_classes, multi_label};
  }
  Metadata to_metadata() const;
};

// Reads the three. Where one is absent, not as above or out of range: Error(Exit::data) with the
// file and the key.
ModelInfo read_model_info(const std::filesystem::path&);
ModelInfo model_info_from(const Metadata&, const std::string& file);

}  // namespace pneuma
