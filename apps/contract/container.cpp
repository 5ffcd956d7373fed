#include "apps/contract/container.h"

#include <algorithm>
#include <map>

#include "data/text.h"
#include "engine/error.h"
#include "engine/io/atomic_file.h"
#include "models/mxnet/export.h"

namespace pneuma {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// Files of a folder by name, those that platforms keep for themselves (.name) left out.
std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error))
    if (entry.is_regular_file(error) && !entry.path().filename().string().starts_with("."))
      files.push_back(entry.path());
  std::ranges::sort(files);
  return files;
}

std::string text_at(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

const std::vector<std::string> kChannels = {"train", "validation", "train_lst",  "validation_lst",
                                            "test",  "test_lst",   "pretrained", "model"};

// REQUIRES a channel of inputdataconfig.json.
void check_mode(const std::string& name, const Json& channel) {
  if (lower(text_at(channel, "TrainingInputMode")) == "pipe") {
    fail(Exit::usage,
         "channel {}: Pipe mode is not read; give the job TrainingInputMode File (or FastFile)",
         printable(name));
  }
  if (channel.contains("AttributeNames") ||
      text_at(channel, "S3DataType") == "AugmentedManifestFile") {
    fail(Exit::usage,
         "channel {}: augmented manifests are not read; give .rec files (application/x-recordio; "
         "prepare_cxr record makes them) or images with .lst files (application/x-image)",
         printable(name));
  }
}

}  // namespace

Json Container::read_config(const char* name) const {
  const fs::path file = config(name);
  std::error_code error;
  if (!fs::exists(file, error)) return Json::object();
  try {
    Json json = Json::parse(read_text(file, 1 << 20));
    if (json.is_object()) return json;
  } catch (const Json::exception&) {
  }
  fail(Exit::data, "{}: is no JSON object; write it as the training platform does", file.string());
}

void Container::check_hosts() const {
  const Json resources = read_config("resourceconfig.json");
  const auto hosts = resources.find("hosts");
  if (hosts == resources.end()) return;
  if (!hosts->is_array())
    fail(Exit::data, "{}: hosts is no list", config("resourceconfig.json").string());
  if (hosts->size() > 1) {
    fail(Exit::usage,
         "{}: the job has {} hosts, and training runs on one; set the job's instance count to 1",
         config("resourceconfig.json").string(), hosts->size());
  }
}

// Whether the images come from .rec files, by the content types or else by what is there.
bool Container::reads_records(std::vector<std::string>* notes) const {
  std::set<std::string> types;
  const Json channels = read_config("inputdataconfig.json");
  for (const auto& [name, channel] : channels.items()) {
    if (std::ranges::find(kChannels, name) == kChannels.end()) {
      const std::string near = nearest(name, kChannels);
      notes->push_back(fmt::format("channel {} is not known and is ignored{}", printable(name),
                                   near.empty() ? "" : "; the nearest is " + near));
      continue;
    }
    check_mode(name, channel);
    const std::string type = text_at(channel, "ContentType");
    if (name == "pretrained" || name == "model" || type.empty()) continue;
    if (type != "application/x-recordio" && type != "application/x-image") {
      fail(Exit::usage,
           "channel {}: content type '{}' is not read; give application/x-recordio or "
           "application/x-image",
           name, printable(type));
    }
    types.insert(type);
  }
  if (types.size() > 1)
    fail(Exit::usage, "{}: the channels' content types differ; give all of them one",
         config("inputdataconfig.json").string());
  if (!types.empty()) return types.contains("application/x-recordio");
  std::error_code error;
  return !fs::exists(channel("train_lst"), error);
}

std::string Container::list_of(const std::string& name) const {
  std::vector<fs::path> lists = files_of(channel(name));
  std::erase_if(lists, [](const fs::path& file) { return file.extension() != ".lst"; });
  if (lists.size() != 1) {
    fail(Exit::data, "{}: holds {} .lst files; channel {} needs one", channel(name).string(),
         lists.size(), name);
  }
  return lists[0].string();
}

void Container::read_channels(TrainSettings& s, std::vector<std::string>* notes) const {
  check_hosts();
  const bool records = reads_records(notes);
  s.data.clear();
  s.output = run().string();
  std::error_code error;
  const struct {
    const char* name;
    std::string *folder, *list;
    bool needed;
  } sets[] = {{"train", &s.train, &s.train_lst, true},
              {"validation", &s.validation, &s.validation_lst, true},
              {"test", &s.test, &s.test_lst, false}};
  for (const auto& [name, folder, list, needed] : sets) {
    folder->clear(), list->clear();
    if (!fs::is_directory(channel(name), error)) {
      if (!needed) continue;
      fail(Exit::data, "{}: there is no such folder; the job needs the channel {}",
           channel(name).string(), name);
    }
    *folder = channel(name).string();
    if (!records) *list = list_of(name + std::string("_lst"));
  }
  if (fs::exists(channel("model"), error)) {
    s.model_channel = channel("model").string();
  } else if (fs::exists(channel("pretrained"), error)) {
    if (s.use_pretrained_model)
      s.pretrained = channel("pretrained").string();
    else
      notes->push_back("channel pretrained has no effect: use_pretrained_model is 0");
  }
}

void Container::store_model(const RunFolder& run, int64_t best_epoch, bool every,
                            const Backend& backend, int batch) {
  std::error_code error;
  fs::create_directories(model(), error);
  std::map<int64_t, fs::path> wanted;  // weights by epoch
  if (every) wanted = run.checkpoints();
  if (wanted.empty()) wanted[best_epoch] = run.best();
  const auto params_of = [](int64_t epoch) {
    return fmt::format("image-classification-{:04}.params", epoch + 1);
  };
  std::set<std::string> names;
  for (const auto& [epoch, weights] : wanted) {
    names.insert(params_of(epoch));
    if (!stored_.insert(epoch).second) continue;
    for (const ArchivedFile& file : mxnet_files(backend, weights, int(epoch + 1), batch))
      write_file_atomically(model() / file.name, file.bytes);
    fmt::print("Saved checkpoint to \"{}\"\n", (model() / params_of(epoch)).string());
  }
  for (const fs::path& file : files_of(model()))
    if (file.extension() == ".params" && !names.contains(file.filename())) fs::remove(file, error);
  if (stored_best_ != best_epoch)
    write_file_atomically(model() / "model.safetensors", read_file(run.best(), SIZE_MAX));
  stored_best_ = best_epoch;
}

void Container::store_failure(const std::string& sentence) const noexcept {
  try {
    if (!fs::is_directory(root_)) return;  // nobody would look there
    fs::create_directories(root_ / "output");
    write_file_atomically(root_ / "output" / "failure", sentence + "\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "warning: {}\n", error.what());
  }
}

void Container::store_results(const RunFolder& run) const {
  std::error_code error;
  fs::remove(root_ / "output" / "failure", error);  // of a start before
  fs::create_directories(results(), error);
  for (const char* name : {"report.html", "metrics.jsonl", "settings.json", "split.json",
                           "predictions.csv", "auc.json"}) {
    if (!fs::exists(run.file(name), error)) continue;
    fs::copy_file(run.file(name), results() / name, fs::copy_options::overwrite_existing, error);
    if (error)
      fail(Exit::environment, "{}: cannot be written: {}", (results() / name).string(),
           error.message());
  }
}

}  // namespace pneuma
