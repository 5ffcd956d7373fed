// Optimizers with an fp32 master and the state of a step on the device. One launch checks all
// gradients, one updates all parameters; a step with inf or nan anywhere changes nothing.
// Arithmetic: kernels/pointwise.h.
#pragma once

#include "engine/nn/parameters.h"

namespace pneuma {

struct OptimizerSettings {
  OptimizerKind kind = OptimizerKind::adam;
  double learning_rate = 5e-4;
  double momentum = 0.9;                // sgd, nag
  double weight_decay = 0;              // sgd, nag; by Role
  double beta_1 = 0.9, beta_2 = 0.999;  // adam
  double gamma = 0.9;                   // rmsprop
  double eps = 1e-8;                    // adam, rmsprop
  double clip_norm = 0;                 // 0: none
};
OptimizerKind optimizer_named(const std::string& name);  // sgd | nag | adam | rmsprop; throws
const char* name_of(OptimizerKind kind);

class Optimizer {
 public:
  // Keeps a reference to `parameters`, whose gradients must stand (make_gradients).
  Optimizer(Context&, const Parameters& parameters, const OptimizerSettings&,
            const ScalerPolicy& = {});

  // Checks the gradients and, where all are finite, updates every parameter that learns.
  void step(Context&, double learning_rate);

  const StepState* device_state() const {
    return state_.data<StepState>();
  }                                 // for the loss's gradient
  StepState state(Context&) const;  // waits for the device
  void set_state(Context&, const StepState&);

  // Moments by parameter name, for files: "<name>.moment1", "<name>.moment2".
  const std::vector<Buffer>& moments() const { return moments_; }

 private:
  OptimizerSettings settings_;
  ScalerPolicy scaler_;
  std::vector<Buffer> moments_;
  // Parameters of one rate factor, next to each other: an update of its own.
  struct Group {
    size_t first, count;  // of items_
    double rate_factor;
  };
  std::vector<Group> groups_;
  size_t learning_ = 0;  // the first items, for the check; what follows numbers a group's chunks
  std::vector<ParameterUpdate> items_;
  Tensor device_items_, state_;
};

// The order of a step, written once: forward and loss -> backward -> all-reduce -> check -> update.
// `loss` runs the network under the tape. Returns nothing: read optimizer.state() and the tensor
// that `loss` copied its result to.
void train_step(Context&, const Parameters&, Optimizer&, double learning_rate,
                const std::function<Tensor(Context&)>& loss);
// The same with a batch in parts, one after the other, so that a part's memory is all that a step
// needs. The parts' gradients are added up: `loss` gives each part's share of the batch's loss.
void train_step(Context&, const Parameters&, Optimizer&, double learning_rate, int64_t parts,
                const std::function<Tensor(Context&, int64_t part)>& loss);

}  // namespace pneuma
