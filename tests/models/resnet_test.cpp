#include "models/resnet.h"

#include <doctest/doctest.h>

#include <cstring>

#include "kernels/reference/table.h"
#include "models/weight_files.h"
#include "tests/golden/formula.h"
#include "tests/temporary_folder.h"

using namespace pneuma;

namespace {

constexpr ResNetSettings kSmall{.num_layers = 10, .num_classes = 14, .base_width = 8};

struct Small {
  Context ctx{reference_backend()};
  ResNet net;
  explicit Small(ResNetSettings settings = kSmall, uint64_t seed = 1) : net(ctx, settings) {
    net.initialize(ctx, seed);
  }
  std::vector<double> all() {
    std::vector<double> v;
    for (const Parameter& p : net.parameters().parameters)
      for (const double x : get_values(ctx, p.value)) v.push_back(x);
    for (const Buffer& b : net.parameters().buffers)
      for (const double x : get_values(ctx, b.value)) v.push_back(x);
    return v;
  }
};

std::string line(const std::string& name, Shape s) {
  if (s.rank == 4) s = {s[0], s[3], s[1], s[2]};
  return name + " " + s.text() + "\n";
}

template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    CHECK(e.exit() == Exit::data);
    return e.what();
  }
  return "no error";
}
bool has(const std::string& text, const std::string& part) {
  INFO(text);
  const bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

// Writes a file with the net's tensors after `change` had its way with them.
template <class F>
void save_changed(Small& small, const std::filesystem::path& path, F change) {
  save_weights(small.ctx, small.net.parameters(), path);
  const SafetensorsFile file(path);
  std::vector<FileTensor> tensors = file.tensors();
  change(tensors);
  write_safetensors(path, tensors, {});
}
FileTensor& find(std::vector<FileTensor>& tensors, const std::string& name) {
  for (FileTensor& t : tensors)
    if (t.name == name) return t;
  throw std::runtime_error(name);
}

void check_names(const golden::Json& depths, Arch arch) {
  for (const auto& [layers, expected] : depths.items()) {
    CAPTURE(layers);
    Context ctx(reference_backend(), float32(), /*dry=*/true);
    const ResNet net(ctx, {.num_layers = std::stoi(layers), .num_classes = 1000, .arch = arch});
    std::string parameters, statistics;
    for (const Parameter& p : net.parameters().parameters)
      parameters += line(p.name, p.value.shape());
    for (const Buffer& b : net.parameters().buffers) statistics += line(b.name, b.value.shape());
    CHECK(net.parameters().parameters.size() == expected.at("parameters").get<size_t>());
    CHECK(net.parameters().buffers.size() == expected.at("statistics").get<size_t>());
    CHECK(net.parameters().count() == expected.at("numbers").get<size_t>());
    CHECK(fmt::format("{:016x}", golden::fnv1a(parameters)) ==
          expected.at("parameters_hash").get<std::string>());
    CHECK(fmt::format("{:016x}", golden::fnv1a(statistics)) ==
          expected.at("statistics_hash").get<std::string>());
  }
}

}  // namespace

TEST_CASE("names, shapes and order are torchvision's at every depth") {
  const golden::Json depths = golden::read("resnet_names.json").at("depths");
  REQUIRE(depths.size() == 5);
  check_names(depths, Arch::v1_5);
}

TEST_CASE("names, shapes and order are MXNet's at every depth") {
  for (const Arch arch : {Arch::v1, Arch::v2}) {
    CAPTURE(std::string(name_of(arch)));
    const golden::Json depths = golden::read("resnet_mxnet.json").at("depths").at(name_of(arch));
    REQUIRE(depths.size() == known_depths().size());
    check_names(depths, arch);
  }
}

TEST_CASE("v1.5 has the other depths, too: three stages of MXNet's widths, torchvision's names") {
  Context ctx(reference_backend(), float32(), true);
  const ResNet small(ctx, {.num_layers = 20});
  std::string lines;
  for (const Parameter& p : small.parameters().parameters)
    if (p.role == Role::weight) lines += line(p.name, p.value.shape());
  has(lines, "conv1.weight [16,3,3,3]\nlayer1.0.conv1.weight [16,16,3,3]\n");
  has(lines, "layer2.0.conv2.weight [32,32,3,3]\nlayer2.0.downsample.0.weight [32,16,1,1]\n");
  has(lines, "layer3.2.conv2.weight [64,64,3,3]\nfc.weight [14,64]\n");
  CHECK(ResNet(ctx, {.num_layers = 200}).plan().blocks.size() == 3 + 24 + 36 + 3);
}

TEST_CASE("settings out of range are refused") {
  Context ctx(reference_backend(), float32(), true);
  CHECK_THROWS_WITH(ResNet(ctx, {.num_layers = 19}),
                    "--num_layers 19 is not known; known are 18, 34, 50, 101, 152, 200, and 20, "
                    "32, 44, 56, 110 for small images");
  CHECK_THROWS_AS(ResNet(ctx, {.num_classes = 0}), Error);
  CHECK_THROWS_AS(ResNet(ctx, {.channels = 0}), Error);
  CHECK_THROWS_AS(ResNet(ctx, {.base_width = 100'000}), Error);
  CHECK_THROWS_AS(ResNet(ctx, {.num_layers = 20, .base_width = 3}), Error);
  CHECK_THROWS_WITH(arch_named("v3"), "--arch v3 is not known; known are v1.5, v1, v2");
}

TEST_CASE("a start is a pure function of the seed") {
  Small a, b, other(kSmall, 2);
  CHECK(a.all() == b.all());
  CHECK(a.all() != other.all());
  // Another number of classes leaves every other parameter as it was.
  Small five({.num_layers = 10, .num_classes = 5, .base_width = 8});
  for (size_t i = 0; i + 2 < five.net.parameters().parameters.size(); ++i) {
    CHECK(get_values(a.ctx, a.net.parameters().parameters[i].value) ==
          get_values(five.ctx, five.net.parameters().parameters[i].value));
  }
}

TEST_CASE("a start has the moments of its distribution") {
  Small wide({.num_layers = 10, .num_classes = 14, .base_width = 32});
  for (const Parameter& p : wide.net.parameters().parameters) {
    CAPTURE(p.name);
    const std::vector<double> v = get_values(wide.ctx, p.value);
    const auto n = double(v.size());
    double mean = 0, square = 0, fourth = 0, largest = 0;
    for (const double x : v) {
      mean += x / n;
      square += x * x / n;
      fourth += x * x * x * x / n;
      largest = std::max(largest, std::fabs(x));
    }
    const Shape& s = p.value.shape();
    if (p.role == Role::norm_scale || p.role == Role::norm_shift) {
      const double expected = p.role == Role::norm_scale ? 1 : 0;
      for (const double x : v) CHECK(x == expected);
    } else if (s.rank == 4) {
      const double variance = 2.0 / double(s[0] * s[1] * s[2]);  // six standard errors each
      CHECK(std::fabs(mean) < 6 * std::sqrt(variance / n));
      CHECK(square / variance == doctest::Approx(1).epsilon(6 * std::sqrt(2 / n)));
      CHECK(fourth / (3 * variance * variance) ==
            doctest::Approx(1).epsilon(6 * std::sqrt(11 / n)));
    } else {
      const double bound = 1 / std::sqrt(256.0);
      CHECK(largest <= bound);
      CHECK(largest > 0.8 * bound);
      if (s.rank == 2)
        CHECK(square == doctest::Approx(bound * bound / 3).epsilon(6 * std::sqrt(0.8 / n)));
    }
  }
  for (const Buffer& b : wide.net.parameters().buffers) {
    const double expected = b.name.ends_with("var") ? 1 : 0;
    for (const double x : get_values(wide.ctx, b.value)) CHECK(x == expected);
  }
}

TEST_CASE("MXNet's forms start with variance 2 / fan_in and without bias") {
  for (const Arch arch : {Arch::v1, Arch::v2}) {
    Small wide({.num_layers = 10, .num_classes = 14, .base_width = 32, .arch = arch});
    for (const Parameter& p : wide.net.parameters().parameters) {
      CAPTURE(p.name);
      const std::vector<double> v = get_values(wide.ctx, p.value);
      const auto n = double(v.size());
      double square = 0;
      for (const double x : v) square += x * x / n;
      if (p.role == Role::weight)  // six standard errors
        CHECK(square * n / double(2 * p.value.shape()[0]) ==
              doctest::Approx(1).epsilon(6 * std::sqrt(2 / n)));
      else
        CHECK(square == (p.role == Role::norm_scale ? 1 : 0));
    }
  }
}

// (L(w + h d) - L(w - h d)) / 2h against <gradient, d>, for a random direction d of each parameter.
TEST_CASE("the gradient of a whole v2 net is that of finite differences") {
  Context ctx(reference_backend(), float64());
  ResNet net(ctx, {.num_layers = 50, .num_classes = 3, .base_width = 4, .arch = Arch::v2});
  golden::fill(ctx, net.parameters(), /*apart=*/true);
  net.parameters().make_gradients(ctx);
  const Tensor x = golden::uniform_tensor(ctx, "image", {2, 64, 64, 3});
  const Tensor labels = ctx.persistent({2, 3}, Dtype::f64);
  set_values(ctx, labels, std::vector<double>{1, 0, 0, 0, 1, 1});
  const auto loss = [&] { return ops::sigmoid_cross_entropy(ctx, net.forward(ctx, x), labels); };
  Tape tape;
  net.parameters().watch(tape);
  {
    const Recording recording(ctx, tape);
    tape.backward(ctx, loss());
  }
  ctx.training = true;
  double worst = 0;
  for (const Parameter& p : net.parameters().parameters) {
    CAPTURE(p.name);
    constexpr double kStep = 1e-6;
    const std::vector<double> w = get_values(ctx, p.value), g = get_values(ctx, p.gradient);
    std::vector<double> d(w.size()), there(w.size());
    double expected = 0;
    for (size_t i = 0; i < w.size(); ++i) {
      d[i] = golden::uniform(golden::fnv1a(p.name + ".direction"), i);
      expected += g[i] * d[i];
    }
    const auto loss_at = [&](double h) {
      for (size_t i = 0; i < w.size(); ++i) there[i] = w[i] + h * d[i];
      set_values(ctx, p.value, std::span<const double>(there));
      return get_values(ctx, loss())[0];
    };
    const double found = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
    set_values(ctx, p.value, std::span<const double>(w));
    // The loss is rounded to 1e-16, so the quotient to 1e-10; ReLUs' inputs are set apart from 0.
    const double error = std::fabs(found - expected) / std::max(std::fabs(expected), 1e-3);
    CHECK(error < 1e-5);
    worst = std::max(worst, error);
  }
  MESSAGE("furthest of finite differences: " << worst);
}

// v2 keeps no more than v1.5: the sum of a block keeps nothing, and shares its gradient.
TEST_CASE("a step of v2 takes the memory of v1.5, and the deep ones are planned") {
  const auto plan = [](Arch arch, int num_layers) {
    Context ctx(reference_backend(), float32(), /*dry=*/true);
    ResNet net(ctx, {.num_layers = num_layers, .arch = arch});
    net.parameters().make_gradients(ctx);
    const Tensor x = ctx.persistent({4, 224, 224, 3}, Dtype::f32);
    const Tensor labels = ctx.persistent({4, 14}, Dtype::f32);
    return double(ctx.record([&] {
                       Tape tape;
                       net.parameters().watch(tape);
                       const Recording recording(ctx, tape);
                       tape.backward(ctx,
                                     ops::sigmoid_cross_entropy(ctx, net.forward(ctx, x), labels));
                     })
                      .peak);
  };
  double before = 0;
  for (const int num_layers : {50, 101, 152, 200}) {
    CAPTURE(num_layers);
    const double v2 = plan(Arch::v2, num_layers), v1_5 = plan(Arch::v1_5, num_layers);
    CHECK(v2 < 1.03 * v1_5);
    CHECK(v2 > before);
    before = v2;
    MESSAGE("ResNet-" << num_layers << ", 4 images of 224: v2 " << v2 * 1e-6 << " MB, v1.5 "
                      << v1_5 * 1e-6 << " MB");
  }
}

TEST_CASE("weights survive a file bit for bit, in torchvision's order") {
  const testing::TemporaryFolder folder;
  const auto path = folder.path / "a.safetensors";
  Small a, b(kSmall, 2);
  save_weights(a.ctx, a.net.parameters(), path);
  const LoadReport report = load_weights(b.ctx, b.net.parameters(), path);
  CHECK(report.last_layer_loaded);
  CHECK(report.text == "62 of 62 tensors loaded from " + path.string());
  CHECK(a.all() == b.all());

  const SafetensorsFile file(path);
  const Tensor& w = a.net.parameters().parameters[0].value;
  const std::vector<double> expected = golden::in_file_order(w.shape(), get_values(a.ctx, w));
  const FileTensor* t = file.find("conv1.weight");
  REQUIRE(t);
  CHECK(t->shape == std::vector<int64_t>{8, 3, 7, 7});
  std::vector<float> values(expected.size());
  std::memcpy(values.data(), t->bytes.data(), t->bytes.size());
  CHECK(std::vector<double>(values.begin(), values.end()) == expected);

  Context wide(reference_backend(), float64());  // the oracle keeps its 64 bits
  ResNet net(wide, kSmall);
  golden::fill(wide, net.parameters());
  const Tensor& bias = net.parameters().parameters.back().value;
  set_values(wide, bias, std::vector<double>(14, 1.0 / 3));
  save_weights(wide, net.parameters(), path);
  set_values(wide, bias, std::vector<double>(14, 0));
  load_weights(wide, net.parameters(), path);
  CHECK(get_values(wide, bias) == std::vector<double>(14, 1.0 / 3));
}

TEST_CASE("16- and 64-bit weights are converted on reading") {
  const testing::TemporaryFolder folder;
  const auto path = folder.path / "a.safetensors";
  Small a;
  const uint16_t half[14] = {0x3C00, 0xC000, 0x0001, 0x03FF, 0x7BFF, 0x8000, 0x3555};
  const uint16_t brain[14] = {0x3F80, 0xC000, 0x0001};
  double wide[14] = {0.1, -1e-300};
  std::vector<double> expected(14, 0.0);
  SUBCASE("f16") {
    save_changed(a, path, [&](std::vector<FileTensor>& tensors) {
      FileTensor& t = find(tensors, "fc.bias");
      t.dtype = Dtype::f16;
      t.bytes = std::as_bytes(std::span(half));
    });
    const double values[] = {1, -2, 0x1p-24, 1023 * 0x1p-24, 65504, 0, 0.333251953125};
    std::copy(values, values + 7, expected.begin());
  }
  SUBCASE("bf16") {
    save_changed(a, path, [&](std::vector<FileTensor>& tensors) {
      FileTensor& t = find(tensors, "fc.bias");
      t.dtype = Dtype::bf16;
      t.bytes = std::as_bytes(std::span(brain));
    });
    const double values[] = {1, -2, 0x1p-133};
    std::copy(values, values + 3, expected.begin());
  }
  SUBCASE("f64") {
    save_changed(a, path, [&](std::vector<FileTensor>& tensors) {
      FileTensor& t = find(tensors, "fc.bias");
      t.dtype = Dtype::f64;
      t.bytes = std::as_bytes(std::span(wide));
    });
    expected[0] = 0.1f;
  }
  load_weights(a.ctx, a.net.parameters(), path);
  CHECK(get_values(a.ctx, a.net.parameters().parameters.back().value) == expected);
}

TEST_CASE("a last layer of another size keeps its fresh start, and it is said") {
  const testing::TemporaryFolder folder;
  const auto path = folder.path / "a.safetensors";
  Small five({.num_layers = 10, .num_classes = 5, .base_width = 8}, 3), fourteen;
  const auto fresh = get_values(fourteen.ctx, fourteen.net.parameters().parameters.back().value);
  save_weights(five.ctx, five.net.parameters(), path);
  const LoadReport report = load_weights(fourteen.ctx, fourteen.net.parameters(), path);
  CHECK(!report.last_layer_loaded);
  CHECK(report.text == "60 of 62 tensors loaded from " + path.string() +
                           "; the last layer has 5 outputs there, so here it keeps its fresh "
                           "start of 14");
  CHECK(get_values(fourteen.ctx, fourteen.net.parameters().parameters.back().value) == fresh);
  CHECK(get_values(fourteen.ctx, fourteen.net.parameters().parameters[0].value) ==
        get_values(five.ctx, five.net.parameters().parameters[0].value));

  save_changed(five, path, [](std::vector<FileTensor>& tensors) {
    std::erase_if(tensors, [](const FileTensor& t) { return t.name.starts_with("fc."); });
  });
  has(load_weights(fourteen.ctx, fourteen.net.parameters(), path).text,
      "the last layer is not in the file, so here it keeps its fresh start of 14");
}

TEST_CASE("weights that do not fit are refused, and nothing is changed") {
  const testing::TemporaryFolder folder;
  const auto path = folder.path / "a.safetensors";
  Small a, b(kSmall, 2);
  const std::vector<double> before = b.all();
  const auto load = [&] { load_weights(b.ctx, b.net.parameters(), path); };
  const auto refused = [&](auto change) {
    save_changed(a, path, change);
    return message_of(load);
  };
  std::string m = refused([](auto& tensors) { find(tensors, "bn1.bias").shape = {2, 4}; });
  has(m, path.string());
  has(m, "bn1.bias is [2,4] and the network's is [8]");
  m = refused([](auto& tensors) {
    std::erase_if(tensors,
                  [](const FileTensor& t) { return t.name == "layer1.0.bn2.running_var"; });
  });
  has(m, "the file lacks layer1.0.bn2.running_var");
  m = refused([](auto& tensors) { find(tensors, "conv1.weight").name = "module.conv1.weight"; });
  has(m, "the file lacks conv1.weight; the network has no module.conv1.weight");
  m = refused([](auto& tensors) { find(tensors, "fc.bias").dtype = Dtype::i32; });
  has(m, "fc.bias is of dtype i32");
  std::vector<float> bad(14, NAN);
  m = refused(
      [&](auto& tensors) { find(tensors, "fc.bias").bytes = std::as_bytes(std::span(bad)); });
  has(m, "tensor 'fc.bias' holds inf or nan");

  Small deep({.num_layers = 18, .num_classes = 14, .base_width = 8});
  save_weights(deep.ctx, deep.net.parameters(), path);
  m = message_of(load);
  has(m, "and 37 more");
  has(m, "give weights of this one");
  Small wide({.num_layers = 10, .num_classes = 14, .base_width = 16});
  save_weights(wide.ctx, wide.net.parameters(), path);
  has(message_of(load), "conv1.weight is [16,3,7,7] and the network's is [8,3,7,7]");
  CHECK(b.all() == before);

  const int64_t steps = 7;  // PyTorch's counters are no weights
  save_changed(a, path, [&](auto& tensors) {
    tensors.push_back(
        {"bn1.num_batches_tracked", Dtype::i64, {}, std::as_bytes(std::span(&steps, 1))});
  });
  load();
  CHECK(b.all() == a.all());
}

TEST_CASE("a model file says what it is, and hostile metadata is refused") {
  ModelInfo info;
  info.network = {.num_layers = 50, .num_classes = 2, .channels = 1, .base_width = 16};
  info.image_shape = {1, 896, 897};
  info.findings = {"Hernia", "Pleural \"thickening\""};
  info.mean = {1.5f, 0, 255};
  info.std = {58.395f, 57.12f, 1};
  info.resize = 256;
  info.resize_filter = "linear";
  info.split_method = "patient";
  info.split_seed = uint64_t{1} << 53;
  info.split_hash = "0123";
  const testing::TemporaryFolder folder;
  const auto path = folder.path / "m.safetensors";
  Small a;
  save_weights(a.ctx, a.net.parameters(), path, info.to_metadata());
  const ModelInfo back = read_model_info(path);
  CHECK(back.to_metadata() == info.to_metadata());
  CHECK(back.network.channels == 1);
  CHECK(back.mean == info.mean);
  CHECK(back.std == info.std);

  const auto refused = [&](const char* section, const char* key, const char* json) {
    Metadata metadata = info.to_metadata();
    golden::Json j = golden::Json::parse(metadata[section]);
    j[key] = golden::Json::parse(json);
    metadata[section] = j.dump();
    const std::string m = message_of([&] { model_info_from(metadata, "m.safetensors"); });
    has(m, fmt::format("m.safetensors: metadata '{}': {}", section, key));
  };
  refused("network", "arch", R"("v3")");
  refused("network", "arch", "17");
  refused("network", "num_layers", "1e300");
  refused("network", "num_layers", "18446744073709551615");
  refused("network", "num_layers", "-50");
  refused("network", "num_classes", "2000000000");
  refused("network", "base_width", "65536");
  refused("network", "findings", R"(["Hernia"])");
  refused("network", "findings", R"(["Hernia", 2])");
  refused("network", "image_shape", "[3,224]");
  refused("network", "image_shape", "[3,224,100000]");
  refused("network", "image_shape", "[3,224,1.5]");
  refused("preprocessing", "mean", "[0,0,1e300]");
  refused("preprocessing", "mean", R"([0,0,"a"])");
  refused("preprocessing", "std", "[1,1,0]");
  refused("preprocessing", "resize", "-1");
  refused("preprocessing", "resize_filter", R"("nearest")");
  refused("preprocessing", "crop", "null");
  refused("split", "seed", "-1");
  refused("split", "hash", "{}");

  for (const char* section : {"network", "preprocessing", "split"}) {
    Metadata metadata = info.to_metadata();
    metadata.erase(section);
    has(message_of([&] { model_info_from(metadata, "m"); }),
        fmt::format("m has no '{}' in its metadata", section));
    for (const std::string& text : {std::string(), std::string("[1]"), std::string(100'000, '[')}) {
      metadata[section] = text;
      has(message_of([&] { model_info_from(metadata, "m"); }), "it is not a JSON object");
    }
    metadata[section] = std::string(2'000'000, ' ');
    has(message_of([&] { model_info_from(metadata, "m"); }), "longer than");
  }
  Metadata twice = info.to_metadata();
  golden::Json j = golden::Json::parse(twice["network"]);
  j["findings"] = {"Mass", "Mass"};
  twice["network"] = j.dump();
  has(message_of([&] { model_info_from(twice, "m"); }), "a finding stands twice");
}
