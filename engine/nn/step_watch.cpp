#include "engine/nn/step_watch.h"

namespace pneuma {

void StepWatch::watch(Tape& tape, const Parameters& parameters, See see) {
  layers_.clear();
  by_output_.clear();
  tape.observe_output = [this, learning = parameters.learning(), see](const Node& node,
                                                                      const Tensor& y) {
    std::string name = node.name;
    if (name == "cast" || name.ends_with("cross_entropy")) return;
    for (const int v : node.inputs)
      if (v >= 0 && size_t(v) < learning.size()) name = layer_of(*learning[size_t(v)]);
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
