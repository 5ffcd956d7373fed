// The tensors that a network learns (parameters) or keeps (buffers: running statistics), by name,
// in the order in which the network made them. Everything that goes through all weights goes
// through this: optimizer, files.
#pragma once

#include <string>
#include <vector>

#include "engine/tape.h"

namespace pneuma {

// What a parameter is for. Weight decay goes by it: weights and norm scales decay, biases and
// shifts do not.
enum class Role { weight, bias, norm_scale, norm_shift };
constexpr bool decays(Role role) { return role == Role::weight || role == Role::norm_scale; }

struct Parameter {
  std::string name;
  Role role;
  Tensor value, gradient;  // the master; gradient: empty until Parameters::make_gradients
  Tensor working;          // the 16-bit copy that kernels read; empty where that is `value` itself
  double rate_factor = 1;  // of the learning rate; 0: frozen, has no gradient and never changes
  const Tensor& read() const { return working ? working : value; }
};

struct Buffer {
  std::string name;
  Tensor value;
};

struct Parameters {
  std::vector<Parameter> parameters;
  std::vector<Buffer> buffers;

  // New zeroed tensors of the policy's master dtype; weights with a copy in the dtype that
  // convolutions and products read, where that is another one. Returns what kernels read.
  Tensor add(Context&, std::string name, Role, Shape);
  Tensor add_buffer(Context&, std::string name, Shape);
  // Of what learns, each of the dtype that kernels read, or of the masters', for sums over the
  // parts of a batch.
  void make_gradients(Context&, bool like_masters = false);
  // What is not frozen, in order: so a tape, an optimizer and StepState::first_bad number them.
  std::vector<const Parameter*> learning() const;
  // The copies from the masters: after values came from elsewhere than the optimizer.
  void write_working(Context&) const;
  void watch(Tape&, bool add = false) const;  // every parameter that learns, with its gradient
  int64_t count() const;                      // numbers of all
};

}  // namespace pneuma
