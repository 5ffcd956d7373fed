#include "apps/common/train_settings.h"

#include <algorithm>
#include <thread>

#include "data/text.h"
#include "engine/error.h"
#include "engine/precision.h"

namespace pneuma {

void add_train_flags(CLI::App& app, TrainSettings& s) {
  using cli::in_range;
  const char* group = "Data";  // of the flags that follow
  const auto add = [&](const std::string& name, auto& value, const std::string& help) {
    return app.add_option("--" + name, value, help)->group(group)->capture_default_str();
  };
  const auto add_name = [&](const std::string& name, std::string& value,
                            std::vector<std::string> known, const std::string& help) {
    add(name, value, help)->check(CLI::IsMember(std::move(known)));
  };
  const auto add_number = [&](const std::string& name, auto& value, double low, double high,
                              const std::string& help) {
    add(name, value, help)->check(in_range(low, high));
  };
  const auto add_switch = [&](const std::string& name, bool& value, const std::string& help) {
    cli::add_switch(app, "--" + name, value, help)->group(group);
  };
  constexpr double kMost = 1 << 24, kMostSteps = 1e15, kMostSeed = 1e15;
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);

  add("data", s.data, "Folder in the NIH's layout: images/ and Data_Entry_2017.csv");
  add_name("split", s.split, {"patient", "published", "official"},
           "How patients are split; patient: 70/10/20 %");
  add("lists", s.lists, "Folder of train_val_list.txt and test_list.txt (--split official)");
  add("train", s.train, "Training images instead of --data: a folder with a .lst, or a .rec");
  add("train_lst", s.train_lst, "Their .lst file; with a .rec only where that lacks labels");
  add("validation", s.validation, "Validation images, likewise");
  add("validation_lst", s.validation_lst, "Their .lst file");
  add("test", s.test, "Test images, likewise; optional");
  add("test_lst", s.test_lst, "Their .lst file");
  add("output", s.output, "Folder for everything the run leaves; new or empty");

  group = "Network";
  add("num_layers", s.num_layers, "Depth of the ResNet")
      ->check(CLI::IsMember({18, 34, 50, 101, 152}));
  add_number("num_classes", s.num_classes, 0, 10000, "Outputs; 0: as many as the data has");
  add("image_shape", s.image_shape, "channels,height,width that the network sees");
  add("mean", s.mean, "Subtracted from each channel, in 0..255: r,g,b");
  add("std", s.std, "Divides each channel, in 0..255: r,g,b");
  add("init", s.init, "Start from these weights: .safetensors in torchvision's names");

  group = "Training";
  add("resize", s.resize,
      "Shorter side before the crop, or none (default 256 with 224x224, else none)");
  add_name("resize_filter", s.resize_filter, {"antialias", "linear"}, "How pictures shrink");
  add_name("augmentation_type", s.augmentation_type, {"none", "crop"},
           "crop: random crop and mirror");
  add_switch("mirror", s.mirror, "Whether --augmentation_type crop mirrors, too");
  add_number("mini_batch_size", s.mini_batch_size, 1, 65536, "Images a step");
  add_number("epochs", s.epochs, 1, kMost, "Passes over the training images");
  add_number("learning_rate", s.learning_rate, 0, 1, "Of every step");
  add_name("optimizer", s.optimizer, {"sgd", "nag", "adam", "rmsprop"}, "Update rule");
  add_number("momentum", s.momentum, 0, 1, "sgd, nag");
  add_number("weight_decay", s.weight_decay, 0, 1, "sgd, nag");
  add_number("beta_1", s.beta_1, 0, 1, "adam");
  add_number("beta_2", s.beta_2, 0, 1, "adam");
  add_number("eps", s.eps, 0, 1, "adam, rmsprop");
  add_number("gamma", s.gamma, 0, 1, "rmsprop");
  add_switch("multi_label", s.multi_label, "Several findings an image; 0: one class an image");
  add_switch("use_weighted_loss", s.use_weighted_loss, "Weigh each finding's positives by N/N_l");
  add_name("select_by", s.select_by, {"macro_auc", "accuracy", "loss"},
           "What the best checkpoint is best in");
  add("precision_dtype", s.precision_dtype,
      "float32, float16, bfloat16; float64 with --device reference");
  add("loss_scale", s.loss_scale, "dynamic, or a number that stays (default dynamic in 16 bits)");
  add_number("loss_scale_start", s.loss_scale_start, 1, 0x1p40, "dynamic: of the first step");
  add_number("loss_scale_growth", s.loss_scale_growth, 1, 1024, "dynamic: factor after...");
  add_number("loss_scale_interval", s.loss_scale_interval, 1, kMostSteps, "...so many clean steps");
  add_number("loss_scale_backoff", s.loss_scale_backoff, 0, 1, "dynamic: factor after inf or nan");
  add_number("loss_scale_floor", s.loss_scale_floor, 0x1p-40, 0x1p40, "dynamic: never below this");

  group = "Run";
  add_number("seed", s.seed, 0, kMostSeed, "Of weights, split, order and augmentation");
  add_switch("shuffle", s.shuffle, "A new order of the training images each epoch");
  add_name("last_batch", s.last_batch, {"drop", "keep"},
           "drop: equal batches, others left out each epoch");
  add_name("on_bad_image", s.on_bad_image, {"fail", "skip", "replace"},
           "replace: by the next good one");
  add_number("max_steps", s.max_steps, 0, kMostSteps, "Stop after so many steps; 0: no limit");
  add_number("save_every", s.save_every, 0, kMostSteps, "Steps between saved states; 0: an epoch");
  add("device", s.device, "auto, cpu, reference, cuda or host_cuda");
  add("conv_table", s.conv_table, "Convolutions' algorithms: a run's conv_table.txt")
      ->check(CLI::ExistingFile);
  add_number("threads", s.threads, 0, 1024,
             "Computing and decoding; 0: as many as the machine has");
  add_number("cache_mb", s.cache_mb, 0, kMost, "Cap on decoded pictures kept in memory, in MB");
}

ImageShape parse_image_shape(const std::string& text) {
  const std::vector<float> n = parse_numbers("--image_shape", text, 3);
  for (const float v : n) {
    if (v < 1 || v > 16384 || v != float(int(v))) {
      fail(Exit::usage, "--image_shape {}: each number is whole, from 1 to 16384", text);
    }
  }
  if (n[0] != 1 && n[0] != 3) fail(Exit::usage, "--image_shape {}: channels are 1 or 3", text);
  if (n[1] < 32 || n[2] < 32)
    fail(Exit::usage, "--image_shape {}: the network needs at least 32x32", text);
  return {int(n[0]), int(n[1]), int(n[2])};
}

std::vector<float> parse_numbers(const std::string& flag, const std::string& text, size_t count) {
  std::vector<float> numbers;
  for (const std::string_view field : split_fields(text, ',')) {
    const auto number = parse_number<float>(trim(field));
    if (!number || !std::isfinite(*number))
      fail(Exit::usage, "{} {}: '{}' is not a number", flag, text, field);
    numbers.push_back(*number);
  }
  if (numbers.size() != count)
    fail(Exit::usage, "{} {}: {} numbers with commas are needed", flag, text, count);
  return numbers;
}

void resolve(TrainSettings& s, std::vector<std::string>* notes) {
  const ImageShape shape = parse_image_shape(s.image_shape);
  if (s.output.empty()) fail(Exit::usage, "--output is missing: name a new folder for the run");
  const bool lists = !s.train.empty() || !s.train_lst.empty();
  if (s.data.empty() == !lists)
    fail(Exit::usage,
         "give either --data DIR, or --train F.rec --validation F.rec, or --train DIR --train_lst "
         "F --validation DIR --validation_lst F");
  if (lists && (s.train.empty() || s.validation.empty()))
    fail(Exit::usage, "--train and --validation go together; one is missing");
  if ((s.validation.empty() && !s.validation_lst.empty()) ||
      (s.test.empty() && !s.test_lst.empty()))
    fail(Exit::usage, "--validation_lst and --test_lst go with --validation and --test");
  if (s.split == "official" && s.lists.empty() && !lists)
    s.lists = s.data;  // where the NIH's download has them

  // A resumed run may be started from anywhere.
  for (std::string* path : {&s.data, &s.lists, &s.train, &s.train_lst, &s.validation,
                            &s.validation_lst, &s.test, &s.test_lst, &s.init, &s.conv_table}) {
    if (!path->empty()) *path = std::filesystem::absolute(*path).lexically_normal().string();
  }
  if (int64_t{s.mini_batch_size} * shape.height * shape.width >
      INT32_MAX / 16) {  // 16 outputs of the stem a pixel
    fail(Exit::usage,
         "--mini_batch_size {} of --image_shape {} is more than the network can index; give a "
         "smaller one",
         s.mini_batch_size, s.image_shape);
  }
  if (s.resize.empty()) s.resize = shape.height == 224 && shape.width == 224 ? "256" : "none";
  if (s.resize != "none") {
    const auto size = parse_number<int>(s.resize);
    if (!size || *size < 1 || *size > 16384)
      fail(Exit::usage, "--resize {}: a number from 1 to 16384, or none", s.resize);
    if (*size < std::min(shape.height, shape.width)) {
      fail(Exit::usage,
           "--resize {} is smaller than the crop of --image_shape {}; give at least {}", s.resize,
           s.image_shape, std::min(shape.height, shape.width));
    }
  }
  for (const float v : parse_numbers("--std", s.std, 3)) {
    if (v < 1e-3f || v > 255)
      fail(Exit::usage, "--std {}: each number is from 0.001 to 255", s.std);
  }
  for (const float v : parse_numbers("--mean", s.mean, 3)) {
    if (v < 0 || v > 255) fail(Exit::usage, "--mean {}: each number is from 0 to 255", s.mean);
  }
  if (s.threads == 0) s.threads = std::max(1u, std::thread::hardware_concurrency());

  const Precision& precision = precision_named(s.precision_dtype);
  if (s.loss_scale.empty()) s.loss_scale = usual_scaler(precision).dynamic ? "dynamic" : "1";
  if (const auto scale = parse_number<double>(s.loss_scale);
      s.loss_scale != "dynamic" && !(scale && *scale >= 0x1p-40 && *scale <= 0x1p40)) {
    fail(Exit::usage, "--loss_scale {}: dynamic, or a number from 2^-40 to 2^40", s.loss_scale);
  }
  if (s.loss_scale == "dynamic" && s.loss_scale_start < s.loss_scale_floor)
    fail(Exit::usage, "--loss_scale_start {} is below --loss_scale_floor {}", s.loss_scale_start,
         s.loss_scale_floor);
  const nlohmann::json given = s, usual = TrainSettings();
  for (const auto& [name, value] : given.items()) {
    if (name.starts_with("loss_scale_") && value != usual[name] && s.loss_scale != "dynamic")
      notes->push_back(fmt::format("--{} has no effect: --loss_scale {}", name, s.loss_scale));
  }
  if (s.use_weighted_loss && !s.multi_label)
    fail(Exit::usage, "--use_weighted_loss goes with --multi_label 1 only");
  if (!s.multi_label && s.num_classes == 0)
    fail(Exit::usage, "--multi_label 0 needs --num_classes");
  if (!s.multi_label && !s.data.empty())
    fail(Exit::usage, "--multi_label 0 needs lists (--train ...): NIH labels are several an image");
  if (s.optimizer == "adam" || s.optimizer == "rmsprop") {
    if (s.weight_decay != 0 && s.weight_decay != TrainSettings().weight_decay) {
      notes->push_back(
          fmt::format("--weight_decay has no effect with --optimizer {}", s.optimizer));
    }
    s.weight_decay = 0;
  }
}

ScalerPolicy scaler_of(const TrainSettings& s) {
  if (s.loss_scale != "dynamic") return {.start = *parse_number<double>(s.loss_scale)};
  return {true,
          s.loss_scale_start,
          s.loss_scale_growth,
          s.loss_scale_backoff,
          s.loss_scale_floor,
          s.loss_scale_interval};
}

std::string text_of(const TrainSettings& s) {
  std::string text;
  const nlohmann::json settings = s;
  for (const auto& [name, value] : settings.items()) {
    if (value.is_string() && value.get<std::string>().empty()) continue;
    text += fmt::format("  {:<19} {}\n", name,
                        value.is_string() ? value.get<std::string>() : value.dump());
  }
  return text;
}

}  // namespace pneuma
