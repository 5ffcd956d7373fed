#include "apps/common/train_settings.h"

#include <algorithm>
#include <thread>

#include "data/augmentation.h"
#include "data/text.h"
#include "engine/error.h"
#include "engine/precision.h"
#include "models/resnet.h"

namespace pneuma {

const char* usual_mean(const std::string& arch) {
  return arch == "v2" ? "0,0,0" : "123.675,116.28,103.53";
}

const char* usual_std(const std::string& arch) {
  return arch == "v2" ? "1,1,1" : "58.395,57.12,57.375";
}

const std::vector<Setting>& all_settings() {
  using S = TrainSettings;
  constexpr double kMost = 1 << 24, kMostSteps = 1e15, kMostSeed = 1e15;
  static const std::vector<Setting> all = {
      {"data", &S::data, "Data", "Folder in the NIH's layout: images/ and Data_Entry_2017.csv"},
      {"split", &S::split, "Data", "How patients are split; patient: 70/10/20 %", 0, 0,
       "patient|published|official"},
      {"lists", &S::lists, "Data",
       "Folder of train_val_list.txt and test_list.txt (--split official)"},
      {"train", &S::train, "Data",
       "Training images instead of --data: a folder with a .lst, or a .rec"},
      {"train_lst", &S::train_lst, "Data",
       "Their .lst file; with a .rec only where that lacks labels"},
      {"validation", &S::validation, "Data", "Validation images, likewise"},
      {"validation_lst", &S::validation_lst, "Data", "Their .lst file"},
      {"test", &S::test, "Data", "Test images, likewise; optional"},
      {"test_lst", &S::test_lst, "Data", "Their .lst file"},
      {"output", &S::output, "Data", "Folder for everything the run leaves; new or empty"},

      {"num_layers", &S::num_layers, "Network",
       "Depth of the ResNet; 20, 32, 44, 56, 110: small, for images of about 32x32", 0, 0,
       "18|34|50|101|152|200|20|32|44|56|110"},
      {"base_width", &S::base_width, ""},
      {"arch", &S::arch, "Network",
       "v1.5: torchvision's ResNet; v2, v1: MXNet's, with and without pre-activation", 0, 0,
       "v1.5|v2|v1"},
      {"num_classes", &S::num_classes, "Network", "Outputs (default: as many as the data has)", 1,
       10000},
      {"image_shape", &S::image_shape, "Network", "channels,height,width that the network sees"},
      {"mean", &S::mean, "Network",
       "Subtracted from each channel, in 0..255: r,g,b (default ImageNet's; 0 with --arch v2)"},
      {"std", &S::std, "Network", "Divides each channel, likewise (1 with --arch v2)"},
      {"init", &S::init, "Network",
       "Start from these weights: .safetensors of a ResNet, or MXNet's .params"},
      {"use_pretrained_model", &S::use_pretrained_model, "Network",
       "Start from --pretrained, or from $PNEUMA_PRETRAINED"},
      {"pretrained", &S::pretrained, "Network", "The same as --init"},
      {"model_channel", &S::model_channel, "Network",
       "Train on: a model of ours, model.tar.gz, or its folder"},

      {"freeze_stages", &S::freeze_stages, "Network",
       "1: the stem keeps its weights and statistics; 2: the first stage, too; ...", 0, 5},
      {"backbone_lr_factor", &S::backbone_lr_factor, "Network",
       "All but the last layer learns at so much of the rate", 1e-6, 1e6},

      {"resize", &S::resize, "Training",
       "Shorter side before the crop, or none (default 256 with 224x224, else none)"},
      {"resize_filter", &S::resize_filter, "Training", "How pictures shrink", 0, 0,
       "antialias|linear"},
      {"augmentation_type", &S::augmentation_type, "Training",
       "crop: random crop and mirror; color: and hue, saturation, lightness; transform: and "
       "rotation, shear, aspect ratio",
       0, 0, "none|crop|crop_color|crop_color_transform"},
      {"mirror", &S::mirror, "Training",
       "Whether augmentation mirrors, too; 0 where left and right matter (the heart)"},
      {"gray_jitter", &S::gray_jitter, "Training",
       "crop_color...: gray pictures stay gray, lightness alone moves; 0: tinted, as in MXNet"},
      {"border", &S::border, "Training",
       "crop_color_transform: level (0..255) outside the turned picture", 0, 255},
      {"mini_batch_size", &S::mini_batch_size, "Training", "Images a step", 1, 65536},
      {"num_training_samples", &S::num_training_samples, "Training",
       "How many training images there should be; another number of them is said", 1, kMostSteps},
      {"epochs", &S::epochs, "Training", "Passes over the training images", 1, kMost},
      {"learning_rate", &S::learning_rate, "Training", "Of every step, or where a schedule starts",
       0, 1},
      {"lr_scheduler", &S::lr_scheduler, "Training",
       "step: times a factor at epochs; cosine: to 0 at the last epoch's end (default step with "
       "--lr_scheduler_step, else constant)",
       0, 0, "constant|step|cosine"},
      {"lr_scheduler_step", &S::lr_scheduler_step, "Training",
       "step: epochs done until each change, like 10,20"},
      {"lr_scheduler_factor", &S::lr_scheduler_factor, "Training", "step: the factor", 0, 1},
      {"warmup_epochs", &S::warmup_epochs, "Training", "Linear rise to --learning_rate; 0: none", 0,
       kMost},
      {"warmup_steps", &S::warmup_steps, "Training", "The same, in steps", 0, kMostSteps},
      {"clip_gradient_norm", &S::clip_gradient_norm, "Training",
       "Longer gradients are shortened to this; 0: none", 0, 1e12},
      {"accumulate_steps", &S::accumulate_steps, "Training",
       "Parts that a mini batch is run in, to save memory; batch norm sees the parts", 1, 65536},
      {"optimizer", &S::optimizer, "Training", "Update rule", 0, 0, "sgd|nag|adam|rmsprop"},
      {"momentum", &S::momentum, "Training", "sgd, nag", 0, 1},
      {"weight_decay", &S::weight_decay, "Training", "sgd, nag", 0, 1},
      {"beta_1", &S::beta_1, "Training", "adam", 0, 1},
      {"beta_2", &S::beta_2, "Training", "adam", 0, 1},
      {"eps", &S::eps, "Training", "adam, rmsprop", 0, 1},
      {"gamma", &S::gamma, "Training", "rmsprop", 0, 1},
      {"multi_label", &S::multi_label, "Training",
       "Several findings an image; 0: one class an image"},
      {"use_weighted_loss", &S::use_weighted_loss, "Training",
       "Weigh each finding's positives by N/N_l"},
      {"weighted_loss_mode", &S::weighted_loss_mode, "Training",
       "class: the weight is on both terms of the finding", 0, 0, "positive|class"},
      {"top_k", &S::top_k, "Training", "With --multi_label 0: accuracy in the best K, too; 0: none",
       0, 10000},
      {"early_stopping", &S::early_stopping, "Training",
       "End when --select_by's measure no longer improves"},
      {"early_stopping_min_epochs", &S::early_stopping_min_epochs, "Training",
       "Never before so many epochs", 1, kMost},
      {"early_stopping_patience", &S::early_stopping_patience, "Training",
       "Epochs in a row without improvement", 1, kMost},
      {"early_stopping_tolerance", &S::early_stopping_tolerance, "Training",
       "Improvement to count, relative to the best", 0, 1},
      {"checkpoint_frequency", &S::checkpoint_frequency, "Training",
       "Epochs between kept checkpoints; 0: the best alone", 0, kMost},
      {"select_by", &S::select_by, "Training", "What the best checkpoint is best in", 0, 0,
       "macro_auc|accuracy|loss"},
      {"precision_dtype", &S::precision_dtype, "Training",
       "float32, float16, bfloat16; float64 with --device reference"},
      {"loss_scale", &S::loss_scale, "Training",
       "dynamic, or a number that stays (default dynamic in 16 bits)"},
      {"loss_scale_start", &S::loss_scale_start, "Training", "dynamic: of the first step", 1,
       0x1p40},
      {"loss_scale_growth", &S::loss_scale_growth, "Training", "dynamic: factor after...", 1, 1024},
      {"loss_scale_interval", &S::loss_scale_interval, "Training", "...so many clean steps", 1,
       kMostSteps},
      {"loss_scale_backoff", &S::loss_scale_backoff, "Training", "dynamic: factor after inf or nan",
       0, 1},
      {"loss_scale_floor", &S::loss_scale_floor, "Training", "dynamic: never below this", 0x1p-40,
       0x1p40},

      {"seed", &S::seed, "Run", "Of weights, split, order and augmentation", 0, kMostSeed},
      {"shuffle", &S::shuffle, "Run", "A new order of the training images each epoch"},
      {"last_batch", &S::last_batch, "Run", "drop: equal batches, others left out each epoch", 0, 0,
       "drop|keep"},
      {"on_bad_image", &S::on_bad_image, "Run", "replace: by the next good one", 0, 0,
       "fail|skip|replace"},
      {"synthetic", &S::synthetic, "Run",
       "Every training image has the first one's pixels: what a step costs without its data"},
      {"max_steps", &S::max_steps, "Run", "Stop after so many steps; 0: no limit", 0, kMostSteps},
      {"save_every", &S::save_every, "Run", "Steps between saved states; 0: an epoch", 0,
       kMostSteps},
      {"kv_store", &S::kv_store, "Run", "How several hosts meet; without effect on one", 0, 0,
       "dist_sync|dist_async"},
      {"device", &S::device, "Run", "auto, cpu, reference, cuda or host_cuda"},
      {"conv_table", &S::conv_table, "Run", "Convolutions' algorithms: a run's conv_table.txt"},
      {"threads", &S::threads, "Run", "Computing and decoding; 0: as many as the machine has", 0,
       1024},
      {"cache_mb", &S::cache_mb, "Run", "Cap on decoded pictures kept in memory, in MB", 0, kMost},
  };
  return all;
}

std::string text_of(const nlohmann::json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

void to_json(nlohmann::json& json, const TrainSettings& s) {
  json = nlohmann::json::object();
  for (const Setting& setting : all_settings())
    std::visit([&](const auto member) { json[setting.name] = s.*member; }, setting.member);
}

void from_json(const nlohmann::json& json, TrainSettings& s) {
  for (const Setting& setting : all_settings())
    std::visit([&](const auto member) { json.at(setting.name).get_to(s.*member); }, setting.member);
}

std::string fault_of(const Setting& setting, const std::string& text) {
  return std::visit(
      [&]<class T>(T TrainSettings::*) -> std::string {
        if (*setting.known) {
          for (const std::string_view word : split_fields(setting.known, '|'))
            if (word == text) return "";
          return fmt::format("'{}' is not one of {}", printable(text), setting.known);
        }
        if constexpr (std::is_same_v<T, std::string>) return "";
        if constexpr (std::is_same_v<T, bool>) {
          const bool known = text == "0" || text == "1" || text == "true" || text == "false";
          return known ? "" : fmt::format("'{}' is not 0, 1, true or false", printable(text));
        }
        const auto number = parse_number<double>(text);
        const bool whole = !std::is_floating_point_v<T>;
        if (number && *number >= setting.low && *number <= setting.high &&
            (!whole || parse_number<int64_t>(text)))
          return "";
        return fmt::format("'{}' is not a {}number from {} to {}", printable(text),
                           whole ? "whole " : "", setting.low, setting.high);
      },
      setting.member);
}

void add_train_flags(CLI::App& app, TrainSettings& s, const std::vector<std::string>& only) {
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  for (const Setting& setting : all_settings()) {
    if (!*setting.group || (!only.empty() && std::ranges::count(only, setting.name) == 0)) continue;
    const std::string flag = std::string("--") + setting.name;
    std::visit(
        [&]<class T>(T TrainSettings::*member) {
          CLI::Option* option;
          if constexpr (std::is_same_v<T, bool>)
            option = cli::add_switch(app, flag, s.*member, setting.help);
          else
            option = app.add_option(flag, s.*member, setting.help)
                         ->capture_default_str()
                         ->type_name(*setting.known            ? setting.known
                                     : std::is_arithmetic_v<T> ? "N"
                                                               : "TEXT")
                         ->check([&setting](const std::string& text) {
                           return fault_of(setting, text);
                         });
          option->group(setting.group);
        },
        setting.member);
  }
}

ImageShape parse_image_shape(const std::string& text) {
  const std::vector<float> n = parse_numbers("--image_shape", text, 3);
  for (const float v : n) {
    if (v < 1 || v > 16384 || v != float(int(v))) {
      fail(Exit::usage, "--image_shape {}: each number is whole, from 1 to 16384", text);
    }
  }
  if (n[0] != 1 && n[0] != 3) fail(Exit::usage, "--image_shape {}: channels are 1 or 3", text);
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

namespace {

// What goes with what in the loop itself: rates, parts, the end.
void resolve_loop(TrainSettings& s, std::vector<std::string>* notes) {
  const nlohmann::json given = s, usual = TrainSettings();
  const auto ignored = [&](const std::string& prefix, const std::string& why) {
    for (const auto& [name, value] : given.items()) {
      if (name.starts_with(prefix) && value != usual[name])
        notes->push_back(fmt::format("--{} has no effect: {}", name, why));
    }
  };
  if (s.loss_scale != "dynamic") ignored("loss_scale_", "--loss_scale " + s.loss_scale);
  if (s.lr_scheduler.empty()) s.lr_scheduler = s.lr_scheduler_step.empty() ? "constant" : "step";
  if (s.lr_scheduler != "step") {
    const std::string why = "--lr_scheduler is " + s.lr_scheduler;
    ignored("lr_scheduler_step", why);
    ignored("lr_scheduler_factor", why);
  } else if (parse_epochs("--lr_scheduler_step", s.lr_scheduler_step).back() >= s.epochs) {
    notes->push_back(fmt::format("--lr_scheduler_step {} goes beyond the {} epochs",
                                 s.lr_scheduler_step, s.epochs));
  }
  if (s.warmup_epochs > 0 && s.warmup_steps > 0)
    fail(Exit::usage, "--warmup_epochs and --warmup_steps say the same thing; give one");
  if (s.lr_scheduler == "cosine" && s.max_steps > 0)
    notes->push_back(
        "--lr_scheduler cosine ends with --epochs, also where --max_steps ends before");
  if (s.mini_batch_size % s.accumulate_steps != 0) {
    fail(Exit::usage,
         "--mini_batch_size {} cannot be run in {} equal parts (--accumulate_steps); give a "
         "multiple",
         s.mini_batch_size, s.accumulate_steps);
  }
  if (!s.use_weighted_loss) ignored("weighted_loss_mode", "--use_weighted_loss is 0");
  if (!s.early_stopping) ignored("early_stopping_", "--early_stopping is 0");
  if (s.multi_label) ignored("top_k", "--multi_label is 1");
  if (s.top_k == 1 || (s.top_k > 0 && !s.multi_label && s.top_k > s.num_classes)) {
    fail(Exit::usage, "--top_k {}: a number from 2 to --num_classes {}, or 0 for none", s.top_k,
         s.num_classes);
  }
  if (s.multi_label) s.top_k = 0;
}

}  // namespace

std::vector<int64_t> parse_epochs(const std::string& flag, const std::string& text) {
  std::vector<int64_t> epochs;
  for (const std::string_view field : split_fields(text, ',')) {
    const auto epoch = parse_number<int64_t>(trim(field));
    if (!epoch || *epoch < 1 || *epoch > 1 << 24 || (!epochs.empty() && *epoch <= epochs.back())) {
      fail(Exit::usage, "{} '{}': rising numbers of epochs with commas are needed, like 10,20",
           flag, printable(text));
    }
    epochs.push_back(*epoch);
  }
  return epochs;
}

void resolve(TrainSettings& s, std::vector<std::string>* notes) {
  const ImageShape shape = parse_image_shape(s.image_shape);
  const Arch arch = arch_named(s.arch);
  const bool small = !plan_of({.num_layers = s.num_layers, .arch = arch}).stem_pool;
  const auto [least, most] = std::minmax(shape.height, shape.width);
  if (const int needed = small ? 8 : 32; least < needed)
    fail(Exit::usage, "--image_shape {}: ResNet-{} needs at least {} pixels a side", s.image_shape,
         s.num_layers, needed);
  if (small && most > 64)
    notes->push_back(fmt::format("--num_layers {} is for images of about 32x32", s.num_layers));
  if (s.mean.empty()) s.mean = usual_mean(s.arch);
  if (s.std.empty()) s.std = usual_std(s.arch);
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
  for (std::string* path :
       {&s.data, &s.lists, &s.train, &s.train_lst, &s.validation, &s.validation_lst, &s.test,
        &s.test_lst, &s.init, &s.pretrained, &s.model_channel, &s.conv_table}) {
    if (!path->empty()) *path = std::filesystem::absolute(*path).lexically_normal().string();
  }
  if (!s.conv_table.empty() && !std::filesystem::exists(s.conv_table))
    fail(Exit::usage, "--conv_table {}: there is no such file", s.conv_table);
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
  const AugmentationType type = augmentation_type(s.augmentation_type);
  const auto idle = [&](const char* name, bool given, AugmentationType needed) {
    if (given && type < needed)
      notes->push_back(
          fmt::format("--{} has no effect with --augmentation_type {}", name, s.augmentation_type));
  };
  idle("mirror 0", !s.mirror, AugmentationType::crop);
  idle("gray_jitter 0", !s.gray_jitter, AugmentationType::crop_color);
  idle("border", s.border != TrainSettings().border, AugmentationType::crop_color_transform);
  if (!s.gray_jitter && shape.channels == 1) {
    notes->push_back("--gray_jitter 0 has no effect: a network of 1 channel sees no tint");
    s.gray_jitter = true;
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
  if (s.use_weighted_loss && !s.multi_label)
    notes->push_back("--use_weighted_loss has no effect: --multi_label is 0");
  s.use_weighted_loss = s.use_weighted_loss && s.multi_label;
  if (!s.multi_label && s.num_classes == 0)
    fail(Exit::usage, "--multi_label 0 needs --num_classes");
  if (!s.multi_label && !s.data.empty())
    fail(Exit::usage, "--multi_label 0 needs lists (--train ...): NIH labels are several an image");
  resolve_loop(s, notes);
  if (s.optimizer == "adam" || s.optimizer == "rmsprop") {
    if (s.weight_decay != 0 && s.weight_decay != TrainSettings().weight_decay) {
      notes->push_back(fmt::format("--weight_decay has no effect: --optimizer is {}", s.optimizer));
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

Schedule schedule_of(const TrainSettings& s, int64_t steps_per_epoch) {
  Schedule schedule{.kind = schedule_named(s.lr_scheduler),
                    .learning_rate = s.learning_rate,
                    .factor = s.lr_scheduler_factor,
                    .warmup = s.warmup_steps,
                    .total = steps_per_epoch * s.epochs};
  if (schedule.kind == ScheduleKind::step) {
    for (const int64_t epoch : parse_epochs("--lr_scheduler_step", s.lr_scheduler_step))
      schedule.steps.push_back(epoch * steps_per_epoch);
  }
  if (s.warmup_epochs > 0)
    schedule.warmup = std::llround(s.warmup_epochs * double(steps_per_epoch));
  return schedule;
}

std::string text_of(const TrainSettings& s) {
  std::string text;
  const nlohmann::json settings = s;
  for (const auto& [name, value] : settings.items()) {
    if (const std::string shown = text_of(value); !shown.empty())
      text += fmt::format("  {:<19} {}\n", name, shown);
  }
  return text;
}

}  // namespace pneuma
