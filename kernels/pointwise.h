// Formulas that work element by element, forward and gradient side by side, one source for every
// device. T is the arithmetic type: float, or double in the oracle. Adding a formula: a struct
// here, its name in the enum and in dispatch(), a function in engine/ops/pointwise.h, a case in
// tests/.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/kernels.h"

namespace pneuma {

enum class Pointwise : int32_t { relu, sigmoid, scale, add, multiply };

namespace pointwise {

// Each: forward(a, b, alpha) -> y; gradient(a, b, y, dy, alpha, &da, &db), and whether the gradient
// reads a and b, and y: what it does not read need not be loaded. Unary ones leave b and db alone.
struct Relu {  // y = max(a, 0); the gradient at 0 is 0
  static constexpr bool kNeedsInputs = true, kNeedsOutput = false;
  template <class T>
  PN_HOST_DEVICE static T forward(T a, T, T) {
    return a > T(0) ? a : T(0);
  }
  template <class T>
  PN_HOST_DEVICE static void gradient(T a, T, T, T dy, T, T* da, T*) {
    *da = a > T(0) ? dy : T(0);
  }
};
struct Sigmoid {  // y = 1 / (1 + exp(-a))
  static constexpr bool kNeedsInputs = false, kNeedsOutput = true;
  template <class T>
  PN_HOST_DEVICE static T forward(T a, T, T) {
    return T(1) / (T(1) + std::exp(-a));
  }
  template <class T>
  PN_HOST_DEVICE static void gradient(T, T, T y, T dy, T, T* da, T*) {
    *da = dy * y * (T(1) - y);
  }
};
struct Scale {  // y = alpha a
  static constexpr bool kNeedsInputs = false, kNeedsOutput = false;
  template <class T>
  PN_HOST_DEVICE static T forward(T a, T, T alpha) {
    return alpha * a;
  }
  template <class T>
  PN_HOST_DEVICE static void gradient(T, T, T, T dy, T alpha, T* da, T*) {
    *da = alpha * dy;
  }
};
struct Add {  // y = a + b
  static constexpr bool kNeedsInputs = false, kNeedsOutput = false;
  template <class T>
  PN_HOST_DEVICE static T forward(T a, T b, T) {
    return a + b;
  }
  template <class T>
  PN_HOST_DEVICE static void gradient(T, T, T, T dy, T, T* da, T* db) {
    *da = dy;
    *db = dy;
  }
};
struct Multiply {  // y = a b
  static constexpr bool kNeedsInputs = true, kNeedsOutput = false;
  template <class T>
  PN_HOST_DEVICE static T forward(T a, T b, T) {
    return a * b;
  }
  template <class T>
  PN_HOST_DEVICE static void gradient(T a, T b, T, T dy, T, T* da, T* db) {
    *da = dy * b;
    *db = dy * a;
  }
};

// Calls f with the formula's type: dispatch(op, [&](auto formula) { ... formula.forward(...) ...
// }).
template <class F>
auto dispatch(Pointwise op, F f) {
  switch (op) {
    case Pointwise::relu:
      return f(Relu{});
    case Pointwise::sigmoid:
      return f(Sigmoid{});
    case Pointwise::scale:
      return f(Scale{});
    case Pointwise::add:
      return f(Add{});
    case Pointwise::multiply:
      return f(Multiply{});
  }
  return f(Relu{});
}

// log(1 + exp(t)) without overflow and without log(0).
template <class T>
PN_HOST_DEVICE T softplus(T t) {
  return (t > T(0) ? t : T(0)) + std::log1p(std::exp(-std::fabs(t)));
}

// Weighted sigmoid cross-entropy of one logit z with label y; *dz is its derivative. NaN label:
// unknown, 0 and 0. d/dz softplus(-z) = -sigmoid(-z), d/dz softplus(z) = sigmoid(z).
template <class T>
PN_HOST_DEVICE T sigmoid_cross_entropy(T z, T y, T w_pos, T w_neg, T* dz) {
  if (y != y) {
    *dz = T(0);
    return T(0);
  }
  const T p = Sigmoid::forward(z, T(0), T(0)),
          q = Sigmoid::forward(-z, T(0), T(0));  // q = 1 - p, exactly small
  *dz = w_neg * (T(1) - y) * p - w_pos * y * q;
  return w_pos * y * softplus(-z) + w_neg * (T(1) - y) * softplus(z);
}

// Optimizer updates, arithmetic as MXNet 1.x has it. w: master value, g: unscaled, clipped
// gradient. All numbers of a step, turned into T once.
template <class T>
struct UpdateRule {
  T learning_rate, momentum, beta_1, beta_2, eps, gamma, weight_decay;
  T adam_rate;  // learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t)

  PN_HOST_DEVICE void sgd(T& w, T g, T& m) const {  // m = mu m - lr (g + wd w); w += m
    m = momentum * m - learning_rate * (g + weight_decay * w);
    w += m;
  }
  PN_HOST_DEVICE void nag(T& w, T g, T& m) const {  // g += wd w; m = mu m + g; w -= lr (g + mu m)
    g += weight_decay * w;
    m = momentum * m + g;
    w -= learning_rate * (g + momentum * m);
  }
  PN_HOST_DEVICE void adam(T& w, T g, T& m, T& v) const {  // Kingma, Ba 2015; L2 inside g
    g += weight_decay * w;
    m = beta_1 * m + (T(1) - beta_1) * g;
    v = beta_2 * v + (T(1) - beta_2) * g * g;
    w -= adam_rate * m / (std::sqrt(v) + eps);
  }
  PN_HOST_DEVICE void rmsprop(T& w, T g,
                              T& n) const {  // Tieleman, Hinton 2012; eps inside the root
    g += weight_decay * w;
    n = gamma * n + (T(1) - gamma) * g * g;
    w -= learning_rate * g / std::sqrt(n + eps);
  }
};

}  // namespace pointwise
}  // namespace pneuma
