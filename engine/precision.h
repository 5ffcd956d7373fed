// The one file that decides a dtype. A policy is a table: kind of op -> dtype of its input, of its
// sums, of its output. It is printed at the start of every run.
#pragma once

#include <string>

#include "kernels/step_state.h"
#include "kernels/view.h"

namespace pneuma {

enum class OpKind { convolution, linear, batch_norm, pool, pointwise, loss, optimizer };
inline constexpr int kOpKinds = 7;

struct OpDtypes {
  Dtype input, accumulate, output;
};

struct Precision {
  const char* name;
  OpDtypes table[kOpKinds];
  Dtype master;  // weights, moments, statistics, losses

  const OpDtypes& operator[](OpKind kind) const { return table[int(kind)]; }
  Dtype activation() const { return (*this)[OpKind::convolution].output; }
  Dtype weight() const { return (*this)[OpKind::convolution].input; }  // as kernels read it
  std::string text() const;  // the table, a line per kind of op
};

// float32 everywhere; float64 everywhere (the oracle, on `reference` alone).
const Precision& float32();
const Precision& float64();
// 16-bit activations, gradients and weights as kernels read them; sums, statistics, losses and
// masters float32.
const Precision& float16();
const Precision& bfloat16();
// By the name of --precision_dtype; throws where it is unknown.
const Precision& precision_named(const std::string& name);

// Dynamic from 2^16 where activations have 16 bits, else none.
ScalerPolicy usual_scaler(const Precision& precision);
std::string text_of(const ScalerPolicy& policy);  // one line, for people

}  // namespace pneuma
