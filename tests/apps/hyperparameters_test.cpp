// Every row of the training contract's table: name, default, range, from strings; and what is said
// of names and values that are none.
#include "apps/contract/hyperparameters.h"

#include "tests/temporary.h"

namespace pneuma::testing {
namespace {

using Json = nlohmann::json;
using Strings = std::vector<std::string>;

// As a job would have it: the file's text over the contract's defaults, then resolved.
TrainSettings settings_of(const std::string& json, std::vector<std::string>* notes,
                          const TrainSettings& flags = {},
                          const std::set<std::string>& given = {}) {
  Temporary folder;
  folder.write("hyperparameters.json", json);
  const auto values = read_hyperparameters(folder / "hyperparameters.json", notes);
  TrainSettings s = merged(contract_defaults(), values, flags, given);
  s.train = s.train_lst = s.validation = s.validation_lst = s.output = "x";
  if (!s.num_classes) s.num_classes = 5;
  std::set<std::string> all = given;
  for (const auto& [name, text] : values) all.insert(name);
  resolve(s, notes);
  note_ignored(s, all, notes);
  return s;
}

std::string text_of_value(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

struct Row {
  std::string name, usual;  // as JSON has it; usual "": none
  Strings good, bad;
  std::string with;  // what else must be said for it
};

// The published table, in its order and with its ranges. Where it says "int > 0" and we have an
// upper bound, or [0, 1], both sides are tried.
const std::vector<Row> kTable = {
    {"num_classes", "0", {"1", "14", "1000"}, {"0", "-1", "1.5", "many", ""}},
    {"num_training_samples", "0", {"1", "80000"}, {"0", "-5", "8e4", ""}},
    {"num_layers",
     "152",
     {"18", "34", "50", "101", "152", "200", "20", "32", "44", "56", "110"},
     {"19", "10", "", "050"}},
    {"use_pretrained_model", "false", {"0", "1"}, {"2", "yes", ""}},
    {"multi_label", "false", {"0", "1"}, {"2", ""}},
    {"use_weighted_loss", "false", {"0", "1"}, {"-1"}, R"("multi_label":"1",)"},
    {"precision_dtype", "float32", {"float32", "float16"}, {"float8", ""}},
    {"image_shape", "3,224,224", {"3,224,224", "1,64,64", "3, 896, 896"}, {"224", "4,224,224", ""}},
    {"resize", "none", {"256", "1024"}, {"0", "-3", "small"}},
    {"augmentation_type", "none", {"crop"}, {"crop_colour", "crop_color,crop"}},
    {"mini_batch_size", "32", {"1", "256"}, {"0", "-1", "2.5"}},
    {"epochs", "30", {"1", "100"}, {"0", "1.5"}},
    {"learning_rate", "0.1", {"0", "0.5", "1", "1e-6"}, {"-0.1", "1.1", "nan", "fast"}},
    {"lr_scheduler_factor",
     "0.1",
     {"0", "0.5", "1"},
     {"-0.1", "2"},
     R"("lr_scheduler_step":"10",)"},
    {"lr_scheduler_step", "", {"10", "10,20"}, {"20,10", "0", "ten", "10;20"}},
    {"optimizer", "sgd", {"sgd", "adam", "rmsprop", "nag"}, {"adamw", "SGD", ""}},
    {"momentum", "0.9", {"0", "0.95", "1"}, {"-1", "1.01"}},
    {"weight_decay", "0.0001", {"0", "0.01", "1"}, {"-1", "2"}},
    {"beta_1", "0.9", {"0", "1"}, {"-1", "2"}, R"("optimizer":"adam",)"},
    {"beta_2", "0.999", {"0", "1"}, {"-1", "2"}, R"("optimizer":"adam",)"},
    {"eps", "1e-08", {"1e-8", "1"}, {"-1", "2"}, R"("optimizer":"adam",)"},
    {"gamma", "0.9", {"0", "1"}, {"-1", "2"}, R"("optimizer":"rmsprop",)"},
    {"checkpoint_frequency", "0", {"1", "30"}, {"-1", "1.5"}},
    {"early_stopping", "false", {"True", "False", "1", "0"}, {"maybe", "2"}},
    {"early_stopping_min_epochs", "10", {"1", "20"}, {"0", "-1"}, R"("early_stopping":"True",)"},
    {"early_stopping_patience", "5", {"1", "20"}, {"0", "-1"}, R"("early_stopping":"True",)"},
    {"early_stopping_tolerance", "0.0", {"0", "1"}, {"-1", "2"}, R"("early_stopping":"True",)"},
    {"top_k", "0", {"2", "5"}, {"1", "-1"}},
    {"kv_store", "", {"dist_sync", "dist_async"}, {"local", "dist"}},
};

std::string json_of(const Row& row, const std::string& value) {
  return "{" + row.with + "\"" + row.name + "\":" + value + "}";
}

}  // namespace

TEST_CASE("every row of the contract: default, what is taken, what is refused") {
  Strings names;
  for (const Row& row : kTable) names.push_back(row.name);
  CHECK(names == contract_rows());
  const Json usual = contract_defaults();
  for (const Row& row : kTable) {
    INFO(row.name);
    CHECK(text_of_value(usual.at(row.name)) == row.usual);
    for (const std::string& value : row.good) {
      INFO(value);
      Strings notes;
      const Json s = settings_of(json_of(row, "\"" + value + "\""), &notes);
      const std::string had = text_of_value(s.at(row.name));
      if (value == "True" || value == "1" || value == "False")
        CHECK((had == value || (had == "true") == (value != "False") || had == "1.0"));
      else if (const Json number = Json::parse(value, nullptr, false);
               number.is_number() && s.at(row.name).is_number())
        CHECK(number.get<double>() == s.at(row.name).get<double>());
      else if (value != "0")
        CHECK(had == value);
      if (row.name != "kv_store") {
        for (const std::string& note : notes)
          CHECK(note.find("--" + row.name + " has no effect") == note.npos);
      }
      // The same as a JSON number.
      if (const Json number = Json::parse(value, nullptr, false); number.is_number()) {
        const Json t = settings_of(json_of(row, value), &notes);
        CHECK(t.at(row.name) == s.at(row.name));
      }
    }
    for (const std::string& value : row.bad) {
      INFO(value);
      Strings notes;
      const std::string said = message_of(
          Exit::usage, [&] { (void)settings_of(json_of(row, "\"" + value + "\""), &notes); });
      CHECK(said.find(row.name) != said.npos);
    }
  }
}

TEST_CASE("what is allowed is said, of every fault in one sentence") {
  Strings notes;
  const auto said = [&](const std::string& json) {
    return message_of(Exit::usage, [&] { (void)settings_of(json, &notes); });
  };
  const std::string all =
      said(R"({"learning_rat":"0.1","epochs":"0","optimizer":"adamw","momentum":"7"})");
  CHECK(all.find("unknown hyperparameter 'learning_rat' (the nearest is learning_rate)") !=
        all.npos);
  CHECK(all.find("epochs '0' is not a whole number from 1") != all.npos);
  CHECK(all.find("optimizer 'adamw' is not one of sgd|nag|adam|rmsprop") != all.npos);
  CHECK(all.find("momentum '7' is not a number from 0 to 1") != all.npos);
  CHECK(said(R"({"zzzzzzzzzzzz":"1"})").find("nearest") == std::string::npos);
  CHECK(said(R"({"base_width":"8"})").find("unknown hyperparameter") != std::string::npos);
  CHECK(said(R"({"epochs":[1]})").find("epochs is no string, number or boolean") !=
        std::string::npos);
  CHECK(said(R"({"epochs":null})").find("epochs is no string") != std::string::npos);
}

TEST_CASE("a file that is no JSON object") {
  Temporary folder;
  for (const char* text : {"", "[]", "3", "{", "{\"epochs\":\"1\"", "epochs=1"}) {
    INFO(text);
    folder.write("h.json", text);
    Strings notes;
    const std::string said =
        message_of(Exit::data, [&] { (void)read_hyperparameters(folder / "h.json", &notes); });
    CHECK(said.find("h.json") != said.npos);
  }
  Strings notes;
  (void)message_of(Exit::data, [&] { (void)read_hyperparameters(folder / "none.json", &notes); });
  folder.write("h.json", std::string(100000, '['));  // as deep as it is long
  (void)message_of(Exit::data, [&] { (void)read_hyperparameters(folder / "h.json", &notes); });
}

TEST_CASE("settings that have no effect are said, where somebody gave them") {
  const struct {
    const char *json, *name;
  } table[] = {
      {R"({"optimizer":"adam","weight_decay":"0.0001"})", "weight_decay"},
      {R"({"optimizer":"adam","weight_decay":"0.01"})", "weight_decay"},
      {R"({"optimizer":"adam","momentum":"0.9"})", "momentum"},
      {R"({"optimizer":"rmsprop","beta_1":"0.5"})", "beta_1"},
      {R"({"beta_2":"0.5"})", "beta_2"},
      {R"({"eps":"1e-8"})", "eps"},
      {R"({"optimizer":"adam","gamma":"0.9"})", "gamma"},
      {R"({"use_weighted_loss":"1"})", "use_weighted_loss"},
      {R"({"lr_scheduler_factor":"0.5"})", "lr_scheduler_factor"},
      {R"({"early_stopping_patience":"3"})", "early_stopping_patience"},
      {R"({"multi_label":"1","top_k":"2"})", "top_k"},
      {R"({"kv_store":"dist_sync"})", "kv_store"},
      {R"({"kv_store":"dist_async"})", "kv_store"},
  };
  for (const auto& [json, name] : table) {
    INFO(json);
    Strings notes;
    (void)settings_of(json, &notes);
    REQUIRE(notes.size() == 1);
    CHECK(notes[0].find(fmt::format("--{} has no effect: ", name)) == 0);
  }
  Strings notes;
  (void)settings_of(R"({"optimizer":"adam","beta_1":"0.8","eps":"1e-7"})", &notes);
  CHECK(notes.empty());
}

TEST_CASE("flags beat the file, which beats the contract's defaults") {
  TrainSettings flags;
  flags.epochs = 7;
  flags.optimizer = "nag";
  Strings notes;
  const TrainSettings s = settings_of(R"({"epochs":"5","mini_batch_size":"4","momentum":"0.5"})",
                                      &notes, flags, {"epochs", "optimizer"});
  CHECK(s.epochs == 7);
  CHECK(s.optimizer == "nag");
  CHECK(s.mini_batch_size == 4);
  CHECK(s.momentum == 0.5);
  CHECK(s.num_layers == 152);
  CHECK(s.arch == "v2");
  CHECK(s.mean == "0,0,0");
  CHECK(s.std == "1,1,1");
}

TEST_CASE("what a platform adds for itself is no fault") {
  Strings notes;
  (void)settings_of(
      R"({"_tuning_objective_metric":"validation:accuracy","sagemaker_region":"x","epochs":"2"})",
      &notes);
  CHECK(notes.size() == 2);
  CHECK(notes[0].find("_tuning_objective_metric") != std::string::npos);
}

}  // namespace pneuma::testing
