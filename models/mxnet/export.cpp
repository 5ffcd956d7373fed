#include "models/mxnet/export.h"

#include <deque>
#include <nlohmann/json.hpp>

#include "models/mxnet/params.h"
#include "models/mxnet/symbol.h"

namespace pneuma {
namespace {

// On their way into a .params file: the model's tensors, and those that are made for MXNet.
struct Arrays {
  std::vector<FileTensor> tensors;
  std::deque<std::vector<float>> made;

  void add(const std::string& name, std::vector<float> values) {
    const std::vector<float>& kept = made.emplace_back(std::move(values));
    tensors.push_back({name, Dtype::f32, {int64_t(kept.size())}, std::as_bytes(std::span(kept))});
  }
};

}  // namespace

std::vector<ArchivedFile> mxnet_files(const Backend& backend, const std::filesystem::path& model,
                                      int epoch, int batch) {
  const WeightFile file(model);
  const ModelInfo info = model_info_from(file.metadata(), file.name());
  Context ctx(backend, float32(), /*dry=*/true);
  const ResNet net(ctx, info.network);
  if (!load_weights(ctx, net.parameters(), file).last_layer_loaded)
    fail(Exit::data, "{}: its last layer is not of the {} classes that it names; it is damaged",
         file.name(), info.network.num_classes);

  Arrays arrays;
  for (const Parameter& p : net.parameters().parameters) {
    arrays.tensors.push_back(*file.find(p.name));
    arrays.tensors.back().name = "arg:" + mxnet_name(p);
  }
  const bool own = net.plan().data_norm.empty();  // the first norm is not the network's
  const std::string norm = own ? "normalize" : net.plan().data_norm;
  for (const Buffer& b : net.parameters().buffers) {
    if (!own && b.name.starts_with(norm + "_")) continue;
    arrays.tensors.push_back(*file.find(b.name));
    arrays.tensors.back().name = "aux:" + mxnet_name(b);
  }
  const auto channels = size_t(info.network.channels);
  std::vector<double> mean(channels, 0), variance(channels, 1);
  if (!own) {
    mean = numbers_of(*file.find(norm + "_moving_mean"));
    variance = numbers_of(*file.find(norm + "_moving_var"));
  }
  for (size_t c = 0; c < channels; ++c)
    PixelScale{info.mean[c], info.std[c], own ? 0 : net.plan().eps}.to_raw(mean[c], variance[c]);
  arrays.add("arg:" + norm + "_gamma", std::vector<float>(channels, 1));
  if (own) arrays.add("arg:" + norm + "_beta", std::vector<float>(channels, 0));
  arrays.add("aux:" + norm + "_moving_mean", {mean.begin(), mean.end()});
  arrays.add("aux:" + norm + "_moving_var", {variance.begin(), variance.end()});

  const auto& [c, height, width] = info.image_shape;
  const nlohmann::ordered_json shapes = {{{"name", "data"}, {"shape", {batch, c, height, width}}}};
  return {{"image-classification-symbol.json", symbol_json(ctx, net, info)},
          {fmt::format("image-classification-{:04}.params", epoch), params_bytes(arrays.tensors)},
          {"model-shapes.json", shapes.dump() + "\n"}};
}

}  // namespace pneuma
