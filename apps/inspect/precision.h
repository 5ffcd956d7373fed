// inspect_cxr precision: a few steps of real training in f64, and the same steps under other
// policies, from the same weights on the same batches; what 16 bits do to each tensor and what each
// protection is for. Leaves precision.html and precision.json, which replace those of before.
#pragma once

#include "apps/common/train_settings.h"
#include "engine/metrics/rounding.h"
#include "engine/nn/step_watch.h"

namespace pneuma::inspect {

struct PrecisionSettings {
  PrecisionSettings();  // what the reference's plain loops do within a minute
  TrainSettings train;  // its device is that of the policies; f64 runs on `reference`
  std::vector<std::string> policies{"float32", "float16", "bfloat16"};
  bool explain = false;    // walk one step on the console instead (explain.h)
  std::string plan_shape;  // images,channels,height,width; "": of the run's own steps
};
CLI::App* add_precision_command(CLI::App& app, PrecisionSettings& settings);

struct TensorFigures {
  std::string layer, name, shape;  // name: of the parameter; of an activation, its layer
  Kind kind;
  bool sixteen;                             // float16 and bfloat16 store it in 16 bits
  Tally tally;                              // of f64, all steps
  std::vector<std::vector<double>> errors;  // [policy][step], relative to f64; inf is null in JSON
  LostUpdates lost;                         // of an update, all steps
};

// A step, or one that the scaler skipped: that is taken again with the same batch at the lower
// scale, so that the policies keep pace with f64.
struct Attempt {
  int64_t step;
  double loss_scale;
  bool skipped;
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Attempt, step, loss_scale, skipped)

struct PolicyFigures {
  std::string name;
  std::vector<double> losses;  // [step]
  std::vector<Attempt> path;
  // Bytes, from a dry plan at plan_shape. What stays: masters, 16-bit copies of them, gradients,
  // moments. Of a step: what is alive when the loss is computed, and the whole block.
  std::map<std::string, size_t> bytes;
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PolicyFigures, name, losses, path, bytes)

struct PrecisionFigures {
  PrecisionSettings settings;
  std::vector<PolicyFigures> policies;  // float64 first, then as asked for
  std::vector<TensorFigures> tensors;   // layer by layer
  Tally gradients;                      // all that are stored in 16 bits
  LostUpdates lost;                     // of all updates

  // Over the tensors of a kind that are stored in 16 bits (and updates), in a step.
  double median_error(Kind kind, size_t policy, size_t step) const;
};

// Throws Exit::usage or Exit::data for bad input, Exit::numeric where f64 or a fixed loss scale
// overflows.
PrecisionFigures measure_precision(PrecisionSettings settings);
nlohmann::json json_of(const PrecisionFigures&);
std::vector<std::string> summary_of(const PrecisionFigures&);  // the main figures, in sentences
std::string page_of(const PrecisionFigures&);

void inspect_precision(const PrecisionSettings& settings);  // all of it

}  // namespace pneuma::inspect
