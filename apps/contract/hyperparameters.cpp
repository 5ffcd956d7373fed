#include "apps/contract/hyperparameters.h"

#include <algorithm>

#include "data/text.h"
#include "engine/error.h"

namespace pneuma {
namespace {

using Json = nlohmann::json;

const Setting* find_setting(const std::string& name) {
  for (const Setting& setting : all_settings())
    if (name == setting.name && *setting.group) return &setting;
  return nullptr;
}

std::string fault_of_name(const std::string& name) {
  std::vector<std::string> known = contract_rows();  // first, so that they win among equals
  for (const Setting& setting : all_settings())
    if (*setting.group) known.push_back(setting.name);
  const std::string near = nearest(name, known);
  return fmt::format("unknown hyperparameter '{}'{}", printable(name),
                     near.empty() ? "" : " (the nearest is " + near + ")");
}

}  // namespace

const std::vector<std::string>& contract_rows() {
  static const std::vector<std::string> rows = {"num_classes",
                                                "num_training_samples",
                                                "num_layers",
                                                "use_pretrained_model",
                                                "multi_label",
                                                "use_weighted_loss",
                                                "precision_dtype",
                                                "image_shape",
                                                "resize",
                                                "augmentation_type",
                                                "mini_batch_size",
                                                "epochs",
                                                "learning_rate",
                                                "lr_scheduler_factor",
                                                "lr_scheduler_step",
                                                "optimizer",
                                                "momentum",
                                                "weight_decay",
                                                "beta_1",
                                                "beta_2",
                                                "eps",
                                                "gamma",
                                                "checkpoint_frequency",
                                                "early_stopping",
                                                "early_stopping_min_epochs",
                                                "early_stopping_patience",
                                                "early_stopping_tolerance",
                                                "top_k",
                                                "kv_store"};
  return rows;
}

TrainSettings contract_defaults() {
  TrainSettings s;
  s.num_layers = 152;
  s.arch = "v2";
  s.resize = "none";
  s.checkpoint_frequency = 0;
  s.learning_rate = 0.1;
  s.optimizer = "sgd";
  s.multi_label = false;
  return s;
}

std::map<std::string, std::string> read_hyperparameters(const std::filesystem::path& file,
                                                        std::vector<std::string>* notes) {
  Json json;
  try {
    json = Json::parse(read_text(file, 1 << 20));
  } catch (const Json::exception& error) {
    fail(Exit::data, "{}: is not JSON: {}", file.string(), printable(error.what(), 200));
  }
  if (!json.is_object())
    fail(Exit::data, "{}: must hold one JSON object, {{\"name\": \"value\", ...}}", file.string());
  std::map<std::string, std::string> values;
  constexpr size_t kMostTold = 5;
  std::vector<std::string> faults;
  for (const auto& [name, value] : json.items()) {
    if (name.starts_with("_") || name.starts_with("sagemaker_")) {
      notes->push_back(fmt::format("{} is the platform's own and is ignored", printable(name)));
      continue;
    }
    const Setting* setting = find_setting(name);
    std::string text = text_of(value), fault;
    if (setting && std::holds_alternative<bool TrainSettings::*>(setting->member))
      text = lower(text);
    if (!setting)
      fault = fault_of_name(name);
    else if (value.is_structured() || value.is_null())
      fault = fmt::format("{} is no string, number or boolean", name);
    else if (fault = fault_of(*setting, text); !fault.empty())
      fault = name + " " + fault;
    if (!fault.empty()) faults.push_back(fault);
    values[name] = text;
  }
  if (faults.size() > kMostTold) {
    const size_t others = faults.size() - kMostTold;
    faults.resize(kMostTold);
    faults.push_back(fmt::format("and {} more", others));
  }
  if (!faults.empty()) fail(Exit::usage, "{}: {}", file.string(), fmt::join(faults, "; "));
  return values;
}

void set_from_text(TrainSettings& settings, const Setting& setting, const std::string& text) {
  std::visit(
      [&]<class T>(T TrainSettings::*member) {
        if constexpr (std::is_same_v<T, std::string>)
          settings.*member = text;
        else if constexpr (std::is_same_v<T, bool>)
          settings.*member = text == "1" || text == "true";
        else
          settings.*member = parse_number<T>(text).value();
      },
      setting.member);
}

TrainSettings merged(const TrainSettings& defaults,
                     const std::map<std::string, std::string>& hyperparameters,
                     const TrainSettings& flags, const std::set<std::string>& on_command_line) {
  TrainSettings s = defaults;
  for (const Setting& setting : all_settings()) {
    const auto given = hyperparameters.find(setting.name);
    if (on_command_line.contains(setting.name))
      std::visit([&](const auto member) { s.*member = flags.*member; }, setting.member);
    else if (given != hyperparameters.end())
      set_from_text(s, setting, given->second);
  }
  return s;
}

void note_ignored(const TrainSettings& s, const std::set<std::string>& given,
                  std::vector<std::string>* notes) {
  const bool sgd = s.optimizer == "sgd" || s.optimizer == "nag", adam = s.optimizer == "adam",
             rmsprop = s.optimizer == "rmsprop";
  const std::string with_optimizer = "--optimizer is " + s.optimizer;
  const struct {
    const char* name;
    bool has_effect;
    std::string why;
  } rules[] = {
      {"momentum", sgd, with_optimizer},
      {"weight_decay", sgd, with_optimizer},
      {"beta_1", adam, with_optimizer},
      {"beta_2", adam, with_optimizer},
      {"eps", adam || rmsprop, with_optimizer},
      {"gamma", rmsprop, with_optimizer},
      {"kv_store", false, "there is a single host"},
  };
  for (const auto& [name, has_effect, why] : rules) {
    const std::string note = fmt::format("--{} has no effect: ", name);
    const auto same = [&](const std::string& other) { return other.starts_with(note); };
    if (!has_effect && given.contains(name) && std::ranges::none_of(*notes, same))
      notes->push_back(note + why);
  }
}

}  // namespace pneuma
