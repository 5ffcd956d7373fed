// The folder that a training container sees.
//
//   input/config/hyperparameters.json, inputdataconfig.json, resourceconfig.json
//   input/data/train, validation      RecordIO mode: a .rec each
//     ... and train_lst, validation_lst   Image mode: a .lst each, paths below the two above
//     ... and test, test_lst          optional, the same
//     ... and pretrained, model       weights to start from; of an earlier job to go on from
//   checkpoints/                      the run's folder; a job that was cut short goes on from it
//   model/                            what becomes model.tar.gz
//   output/data/                      report, metrics, predictions
//   output/failure                    why the job failed
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "apps/common/run_folder.h"
#include "apps/common/train_settings.h"
#include "kernels/kernels.h"

namespace pneuma {

class Container {
 public:
  explicit Container(std::filesystem::path root) : root_(std::move(root)) {}

  std::filesystem::path hyperparameters() const { return config("hyperparameters.json"); }
  std::filesystem::path run() const { return root_ / "checkpoints"; }
  std::filesystem::path model() const { return root_ / "model"; }
  std::filesystem::path results() const { return root_ / "output" / "data"; }

  // Sets what the channels say: images, lists, weights; and the run's folder. Throws Exit::usage
  // for what cannot be done (several hosts, Pipe mode, augmented manifests, weights that are asked
  // for and are nowhere), Exit::data for what is missing or damaged.
  void read_channels(TrainSettings& settings, std::vector<std::string>* notes) const;

  // Makes model/ hold what `run` has kept: the best epoch's weights, or with `every` each kept
  // checkpoint's, as MXNet's three files for a batch of so many images; and ours of the best. Each
  // new .params is said. Needs no device: `backend` lends its name.
  void store_model(const RunFolder& run, int64_t best_epoch, bool every, const Backend& backend,
                   int batch);

  void store_results(const RunFolder& run) const;

  // A failure to say why is none of its own.
  void store_failure(const std::string& sentence) const noexcept;

 private:
  std::filesystem::path config(const char* name) const { return root_ / "input/config" / name; }
  std::filesystem::path channel(const std::string& name) const {
    return root_ / "input/data" / name;
  }
  nlohmann::json read_config(const char* name) const;  // an object; empty where there is no file
  void check_hosts() const;
  bool reads_records(std::vector<std::string>* notes) const;
  std::string list_of(const std::string& channel) const;

  std::filesystem::path root_;
  std::set<int64_t> stored_;  // epochs, by this process
  int64_t stored_best_ = -1;
};

}  // namespace pneuma
