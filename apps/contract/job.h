// A training job under the published contract: its settings, its log, what it leaves. In a
// container's folder it needs no flags; with a file of hyperparameters alone it has the contract's
// defaults and log, and data and output come by flags.
#pragma once

#include <map>
#include <optional>

#include "apps/common/trainer.h"
#include "apps/contract/container.h"
#include "apps/contract/hyperparameters.h"

namespace pneuma {

class ContractJob {
 public:
  // root: of the container, or ""; file: of hyperparameters, or "" for the container's. `flags` are
  // a command line's settings, `given` the names of those that it held: they beat the file. Prints
  // the defaults and what the file says. Throws as read_hyperparameters and read_channels do, and
  // Exit::usage where a hyperparameter that the contract requires is missing.
  ContractJob(const std::string& root, const std::string& file, const TrainSettings& flags,
              const std::set<std::string>& given, std::vector<std::string>* notes);

  const TrainSettings& settings() const { return settings_; }    // not resolved yet
  const std::set<std::string>& given() const { return given_; }  // by file or command line
  const std::optional<Container>& container() const { return container_; }

  // The folder of the run that this job goes on with, "" for a new one. Throws Exit::usage where
  // its settings are others.
  std::string interrupted_run(const TrainSettings& resolved) const;

  void print_settings(const TrainSettings& resolved) const;
  // The contract's lines about an epoch; the model's files where there is a container.
  void end_epoch(const TrainSettings&, const EpochResult&, const RunFolder&, const Backend&);
  void end_run(const TrainSettings&, int64_t best_epoch, const RunFolder&, const Backend&);

 private:
  TrainSettings settings_;
  std::set<std::string> given_;
  std::optional<Container> container_;
};

}  // namespace pneuma
