// Settings as the published training contract hands them over: a JSON object of strings, and
// defaults of its own.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "apps/common/train_settings.h"

namespace pneuma {

// The rows of the contract's table, in its order. All of them are settings.
const std::vector<std::string>& contract_rows();

// What a setting is in a contract's job where nothing is said: its defaults, and the network that
// it trains (v2, which normalises pictures itself).
TrainSettings contract_defaults();

// Value by name, as text. The values are of known settings, each in its range. JSON numbers and
// booleans serve as well as strings; True and False are 1 and 0. What a platform adds for itself
// (_tuning_objective_metric, sagemaker_...) is left out and said in `notes`. Throws
// Exit::usage with every fault in one sentence: an unknown name with the nearest known one, a bad
// value with what is allowed; Exit::data where there is no such JSON object.
std::map<std::string, std::string> read_hyperparameters(const std::filesystem::path& file,
                                                        std::vector<std::string>* notes);

// REQUIRES fault_of(setting, text) to be "".
void set_from_text(TrainSettings& settings, const Setting& setting, const std::string& text);

// The flags of `flags` that a command line held beat the file's values, which beat the defaults.
TrainSettings merged(const TrainSettings& defaults,
                     const std::map<std::string, std::string>& hyperparameters,
                     const TrainSettings& flags, const std::set<std::string>& on_command_line);

// One sentence for each setting among `given` that has no effect beside the others, unless `notes`
// has one of it.
void note_ignored(const TrainSettings& settings, const std::set<std::string>& given,
                  std::vector<std::string>* notes);

}  // namespace pneuma
