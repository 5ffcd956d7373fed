// Trains a chest X-ray classifier and tests it: flags -> data -> trainer -> report.
#include <set>

#include "apps/common/device.h"
#include "apps/common/start_weights.h"
#include "apps/common/stop_signal.h"
#include "apps/contract/job.h"
#include "apps/report/report.h"
#include "engine/io/atomic_file.h"
#include "engine/precision.h"

namespace {

using namespace pneuma;

// Of a file; what has no flag, and the defaults that stand for "not set", are in no range.
void check_ranges(const nlohmann::json& all, const std::filesystem::path& file) {
  const nlohmann::json usual = TrainSettings();
  for (const Setting& setting : all_settings()) {
    const nlohmann::json& value = all.at(setting.name);
    if (!*setting.group || value == usual.at(setting.name)) continue;
    if (const std::string fault = fault_of(setting, text_of(value)); !fault.empty())
      fail(Exit::data, "{}: is damaged: {} {}", file.string(), setting.name, fault);
  }
}

// A resumed run has the settings it was started with; these alone may be given anew.
TrainSettings resumed_settings(const CLI::App& app, const TrainSettings& given,
                               const std::string& folder) {
  const RunFolder run = RunFolder::open(folder);
  const nlohmann::json given_now = given;
  const std::set<std::string> may_change = {"--epochs", "--max_steps", "--threads", "--save_every"};
  TrainSettings s;
  try {
    nlohmann::json all = s;  // what an older run did not know of has its default
    all.update(nlohmann::json::parse(read_file(run.file("settings.json"), 1 << 20)));
    check_ranges(all, run.file("settings.json"));
    for (const CLI::Option* option : app.get_options()) {
      const std::string name = option->get_name();
      if (option->count() == 0 || name == "--resume") continue;
      if (!may_change.contains(name)) {
        fail(Exit::usage,
             "{} cannot change in a resumed run; only --epochs, --max_steps, --save_every, "
             "--threads can",
             name);
      }
      all[name.substr(2)] = given_now[name.substr(2)];
    }
    s = all.get<TrainSettings>();
  } catch (const nlohmann::json::exception& error) {
    fail(Exit::data, "{}: is damaged: {}", run.file("settings.json").string(), error.what());
  }
  if (std::filesystem::exists(run.file("last.state"))) {  // it has the weights
    for (std::string* start : {&s.init, &s.pretrained, &s.model_channel}) start->clear();
    s.use_pretrained_model = false;
  }
  s.output = folder;
  return s;
}

// What the command line held, without its dashes.
std::set<std::string> given_flags(const CLI::App& app) {
  std::set<std::string> names;
  for (const CLI::Option* option : app.get_options())
    if (option->count() && option->get_name().starts_with("--"))
      names.insert(option->get_name().substr(2));
  return names;
}

// A container starts its program under the name train, or with that word. Takes the word away.
bool started_as_train(int* argc, char** argv) {
  const bool word = *argc > 1 && argv[1] == std::string("train");
  if (word) std::copy(argv + 2, argv + (*argc)--, argv + 1);
  return word || std::filesystem::path(argv[0]).filename() == "train";
}

// The images of a resumed run are those that it began with.
void check_same_split(const RunFolder& folder, const TrainData& data) {
  if (data.split_json.empty() || !std::filesystem::exists(folder.file("split.json"))) return;
  if (read_file(folder.file("split.json"), 1 << 24) != data.split_json)
    fail(Exit::data,
         "{}: the data now give another split than this run began with; restore the label file or "
         "the "
         "records",
         folder.file("split.json").string());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Trains a ResNet on chest X-rays with several findings each, and tests it.\n"
      "Research use, not a medical device.",
      "train_cxr");
  TrainSettings settings;
  std::string resume, save_init, hyperparameters, root;
  if (started_as_train(&argc, argv)) root = "/opt/ml";
  bool dry_run = false;
  add_train_flags(app, settings);
  app.add_option("--hyperparameters", hyperparameters,
                 "JSON file of settings as strings; what it leaves out has the training contract's "
                 "defaults, and flags beat it")
      ->group("Training contract");
  app.add_option("--sagemaker_root", root,
                 "Folder of a training container: settings and channels come from it, model, "
                 "checkpoints and output go there (default /opt/ml for `train_cxr train`)")
      ->group("Training contract");
  app.add_option("--resume", resume, "Go on with this run's folder")->group("Run");
  app.add_option("--save_init", save_init, "Write the weights that training starts from")
      ->group("Run");
  cli::add_switch(app, "--dry_run", dry_run,
                  "Check data and settings, print steps and memory, train nothing")
      ->group("Run");
  const auto train = [&] {
    std::vector<std::string> notes;
    std::set<std::string> given = given_flags(app);
    std::optional<ContractJob> job;
    if (!resume.empty()) {
      settings = resumed_settings(app, settings, resume);
    } else if (!root.empty() || !hyperparameters.empty()) {
      job.emplace(root, hyperparameters, settings, given, &notes);
      settings = job->settings();
      given = job->given();
    }
    resolve(settings, &notes);
    note_ignored(settings, given, &notes);
    const Backend& backend = device_named(settings.device, settings.threads, settings.conv_table,
                                          settings.precision_dtype);
    const TrainData data = load_train_data(settings);
    settings.num_classes = data.train.num_classes;
    settle_start(settings, given, &notes);
    for (const std::string& note : notes) fmt::print("note: {}\n", note);
    if (job) {
      job->print_settings(settings);
      resume = job->interrupted_run(settings);
    }
    fmt::print("settings\n{}{}{}\n", text_of(settings),
               precision_named(settings.precision_dtype).text(), text_of(scaler_of(settings)));
    fmt::print("images: {} to train, {} to validate, {} to test\n", data.train.samples.size(),
               data.validation.samples.size(), data.test.samples.size());
    if (job && std::filesystem::exists(resume + "/last.state")) settings.init.clear();
    Trainer trainer(settings, data, backend, dry_run);
    fmt::print("{}", trainer.plan_text());
    const std::string convolutions = backend.device.choices ? backend.device.choices() : "";
    if (dry_run && !convolutions.empty())
      fmt::print("convolutions, as --conv_table reads them\n{}", convolutions);
    if (dry_run) return;
    const RunFolder folder = resume.empty()
                                 ? RunFolder::create(settings.output, job && job->container())
                                 : RunFolder::open(resume);
    if (!save_init.empty()) trainer.save_start(save_init);
    if (!resume.empty()) check_same_split(folder, data);
    write_file_atomically(folder.file("settings.json"), nlohmann::json(settings).dump(1) + "\n");
    if (!data.split_json.empty()) write_file_atomically(folder.file("split.json"), data.split_json);
    if (!convolutions.empty()) {
      write_file_atomically(folder.file("conv_table.txt"), convolutions);
      fmt::print("convolutions: algorithms are in {}; --conv_table forces them\n",
                 folder.file("conv_table.txt").string());
    }
    trainer.open(folder, std::filesystem::exists(folder.file("last.state")));
    const auto stop = stop_on_signals();
    if (job)
      trainer.on_epoch = [&](const EpochResult& epoch) {
        job->end_epoch(settings, epoch, folder, backend);
      };
    trainer.run(stop);
    if (!data.test.samples.empty()) trainer.test(stop);
    write_report(folder.path());
    fmt::print("report: {}\n", folder.file("report.html").string());
    if (job) job->end_run(settings, trainer.position().best_epoch, folder, backend);
  };
  return cli::run(app, argc, argv, train, [&](const std::string& sentence) {
    if (!root.empty()) Container(root).store_failure(sentence);
  });
}
