#include "apps/contract/job.h"

#include <cstdio>

#include "engine/error.h"
#include "engine/io/atomic_file.h"

namespace pneuma {
namespace {

using Json = nlohmann::json;

std::string text_of_value(const Json& value) {
  if (value.is_boolean()) return value.get<bool>() ? "1" : "0";
  return text_of(value);
}

// The contract's rows as its hyperparameters.json would have them; what is not set is left out.
std::string configuration(const TrainSettings& settings) {
  const Json all = settings;
  Json rows = Json::object();
  for (const std::string& row : contract_rows()) {
    const Json& value = all.at(row);
    if (value != "" && !(value.is_number_integer() && value == 0)) rows[row] = text_of_value(value);
  }
  return rows.dump();
}

void require(const std::map<std::string, std::string>& given, const std::set<std::string>& flags,
             const std::string& file) {
  for (const char* name : {"num_classes", "num_training_samples"}) {
    if (given.contains(name) || flags.contains(name)) continue;
    fail(Exit::usage, "{}: {} is missing; the training contract requires it", file, name);
  }
}

}  // namespace

ContractJob::ContractJob(const std::string& root, const std::string& file,
                         const TrainSettings& flags, const std::set<std::string>& given,
                         std::vector<std::string>* notes)
    : given_(given) {
  if (!root.empty()) container_.emplace(std::filesystem::absolute(root).lexically_normal());
  const std::string source = file.empty() ? container_->hyperparameters().string() : file;
  const auto provided = read_hyperparameters(source, notes);
  require(provided, given, source);
  const TrainSettings defaults = contract_defaults();
  settings_ = merged(defaults, provided, flags, given);
  for (const auto& [name, text] : provided) given_.insert(name);
  // MXNet's colours, tints of gray pictures with them, where colours are jittered at all.
  if (!given_.contains("gray_jitter") && settings_.augmentation_type.starts_with("crop_color") &&
      settings_.image_shape.starts_with("3"))
    settings_.gray_jitter = false;
  if (!given_.contains("select_by")) {
    settings_.select_by = settings_.multi_label ? "macro_auc" : "accuracy";
    if (settings_.multi_label)
      notes->push_back(
          "the best epoch is that of the largest validation macro AUC, not accuracy: where most "
          "findings are absent, accuracy is near its best for a model that finds nothing (0.947 on "
          "ChestX-ray14)");
  }
  if (settings_.checkpoint_frequency > settings_.epochs) {
    fail(Exit::usage, "{}: checkpoint_frequency '{}' is not a whole number from 1 to epochs, {}",
         source, settings_.checkpoint_frequency, settings_.epochs);
  }
  if (container_) container_->read_channels(settings_, notes);
  fmt::print("Reading default configuration: {}\n", configuration(defaults));
  fmt::print("Merging with provided configuration from {}: {}\n", source, Json(provided).dump());
}

std::string ContractJob::interrupted_run(const TrainSettings& resolved) const {
  std::error_code error;
  if (!container_ || !std::filesystem::exists(container_->run() / "settings.json", error))
    return "";
  const std::filesystem::path file = container_->run() / "settings.json";
  // Where the data lie, and what a resumed run may change anyway.
  std::set<std::string> may_differ = {"epochs", "max_steps",  "threads",      "save_every",
                                      "init",   "pretrained", "model_channel"};
  for (const Setting& setting : all_settings())
    if (std::string(setting.group) == "Data") may_differ.insert(setting.name);
  Json before = TrainSettings();
  try {
    before.update(Json::parse(read_file(file, 1 << 20)));
  } catch (const Json::exception& error) {
    fail(Exit::data, "{}: is damaged: {}; empty the folder to begin anew", file.string(),
         error.what());
  }
  const Json now = resolved;
  for (const auto& [name, value] : now.items()) {
    if (may_differ.contains(name) || before[name] == value) continue;
    fail(Exit::usage,
         "{}: holds a run with {} {}, and this job has {}; give the job its former "
         "hyperparameters, or empty the folder to begin anew",
         container_->run().string(), name, text_of_value(before[name]), text_of_value(value));
  }
  return container_->run().string();
}

void ContractJob::print_settings(const TrainSettings& s) const {
  const auto or_none = [](const std::string& text) { return text.empty() ? "none" : text; };
  fmt::print("Final configuration: {}\n---- Parameters ----\n", configuration(s));
  fmt::print("num_layers: {}\ndata type: {}\nepochs: {}\nresize: {}\n", s.num_layers,
             s.precision_dtype, s.epochs, s.resize);
  fmt::print("optimizer: {}\nmomentum: {}\nweight_decay: {}\nlearning_rate: {}\n", s.optimizer,
             s.momentum, s.weight_decay, s.learning_rate);
  fmt::print("num_training_samples: {}\nmini_batch_size: {}\nimage_shape: {}\nnum_classes: {}\n",
             s.num_training_samples, s.mini_batch_size, s.image_shape, s.num_classes);
  fmt::print("augmentation_type: {}\nkv_store: device\ntop_k: {}\n", s.augmentation_type,
             s.top_k ? std::to_string(s.top_k) : "none");
  fmt::print("lr_scheduler_step: {}\n", or_none(s.lr_scheduler_step));
  if (s.checkpoint_frequency)
    fmt::print("checkpoint_frequency: {}\n", s.checkpoint_frequency);
  else
    fmt::print("checkpoint_frequency not set, will store the best model\n");
  fmt::print("--------------------\n");
}

void ContractJob::end_epoch(const TrainSettings& s, const EpochResult& r, const RunFolder& run,
                            const Backend& backend) {
  const std::string epoch = fmt::format("Epoch[{}] ", r.epoch);
  if (r.train_accuracy) fmt::print("{}Train-accuracy={:.6f}\n", epoch, *r.train_accuracy);
  if (r.train_top_k)
    fmt::print("{}Train-top_k_accuracy_{}={:.6f}\n", epoch, s.top_k, *r.train_top_k);
  fmt::print("{}Time cost={:.3f}\n", epoch, r.seconds);
  fmt::print("{}Validation-accuracy={:.6f}\n", epoch, r.validation_accuracy);
  if (r.macro_auc) fmt::print("{}Validation-macro_auc={:.6f}\n", epoch, *r.macro_auc);
  if (r.best)
    fmt::print("Storing the best model with validation {}: {:.6f}\n", r.selected_by, r.score);
  if (container_)
    container_->store_model(run, r.best_epoch, s.checkpoint_frequency > 0, backend,
                            s.mini_batch_size);
  std::fflush(stdout);
}

void ContractJob::end_run(const TrainSettings& s, int64_t best_epoch, const RunFolder& run,
                          const Backend& backend) {
  if (!container_) return;
  container_->store_model(run, best_epoch, s.checkpoint_frequency > 0, backend, s.mini_batch_size);
  container_->store_results(run);
}

}  // namespace pneuma
