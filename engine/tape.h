// Autograd: a tape that one can print. Each op that is given a tensor whose gradient is wanted
// appends one node; backward() walks the nodes in reverse, hands each its output's gradient, and
// frees what it had saved.
//
//   Tape tape;                       ctx.tape = &tape;
//   tape.watch(w, dw);               // a leaf: its gradient is written to dw
//   Tensor loss = ops::sigmoid_cross_entropy(ctx, ops::linear(ctx, x, w, b), labels);
//   tape.backward(ctx, loss);        // dw holds d loss / d w; the tape is empty again
#pragma once

#include <functional>
#include <unordered_map>
#include <vector>

#include "engine/context.h"
#include "kernels/pointwise.h"

namespace pneuma {

// The numbers of an op, each with a name; tensors go into Node::saved, so that memory can be
// counted.
struct Attributes {
  int stride = 1, padding = 0, kernel = 0;
  bool relu = false;
  double alpha = 0;
  Pointwise formula = Pointwise::relu;
};

class Backward;

struct Node {
  const char* name;
  std::vector<int> inputs;  // values of the tape; -1: no gradient is wanted
  int output;
  std::vector<Tensor> saved;
  Attributes attributes;
  void (*backward)(Backward&);  // a plain function: a lambda that captures does not compile
  size_t saved_bytes;           // of `saved`, leaves left out: those stay anyway
};

class Tape {
 public:
  // Makes `leaf` a leaf. Its gradient is written to `gradient`, or, with `add`, added to what is
  // there, in the dtype of `gradient`, which may be another than the leaf's; where `gradient` is
  // empty, to a tensor that gradient_of() gives after backward().
  void watch(const Tensor& leaf, const Tensor& gradient = {}, bool add = false);

  // What an op calls after it has computed `output`. Does nothing where no input's gradient is
  // wanted.
  void record(const char* name, std::initializer_list<Tensor> inputs, const Tensor& output,
              std::vector<Tensor> saved, Attributes attributes, void (*backward)(Backward&));

  // REQUIRES y recorded here; dy (empty for a loss, which is its own end) of y's shape.
  // ENSURES every watched leaf that y depends on has its gradient; the tape has its leaves left, no
  // node and no other value.
  void backward(Context& ctx, const Tensor& y, Tensor dy = {});
  Tensor gradient_of(const Tensor& leaf) const;

  const std::vector<Node>& nodes() const { return nodes_; }
  // Values are numbered from 0 as they come: watched leaves, then outputs.
  const Shape& shape_of(int value) const { return values_[size_t(value)].shape; }
  Dtype dtype_of(int value) const { return values_[size_t(value)].dtype; }
  // Called before each node's backward with the gradient of its output (empty for a loss).
  std::function<void(const Node&, const Tensor& dy)> observe;
  // Called with each node that is recorded and its output, which has its values by then.
  std::function<void(const Node&, const Tensor& y)> observe_output;

 private:
  friend class Backward;
  struct Value {
    Shape shape;
    Dtype dtype;
    Tensor gradient;
    bool leaf, add;
    bool written = add;
  };
  int value_of(const Tensor& t) const;

  std::vector<Node> nodes_;
  std::vector<Value> values_;
  std::unordered_map<uint64_t, int> by_id_;
};

// While it lives, the context trains and records on `tape`.
class Recording {
 public:
  Recording(Context& ctx, Tape& tape) : ctx_(ctx) {
    ctx.tape = &tape;
    ctx.training = true;
  }
  ~Recording() {
    ctx_.tape = nullptr;
    ctx_.training = false;
  }
  Recording(const Recording&) = delete;

 private:
  Context& ctx_;
};

// What a node's backward function works with.
class Backward {
 public:
  Backward(Context& ctx, Tape& tape, Node& node, Tensor dy)
      : ctx(ctx), node(node), tape_(tape), dy_(std::move(dy)) {}
  Context& ctx;
  const Node& node;

  View dy() const { return dy_.view(); }
  View saved(int i) const { return node.saved[size_t(i)].view(); }
  bool wants(int input) const { return node.inputs[size_t(input)] >= 0; }
  // Where input's gradient goes: to be written, or to be added to what is there. Absent where not
  // wanted.
  Gradient gradient(int input);
  // Makes `t` the gradient of input, or adds it there. Nobody writes to `t` any more; where it is
  // the gradient of several values, one that is added to gets a copy.
  void hand_over(int input, Tensor t);
  Tensor take_dy() { return std::move(dy_); }

 private:
  friend class Tape;
  Gradient place_of(Tape::Value&);  // where the next of its gradients goes
  void finish();                    // brings what lies apart there

  Tape& tape_;
  Tensor dy_;
  std::vector<int> given_;  // values that gradient() has handed out
  // The second use of a value that this node uses twice; what is to have another dtype.
  std::vector<std::pair<int, Tensor>> apart_;
};

}  // namespace pneuma
