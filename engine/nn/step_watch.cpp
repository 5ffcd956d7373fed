#include "engine/nn/step_watch.h"

namespace pneuma {

void StepWatch::watch(Tape& tape, const Parameters& parameters, See see) {
  layers_.clear();
  by_output_.clear();
  tape.observe_output = [this, &parameters, see](const Node& node, const Tensor& y) {
    std::string name = node.name;
    if (name == "cast" || name.ends_with("cross_entropy")) return;
    for (const int v : node.inputs)
      if (v >= 0 && size_t(v) < parameters.parameters.size())
        name = layer_of(parameters.parameters[size_t(v)]);
    see(Kind::activation, layers_.size(), y);
    by_output_[node.output] = layers_.size();
    layers_.push_back({name, y.shape()});
  };
  tape.observe = [this, see](const Node& node, const Tensor& dy) {
    const auto layer = by_output_.find(node.output);
    if (layer != by_output_.end()) see(Kind::gradient, layer->second, dy);
  };
}

}  // namespace pneuma
