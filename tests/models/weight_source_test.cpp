// Files of weights by their content: which network they are of, the last layer by its place, what
// MXNet's files have for bn_data, archives, and what is refused.
#include "models/weight_source.h"

#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "engine/host_values.h"
#include "engine/io/atomic_file.h"
#include "kernels/reference/table.h"
#include "models/mxnet/export.h"
#include "models/mxnet/params.h"
#include "models/mxnet/symbol.h"
#include "tests/temporary.h"

using namespace pneuma;
using pneuma::testing::message_of;
using pneuma::testing::Temporary;

namespace {

constexpr int kWidth = 8;

struct Net {
  explicit Net(Arch arch, int num_layers = 18, int classes = 5, uint64_t seed = 1)
      : ctx(reference_backend()),
        net(ctx, {.num_layers = num_layers,
                  .num_classes = classes,
                  .base_width = kWidth,
                  .arch = arch}) {
    net.initialize(ctx, seed);
  }
  std::vector<double> values(const std::string& name) {
    for (const Parameter& p : net.parameters().parameters)
      if (p.name == name) return get_values(ctx, p.value);
    for (const Buffer& b : net.parameters().buffers)
      if (b.name == name) return get_values(ctx, b.value);
    FAIL("no " << name);
    return {};
  }
  void set(const std::string& name, const std::vector<double>& values) {
    for (const Buffer& b : net.parameters().buffers)
      if (b.name == name) set_values(ctx, b.value, values);
  }
  Context ctx;
  ResNet net;
};

// The tensors of a network, to be changed and written in whatever form.
struct Tensors {
  explicit Tensors(Net& from) {
    save_weights(from.ctx, from.net.parameters(), folder / "all.safetensors");
    file.emplace(folder / "all.safetensors");
    list = file->tensors();
  }
  void rename(const std::string& from, const std::string& to) {
    const auto found = std::ranges::find(list, from, &FileTensor::name);
    REQUIRE(found != list.end());
    found->name = to;
  }
  void write_mxnet(const std::filesystem::path& path, bool gluon = false) {
    std::vector<FileTensor> all = list;
    for (FileTensor& t : all)
      if (!gluon) t.name = (t.name.find("_moving_") != t.name.npos ? "aux:" : "arg:") + t.name;
    write_file_atomically(path, params_bytes(all));
  }
  Temporary folder;
  std::optional<WeightFile> file;
  std::vector<FileTensor> list;
};

std::string text_of_file(const std::filesystem::path& path) {
  const ResNetSettings s = network_of(WeightFile(path));
  return fmt::format("{}, {} classes, {} channels, width {}", text_of(s), s.num_classes, s.channels,
                     s.base_width);
}

void has(const std::string& text, const std::string& part) {
  CAPTURE(text);
  CHECK(text.find(part) != text.npos);
}

// A model file of ours.
void save_model(Net& n, const std::filesystem::path& path, bool multi_label) {
  ModelInfo info{
      .network = n.net.settings(), .image_shape = {3, 40, 48}, .multi_label = multi_label};
  for (int k = 0; k < info.network.num_classes; ++k) info.findings.push_back(fmt::format("F{}", k));
  save_weights(n.ctx, n.net.parameters(), path, info.to_metadata());
}

}  // namespace

TEST_CASE("arch, depth, width and classes are read from names and shapes") {
  Temporary folder;
  for (const Arch arch : {Arch::v1_5, Arch::v1, Arch::v2})
    for (const int depth : {10, 18, 20, 34, 50, 56, 101, 110, 152, 200}) {
      if (arch == Arch::v1_5 && depth == 200) continue;  // torchvision has none
      Net n(arch, depth);
      save_weights(n.ctx, n.net.parameters(), folder / "w");
      CHECK(text_of_file(folder / "w") ==
            fmt::format("ResNet-{} {}, 5 classes, 3 channels, width 8", depth, name_of(arch)));
    }
}

TEST_CASE("timm's and torchvision's extra names, wrappers and other networks") {
  Net n(Arch::v1_5);
  Tensors t(n);
  const int64_t tracked = 3;
  t.list.push_back(
      {"bn1.num_batches_tracked", Dtype::i64, {}, std::as_bytes(std::span(&tracked, 1))});
  write_safetensors(t.folder / "timm", t.list, {{"format", "pt"}});
  CHECK(text_of_file(t.folder / "timm") == "ResNet-18 v1.5, 5 classes, 3 channels, width 8");
  Net loaded(Arch::v1_5, 18, 5, 2);
  CHECK(load_weights(loaded.ctx, loaded.net.parameters(), t.folder / "timm").last_layer_loaded);
  CHECK(loaded.values("layer4.1.conv2.weight") == n.values("layer4.1.conv2.weight"));
  std::erase_if(t.list, [](const FileTensor& f) { return f.name.starts_with("fc."); });
  write_safetensors(t.folder / "headless", t.list, {});
  CHECK(network_of(WeightFile(t.folder / "headless")).num_classes == 0);
  CHECK(
      !load_weights(loaded.ctx, loaded.net.parameters(), t.folder / "headless").last_layer_loaded);

  for (FileTensor& f : t.list) {  // timm's resnetv2_50x1_bit calls them so
    size_t at = f.name.find("layer");
    if (at != f.name.npos)
      f.name.replace(at, 6, fmt::format("stages.{}.blocks", f.name[at + 5] - '1'));
    else
      f.name = "stem." + f.name;
  }
  write_safetensors(t.folder / "bit", t.list, {});
  const auto network = [&] { network_of(WeightFile(t.folder / "bit")); };
  has(message_of(Exit::data, network),
      "its tensors are of no network that is known here (they are called s");
  has(message_of(Exit::data, network), "torchvision's and timm's ResNet-18 to 152");
}

TEST_CASE("MXNet's files: the last layer by its place, gammas that are held at 1, and pixels") {
  Net n(Arch::v2);
  n.set("bn_data_moving_mean", {0.5, -1, 0});
  n.set("bn_data_moving_var", {1, 2, 0.25});
  Tensors t(n);
  const std::vector<float> gamma{7, 8, 9};  // held at 1 by MXNet, whatever is stored
  t.list.push_back({"bn_data_gamma", Dtype::f32, {3}, std::as_bytes(std::span(gamma))});
  t.rename("fc1_weight", "fc_weight");
  t.rename("fc1_bias", "fc_bias");
  const auto path = t.folder / "zoo.bin";  // the name says nothing
  for (const bool gluon_names : {false, true}) {
    t.write_mxnet(path, gluon_names);
    CHECK(text_of_file(path) == "ResNet-18 v2, 5 classes, 3 channels, width 8");
    Net same(Arch::v2, 18, 5, 2);
    CHECK(load_weights(same.ctx, same.net.parameters(), path).last_layer_loaded);
    for (const char* name : {"fc1_weight", "fc1_bias", "stage4_unit2_conv2_weight", "bn_data_beta"})
      CHECK(same.values(name) == n.values(name));
  }
  Net fresh(Arch::v2, 18, 14, 2), other(Arch::v2, 18, 14, 2);
  // As in the file for a network that is given raw pixels...
  const ImageFormat raw{{3, 64, 64}, {0, 0, 0}, {1, 1, 1}, 14, true};
  const LoadReport report = load_pretrained(other.ctx, other.net, WeightFile(path), raw);
  has(report.text, "the last layer has 5 outputs there, so here it keeps its fresh start of 14");
  CHECK(other.values("fc1_weight") == fresh.values("fc1_weight"));
  CHECK(other.values("conv0_weight") == n.values("conv0_weight"));
  CHECK(other.values("bn_data_moving_mean") == std::vector<double>{0.5, -1, 0});
  // ...and moved with the pixels: bn_data gives the same of (x - 10) / 4 as of x.
  const ImageFormat scaled{{3, 64, 64}, {10, 10, 10}, {4, 4, 4}, 14, true};
  load_pretrained(other.ctx, other.net, WeightFile(path), scaled);
  const double eps = other.net.plan().eps;
  const std::vector<double> mean = other.values("bn_data_moving_mean"),
                            variance = other.values("bn_data_moving_var");
  for (size_t c = 0; c < 3; ++c) {
    const double m[] = {0.5, -1, 0}, v[] = {1, 2, 0.25};
    for (const double x : {0.0, 17.0, 255.0})
      CHECK(((x - 10) / 4 - mean[c]) / std::sqrt(variance[c] + eps) ==
            doctest::Approx((x - m[c]) / std::sqrt(v[c] + eps)).epsilon(1e-5));
  }
}

TEST_CASE("what we export for MXNet comes back as the same network, and names every argument") {
  for (const auto& [arch, depth] : {std::pair{Arch::v2, 18},
                                    {Arch::v2, 50},
                                    {Arch::v2, 20},
                                    {Arch::v1, 34},
                                    {Arch::v1, 20},
                                    {Arch::v1_5, 18}}) {
    CAPTURE(std::string(name_of(arch)));
    CAPTURE(depth);
    const Temporary folder;
    Net n(arch, depth);
    n.set("bn_data_moving_mean", {0.5, -1, 0});
    n.set("bn_data_moving_var", {1, 2, 0.25});
    save_model(n, folder / "model", depth != 34);
    const std::vector<ArchivedFile> files =
        mxnet_files(reference_backend(), folder / "model", 7, 4);
    REQUIRE(files.size() == 3);
    CHECK(files[0].name == "image-classification-symbol.json");
    CHECK(files[1].name == "image-classification-0007.params");
    CHECK(files[2].bytes == "[{\"name\":\"data\",\"shape\":[4,3,40,48]}]\n");

    const auto symbol = nlohmann::json::parse(files[0].bytes);
    const auto& nodes = symbol.at("nodes");
    std::set<std::string> variables, names;
    for (size_t k = 0; k < nodes.size(); ++k) {
      CHECK(names.insert(nodes[k].at("name")).second);
      if (nodes[k].at("op") == "null") variables.insert(nodes[k].at("name"));
      for (const auto& from : nodes[k].at("inputs")) CHECK(from[0] < k);
    }
    CHECK(symbol.at("arg_nodes").size() == variables.size());
    CHECK(symbol.at("heads").at(0).at(0) == nodes.size() - 1);
    CHECK(nodes.back().at("op") == (depth != 34 ? "LogisticRegressionOutput" : "SoftmaxOutput"));
    std::set<std::string> arrays;
    for (const FileTensor& t : read_params(std::as_bytes(std::span(files[1].bytes)), "params"))
      arrays.insert(t.name.substr(4));
    CHECK(variables.erase("data") == 1);
    CHECK(variables.erase("softmax_label") == 1);
    CHECK(variables == arrays);
    if (arch == Arch::v1_5) continue;

    write_archive(folder / "model.tar.gz", files);
    const WeightFile file(folder / "model.tar.gz");
    REQUIRE(file.data_shape());
    CHECK(*file.data_shape() == std::array{4, 3, 40, 48});
    if (arch != Arch::v2) continue;
    CHECK(text_of(network_of(file)) == text_of(n.net.settings()));
    Net back(arch, depth, 5, 2);
    load_pretrained(back.ctx, back.net, file,
                    ModelInfo{.network = n.net.settings()}.image_format());
    for (const Parameter& p : n.net.parameters().parameters)
      CHECK(back.values(p.name) == n.values(p.name));
    for (const Buffer& b : n.net.parameters().buffers) {
      const std::vector<double> mine = n.values(b.name), theirs = back.values(b.name);
      for (size_t c = 0; c < mine.size(); ++c)  // the means of raw pixels are rounded at 128
        CHECK(std::fabs(mine[c] - theirs[c]) < (b.name.starts_with("bn_data") ? 1e-6 : 1e-30));
    }
  }
}

TEST_CASE("an archive: ours before MXNet's, the latest epoch, and none") {
  const Temporary folder;
  Net n(Arch::v2, 10), later(Arch::v2, 10, 5, 2);
  save_model(n, folder / "model", true);
  save_model(later, folder / "later", true);
  std::vector<ArchivedFile> files = mxnet_files(reference_backend(), folder / "later", 9, 1);
  files.push_back(mxnet_files(reference_backend(), folder / "model", 3, 1)[1]);
  const auto loaded = [&] {
    write_archive(folder / "a", files);
    Net other(Arch::v2, 10, 5, 3);
    load_weights(other.ctx, other.net.parameters(), folder / "a");
    return other.values("conv0_weight");
  };
  CHECK(loaded() == later.values("conv0_weight"));
  files.push_back({"best.safetensors", folder.read("model")});
  CHECK(loaded() == n.values("conv0_weight"));
  has(WeightFile(folder / "a").metadata().at("network"), "\"v2\"");
  files.back().bytes.back() ^= 1;
  has(message_of(Exit::data, loaded), "best.safetensors: tensor '");
  files = {{"readme.txt", "hello"}};
  has(message_of(Exit::data, loaded), "holds neither .params nor .safetensors");
  files = {{"a.params", params_bytes({})}, {"model-shapes.json", "{\"shape\":1}"}};
  has(message_of(Exit::data, loaded), "model-shapes.json is no list of");
}

TEST_CASE("what is no file of weights is refused with what would be one") {
  const Temporary folder;
  const auto refused = [&](const std::string& bytes) {
    folder.write("file", bytes);
    return message_of(Exit::data, [&] { WeightFile file(folder / "file"); });
  };
  const std::string zip("PK\3\4\0\0\10\10\0\0\0\0\0\0\0\0archive/data.pkl", 32);
  for (const std::string& pickle : {zip, std::string("\x80\2\x8a\nl\xfc\x9c"
                                                     "F\xf9 j\xa8P\x19.\x80\2M\xe9\3")})
    has(refused(pickle), "python3 apps/launch/convert_weights.py");
  for (const char* text : {"", "x", "not weights at all", "\x89HDF\r\n\x1a\n"})
    has(refused(text), "neither safetensors nor MXNet's .params nor a .tar.gz of one");
  has(refused(std::string("\x12\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff", 17)), "the file ends within");
  has(refused(std::string("\x1f\x8b\10\0\0\0\0\0", 8)), "not a whole .tar.gz");
  has(message_of(Exit::data, [&] { WeightFile file(folder / "absent"); }), "cannot read");
  has(message_of(Exit::data, [&] { WeightFile file(folder.path); }), "cannot read");
  const std::vector<FileTensor> twice{{"arg:w", Dtype::u8, {1}, std::as_bytes(std::span("1", 1))},
                                      {"aux:w", Dtype::u8, {1}, std::as_bytes(std::span("1", 1))}};
  has(refused(params_bytes(twice)), "both as arg: and as aux:");
}
