// Writes a model for other software: MXNet's model.tar.gz, or torchvision's weights.
#include <fmt/ranges.h>

#include "apps/common/cli.h"
#include "kernels/open_backend.h"
#include "models/mxnet/export.h"

namespace {

using namespace pneuma;

void export_mxnet(const std::string& model, const std::string& output, int epoch, int batch) {
  std::string why;
  const std::vector<ArchivedFile> files =
      mxnet_files(*open_backend("reference", &why), model, epoch, batch);
  write_archive(output, files);
  fmt::print("{}:", output);
  for (const ArchivedFile& file : files) fmt::print(" {}", file.name);
  fmt::print("; data are RGB pixels of 0 to 255 as they are\n");
}

// The tensors as they are, without our metadata, and what load_state_dict(strict) wants besides.
void export_torchvision(const std::string& model, const std::string& output) {
  const WeightFile file(model);
  const ModelInfo info = model_info_from(file.metadata(), file.name());
  if (info.network.arch != Arch::v1_5)
    fail(Exit::usage, "{}: {} is no network of torchvision's; export it with --format mxnet", model,
         text_of(info.network));
  static constexpr int64_t kTracked = 0;  // of use only to norms without momentum
  constexpr std::string_view kVariance = "running_var";
  std::vector<FileTensor> tensors = file.tensors();
  for (const FileTensor& t : file.tensors())
    if (t.name.ends_with(kVariance))
      tensors.push_back({t.name.substr(0, t.name.size() - kVariance.size()) + "num_batches_tracked",
                         Dtype::i64,
                         {},
                         std::as_bytes(std::span(&kTracked, 1))});
  write_safetensors(output, std::move(tensors), {{"format", "pt"}});
  fmt::print("{}: {}, {} classes; its images are (RGB - {}) / {} in 0..255\n", output,
             text_of(info.network), info.network.num_classes, info.mean, info.std);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Writes a model that train_cxr saved in the form of other software.\n"
      "mxnet: a .tar.gz of image-classification-symbol.json, -NNNN.params and model-shapes.json;\n"
      "torchvision: .safetensors that torchvision's resnetN loads (--arch v1.5).\n"
      "Research use, not a medical device.",
      "export_model");
  std::string model, format, output;
  int epoch = 0, batch = 1;
  app.add_option("model", model, "A model: .safetensors of a run")->required();
  app.add_option("--format", format, "mxnet or torchvision")
      ->required()
      ->check(CLI::IsMember({"mxnet", "torchvision"}));
  app.add_option("--output", output, "The file to write")->required();
  app.add_option("--epoch", epoch, "mxnet: NNNN in the name of the .params file")
      ->capture_default_str()
      ->check(cli::in_range(0, 9999));
  app.add_option("--batch", batch, "mxnet: images a batch in model-shapes.json")
      ->capture_default_str()
      ->check(cli::in_range(1, 65536));
  return cli::run(app, argc, argv, [&] {
    if (format == "mxnet")
      export_mxnet(model, output, epoch, batch);
    else
      export_torchvision(model, output);
  });
}
