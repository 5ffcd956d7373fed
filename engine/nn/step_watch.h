// Hands over the tensors of a training step by name, for those who look into it.
#pragma once

#include <functional>
#include <map>

#include "engine/nn/parameters.h"

namespace pneuma {

// gradient: of an activation.
enum class Kind { activation, gradient, weight, weight_gradient, update };
inline constexpr Kind kKinds[] = {Kind::activation, Kind::gradient, Kind::weight,
                                  Kind::weight_gradient, Kind::update};
inline constexpr const char* kKindNames[] = {"activation", "activation gradient", "weight",
                                             "weight gradient", "update"};
inline const char* name_of(Kind kind) { return kKindNames[int(kind)]; }
inline bool is_gradient(Kind kind) {
  return kind == Kind::gradient || kind == Kind::weight_gradient;
}

// "layer1.0.conv1" of its weight: the name of the op that reads it, too.
inline std::string layer_of(const Parameter& p) {
  return p.name.substr(0, p.name.find_last_of("._"));
}

// Every op of a forward pass but casts and losses is a layer, with the name of its parameters, or
// its own where it has none. The same network has the same layers in every precision.
class StepWatch {
 public:
  struct Layer {
    std::string name;
    Shape shape;  // of the output
  };
  using See = std::function<void(Kind, size_t layer, const Tensor&)>;

  // REQUIRES `parameters` were watched by `tape` first, and this outlives it. `see` is called with
  // each output as it is made, and with its whole gradient before that goes on.
  void watch(Tape& tape, const Parameters& parameters, See see);
  const std::vector<Layer>& layers() const { return layers_; }  // after a forward pass

 private:
  std::vector<Layer> layers_;
  std::map<int, size_t> by_output_;  // values of the tape
};

}  // namespace pneuma
