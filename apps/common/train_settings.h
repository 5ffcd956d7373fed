// Every setting of a training run: flags of train_cxr, settings.json of its folder. Names of
// hyperparameters are those of the published training contract.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "apps/common/cli.h"
#include "engine/optim/schedule.h"
#include "kernels/step_state.h"

namespace pneuma {

struct TrainSettings {
  // Data: a folder in the NIH's layout, or lists.
  std::string data, split = "patient", lists;
  std::string train, train_lst, validation, validation_lst, test, test_lst;
  std::string output;
  // The job.
  int num_layers = 18;
  int base_width = 64;  // channels of the first stage; no flag, small in tests
  std::string arch = "v1.5";
  int num_classes = 0;               // 0: as the data has them
  int64_t num_training_samples = 0;  // 0: not said
  std::string kv_store;              // of several hosts; "": none
  std::string image_shape = "3,224,224";
  std::string resize;  // "", "none" or a number; "" becomes 256 with 224x224, else none
  std::string resize_filter = "antialias";
  int mini_batch_size = 32;
  int epochs = 30;
  double learning_rate = 5e-4;
  std::string optimizer = "adam";
  double momentum = 0.9, weight_decay = 1e-4, beta_1 = 0.9, beta_2 = 0.999, eps = 1e-8, gamma = 0.9;
  std::string lr_scheduler;       // "": step where lr_scheduler_step is given, else constant
  std::string lr_scheduler_step;  // "10,20": epochs
  double lr_scheduler_factor = 0.1;
  double warmup_epochs = 0;
  int64_t warmup_steps = 0;
  double clip_gradient_norm = 0;  // 0: none
  int accumulate_steps = 1;       // parts that a mini batch is run in
  bool multi_label = true, use_weighted_loss = false;
  std::string weighted_loss_mode = "positive";
  int top_k = 0;  // 0: none
  bool early_stopping = false;
  int early_stopping_min_epochs = 10, early_stopping_patience = 5;
  double early_stopping_tolerance = 0;
  int checkpoint_frequency = 1;  // epochs; 0: the best alone
  std::string augmentation_type = "none";
  bool mirror = true, gray_jitter = true;  // with augmentation
  int border = 127;                        // of the affine map
  std::string precision_dtype = "float32";
  std::string loss_scale;  // "", "dynamic" or a number; "" becomes dynamic in 16 bits, else 1
  double loss_scale_start = 65536, loss_scale_growth = 2, loss_scale_backoff = 0.5,
         loss_scale_floor = 1;
  int64_t loss_scale_interval = 2000;
  // In 0..255; "": ImageNet's, but 0 and 1 with arch v2, whose first layer normalises.
  std::string mean, std;
  std::string init, pretrained, model_channel;  // start_weights.h
  bool use_pretrained_model = false;
  int freeze_stages = 0;
  double backbone_lr_factor = 1;
  // The run.
  uint64_t seed = 1;
  bool synthetic = false;
  bool shuffle = true;
  std::string last_batch = "drop", on_bad_image = "fail", select_by = "macro_auc";
  std::string device = "auto", conv_table;
  int threads = 0;         // 0: the machine's
  int cache_mb = 2048;     // of decoded pictures
  int64_t max_steps = 0;   // 0: no limit
  int64_t save_every = 0;  // steps; 0: at each epoch's end
};

// A setting as everybody meets it: flag, key of settings.json and of a file of hyperparameters, row
// of --help. One row of train_settings.cpp each.
struct Setting {
  const char* name;
  std::variant<std::string TrainSettings::*, bool TrainSettings::*, int TrainSettings::*,
               int64_t TrainSettings::*, uint64_t TrainSettings::*, double TrainSettings::*>
      member;
  const char* group;  // of --help; "": no flag
  const char* help = "";
  double low = 0, high = 0;  // of a number
  const char* known = "";    // the only values that it takes, "a|b|c"; "": any
};
const std::vector<Setting>& all_settings();

// ImageNet's, in 0..255; 0 and 1 of v2, whose first layer normalises.
const char* usual_mean(const std::string& arch);
const char* usual_std(const std::string& arch);

// Why `text` is no value of the setting, or "".
std::string fault_of(const Setting& setting, const std::string& text);

// A value of settings.json or of hyperparameters as fault_of reads it.
std::string text_of(const nlohmann::json& value);

void to_json(nlohmann::json& json, const TrainSettings& settings);
void from_json(const nlohmann::json& json, TrainSettings& settings);  // REQUIRES every key

// Adds a flag for each of them, or for `only` these.
void add_train_flags(CLI::App& app, TrainSettings& settings,
                     const std::vector<std::string>& only = {});

// Fills in what depends on other settings and refuses what does not go together; ignored settings
// are said in `notes`. Throws Exit::usage.
void resolve(TrainSettings& settings, std::vector<std::string>* notes);

// REQUIRES resolved settings.
ScalerPolicy scaler_of(const TrainSettings& settings);
Schedule schedule_of(const TrainSettings& settings, int64_t steps_per_epoch);

// "name value" lines, for people.
std::string text_of(const TrainSettings& settings);

// "c,h,w" and "r,g,b"; both throw Exit::usage naming the flag.
struct ImageShape {
  int channels, height, width;
};
ImageShape parse_image_shape(const std::string& text);
std::vector<float> parse_numbers(const std::string& flag, const std::string& text, size_t count);
// "10,20": whole numbers from 1, rising.
std::vector<int64_t> parse_epochs(const std::string& flag, const std::string& text);

}  // namespace pneuma
