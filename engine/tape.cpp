#include "engine/tape.h"

#include <algorithm>

namespace pneuma {

int Tape::value_of(const Tensor& t) const {
  const auto found = by_id_.find(t.id());
  return found == by_id_.end() ? -1 : found->second;
}

void Tape::watch(const Tensor& leaf, const Tensor& gradient, bool add) {
  by_id_[leaf.id()] = int(values_.size());
  values_.push_back({leaf.shape(), leaf.dtype(), gradient, true, add});
}

void Tape::record(const char* name, std::initializer_list<Tensor> inputs, const Tensor& output,
                  std::vector<Tensor> saved, Attributes attributes, void (*backward)(Backward&)) {
  Node node{name, {}, int(values_.size()), std::move(saved), attributes, backward, 0};
  bool wanted = false;
  for (const Tensor& t : inputs) {
    node.inputs.push_back(t ? value_of(t) : -1);
    wanted |= node.inputs.back() >= 0;
  }
  if (!wanted) return;
  for (const Tensor& t : node.saved) {
    if (!t) continue;
    const int value = value_of(t);
    const bool leaf = value >= 0 && values_[size_t(value)].leaf;
    node.saved_bytes += leaf ? 0 : t.bytes();
  }
  by_id_[output.id()] = node.output;
  values_.push_back({output.shape(), output.dtype(), {}, false, false});
  nodes_.push_back(std::move(node));
  if (observe_output) observe_output(nodes_.back(), output);
}

void Tape::backward(Context& ctx, const Tensor& y, Tensor dy) {
  const int last = value_of(y);
  if (last < 0) {
    fail(Exit::usage,
         "backward from a tensor that depends on no watched leaf, or for the second time");
  }
  values_[size_t(last)].gradient = std::move(dy);
  values_[size_t(last)].written = true;
  for (; !nodes_.empty(); nodes_.pop_back()) {
    Node& node = nodes_.back();
    Value& output = values_[size_t(node.output)];
    if (!output.written) continue;  // nothing that y depends on
    Backward step(ctx, *this, node, std::move(output.gradient));
    output.gradient = {};
    if (observe) observe(node, step.dy_);
    const Context::Range range(ctx, node.name, "backward");
    node.backward(step);
    step.finish();
  }
  for (Value& value : values_) value.written = value.add;
  std::erase_if(by_id_, [&](const auto& entry) { return !values_[size_t(entry.second)].leaf; });
}

Tensor Tape::gradient_of(const Tensor& leaf) const {
  const int value = value_of(leaf);
  return value < 0 ? Tensor() : values_[size_t(value)].gradient;
}

Gradient Backward::gradient(int input) {
  Gradient g;
  const int index = node.inputs[size_t(input)];
  if (index < 0) return g;
  Tape::Value& value = tape_.values_[size_t(index)];
  const bool converts = value.gradient && value.gradient.dtype() != value.dtype;
  if (converts || std::find(given_.begin(), given_.end(), index) != given_.end()) {
    Tensor t = ctx.tensor(value.shape, value.dtype, node.name);
    static_cast<View&>(g) = t.view();
    apart_.emplace_back(index, std::move(t));
    return g;
  }
  given_.push_back(index);
  return place_of(value);
}

Gradient Backward::place_of(Tape::Value& value) {
  if (value.written && !value.leaf && value.gradient.shared()) {  // another value's gradient, too
    Tensor own = ctx.tensor(value.shape, value.dtype, node.name);
    ctx.run(&Kernels::convert, {value.gradient.view(), {own.view()}});
    value.gradient = std::move(own);
  }
  if (!value.gradient) value.gradient = ctx.tensor(value.shape, value.dtype, node.name);
  const Gradient g{value.gradient.view(), value.written};
  value.written = true;
  return g;
}

void Backward::finish() {
  given_.clear();
  for (auto& [index, t] : apart_)
    ctx.run(&Kernels::convert, {t.view(), place_of(tape_.values_[size_t(index)])});
  apart_.clear();
}

void Backward::hand_over(int input, Tensor t) {
  const int index = node.inputs[size_t(input)];
  if (index < 0) return;
  Tape::Value& value = tape_.values_[size_t(index)];
  if (!value.gradient && !value.leaf) {
    value.gradient = std::move(t);
    value.written = true;
  } else {
    ctx.run(&Kernels::convert, {t.view(), gradient(input)});
  }
}

}  // namespace pneuma
