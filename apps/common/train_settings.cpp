#include "apps/common/train_settings.h"

#include <algorithm>
#include <thread>

#include "data/text.h"
#include "engine/error.h"

namespace pneuma {

void add_train_flags(CLI::App& app, TrainSettings& s) {
  using cli::in_range;
  const auto one_of = [](std::vector<std::string> names) {
    return CLI::IsMember(std::move(names));
  };
  const double most = 1 << 24;
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);

  app.add_option("--data", s.data, "Folder in the NIH's layout: images/ and Data_Entry_2017.csv")
      ->group("Data");
  app.add_option("--split", s.split,
                 "Training, validation and test patients: patient (70/10/20), published, official")
      ->check(one_of({"patient", "published", "official"}))
      ->group("Data");
  app.add_option("--lists", s.lists,
                 "Folder of train_val_list.txt and test_list.txt (--split official)")
      ->group("Data");
  app.add_option("--train", s.train, "Folder of the training images, instead of --data")
      ->group("Data");
  app.add_option("--train_lst", s.train_lst, "Their .lst file")->group("Data");
  app.add_option("--validation", s.validation, "Folder of the validation images")->group("Data");
  app.add_option("--validation_lst", s.validation_lst, "Their .lst file")->group("Data");
  app.add_option("--test", s.test, "Folder of the test images, optional")->group("Data");
  app.add_option("--test_lst", s.test_lst, "Their .lst file")->group("Data");
  app.add_option("--output", s.output, "Folder for everything the run leaves; new or empty")
      ->group("Data");

  app.add_option("--num_layers", s.num_layers, "Depth of the ResNet")
      ->check(CLI::IsMember({18, 34, 50, 101, 152}))
      ->group("Network");
  app.add_option("--num_classes", s.num_classes, "Outputs; 0: as many as the data has")
      ->check(in_range(0, 10000))
      ->group("Network");
  app.add_option("--image_shape", s.image_shape, "channels,height,width that the network sees")
      ->group("Network");
  app.add_option("--mean", s.mean, "Subtracted from each channel, in 0..255: r,g,b")
      ->group("Network");
  app.add_option("--std", s.std, "Divides each channel, in 0..255: r,g,b")->group("Network");
  app.add_option("--init", s.init, "Start from these weights: .safetensors in torchvision's names")
      ->group("Network");

  app.add_option("--resize", s.resize,
                 "Shorter side before the crop, or none (default 256 with 224x224, else none)")
      ->group("Training");
  app.add_option("--resize_filter", s.resize_filter, "antialias or linear")
      ->check(one_of({"antialias", "linear"}))
      ->group("Training");
  app.add_option("--augmentation_type", s.augmentation_type,
                 "none, or crop: random crop and mirror")
      ->check(one_of({"none", "crop"}))
      ->group("Training");
  cli::add_switch(app, "--mirror", s.mirror, "Whether --augmentation_type crop mirrors, too")
      ->group("Training");
  app.add_option("--mini_batch_size", s.mini_batch_size, "Images a step")
      ->check(in_range(1, 65536))
      ->group("Training");
  app.add_option("--epochs", s.epochs, "Passes over the training images")
      ->check(in_range(1, most))
      ->group("Training");
  app.add_option("--learning_rate", s.learning_rate)->check(in_range(0, 1))->group("Training");
  app.add_option("--optimizer", s.optimizer)
      ->check(one_of({"sgd", "nag", "adam", "rmsprop"}))
      ->group("Training");
  app.add_option("--momentum", s.momentum, "sgd, nag")->check(in_range(0, 1))->group("Training");
  app.add_option("--weight_decay", s.weight_decay, "sgd, nag")
      ->check(in_range(0, 1))
      ->group("Training");
  app.add_option("--beta_1", s.beta_1, "adam")->check(in_range(0, 1))->group("Training");
  app.add_option("--beta_2", s.beta_2, "adam")->check(in_range(0, 1))->group("Training");
  app.add_option("--eps", s.eps, "adam, rmsprop")->check(in_range(0, 1))->group("Training");
  app.add_option("--gamma", s.gamma, "rmsprop")->check(in_range(0, 1))->group("Training");
  cli::add_switch(app, "--multi_label", s.multi_label,
                  "Several findings an image; 0: one class an image")
      ->group("Training");
  cli::add_switch(app, "--use_weighted_loss", s.use_weighted_loss,
                  "Weigh each finding's positives by N/N_l")
      ->group("Training");
  app.add_option("--select_by", s.select_by,
                 "What the best checkpoint is best in, on the validation set")
      ->check(one_of({"macro_auc", "accuracy", "loss"}))
      ->group("Training");
  app.add_option("--precision_dtype", s.precision_dtype, "float32; float64 with --device reference")
      ->group("Training");

  app.add_option("--seed", s.seed, "Of weights, split, order and augmentation")
      ->check(in_range(0, 9007199254740992.0))
      ->group("Run");
  cli::add_switch(app, "--shuffle", s.shuffle, "A new order of the training images each epoch")
      ->group("Run");
  app.add_option("--last_batch", s.last_batch,
                 "drop: equal batches, others left out each epoch; keep: a smaller last one")
      ->check(one_of({"drop", "keep"}))
      ->group("Run");
  app.add_option("--on_bad_image", s.on_bad_image,
                 "fail, skip it, or replace it by the next good one")
      ->check(one_of({"fail", "skip", "replace"}))
      ->group("Run");
  app.add_option("--max_steps", s.max_steps, "Stop after so many steps; 0: no limit")
      ->check(in_range(0, 1e15))
      ->group("Run");
  app.add_option("--save_every", s.save_every, "Steps between saved states; 0: at each epoch's end")
      ->check(in_range(0, 1e15))
      ->group("Run");
  app.add_option("--device", s.device, "auto, cpu, reference, cuda or host_cuda")->group("Run");
  app.add_option("--threads", s.threads,
                 "Computing and decoding threads; 0: as many as the machine has")
      ->check(in_range(0, 1024))
      ->group("Run");
  app.add_option("--cache_mb", s.cache_mb, "Cap on decoded pictures kept in memory, in MB")
      ->check(in_range(0, most))
      ->group("Run");
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
  if (s.data.empty() == !lists) {
    fail(
        Exit::usage,
        "give either --data DIR, or --train DIR --train_lst F --validation DIR --validation_lst F");
  }
  if (lists && (s.train.empty() || s.train_lst.empty() || s.validation.empty() ||
                s.validation_lst.empty())) {
    fail(Exit::usage,
         "--train, --train_lst, --validation and --validation_lst go together; one is missing");
  }
  if (s.test.empty() != s.test_lst.empty())
    fail(Exit::usage, "--test and --test_lst go together; one is missing");
  if (s.split == "official" && s.lists.empty() && !lists)
    s.lists = s.data;  // where the NIH's download has them

  // A resumed run may be started from anywhere.
  for (std::string* path : {&s.data, &s.lists, &s.train, &s.train_lst, &s.validation,
                            &s.validation_lst, &s.test, &s.test_lst, &s.init}) {
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

  if (s.precision_dtype == "float64" && s.device != "reference") {
    fail(Exit::usage, "--precision_dtype float64 works with --device reference alone");
  }
  if (s.use_weighted_loss && !s.multi_label) {
    fail(Exit::usage, "--use_weighted_loss goes with --multi_label 1 only");
  }
  if (!s.multi_label && s.num_classes == 0)
    fail(Exit::usage, "--multi_label 0 needs --num_classes");
  if (!s.multi_label && !s.data.empty()) {
    fail(Exit::usage, "--multi_label 0 needs lists (--train ...): NIH labels are several an image");
  }
  if (s.optimizer == "adam" || s.optimizer == "rmsprop") {
    if (s.weight_decay != 0 && s.weight_decay != TrainSettings().weight_decay) {
      notes->push_back(
          fmt::format("--weight_decay has no effect with --optimizer {}", s.optimizer));
    }
    s.weight_decay = 0;
  }
}

std::string text_of(const TrainSettings& s) {
  std::string text;
  const nlohmann::json settings = s;
  for (const auto& [name, value] : settings.items()) {
    if (value.is_string() && value.get<std::string>().empty()) continue;
    text += fmt::format("  {:<18} {}\n", name,
                        value.is_string() ? value.get<std::string>() : value.dump());
  }
  return text;
}

}  // namespace pneuma
