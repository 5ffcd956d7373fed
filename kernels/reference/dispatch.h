// What the files of the reference share: how a stored element becomes a number and back, and the
// checks at the top of every kernel.
//
// T is how an element is stored; A = Arithmetic<T> is what is computed with: float for f32 (and for
// 16-bit storage), double for f64. Whatever is kept per channel, the loss and the weights' masters
// are stored as A. Sums are double for every storage: the oracle's sums have no rounding and no
// order to argue about, and what a device loses by summing in f32 shows in the comparison.
#pragma once

#include <initializer_list>
#include <type_traits>

#include "kernels/half.h"
#include "kernels/kernels.h"

namespace pneuma::reference {

// A(t) loads and T(a) stores.
template <class T>
using Arithmetic = std::conditional_t<std::is_same_v<T, double>, double, float>;
constexpr Dtype arithmetic_of(Dtype storage) {
  return storage == Dtype::f64 ? Dtype::f64 : Dtype::f32;
}

// Calls f with a value of the stored type: dispatch(x.dtype, [&]<class T>(T) { ... }).
constexpr bool is_stored(Dtype dtype) {
  return dtype == Dtype::f32 || dtype == Dtype::f64 || dtype == Dtype::f16 || dtype == Dtype::bf16;
}
template <class F>
Status dispatch(Dtype storage, F f) {
  if (storage == Dtype::f32) return f(float{}), Status{};
  if (storage == Dtype::f64) return f(double{}), Status{};
  if (storage == Dtype::f16) return f(Half{}), Status{};
  if (storage == Dtype::bf16) return f(Bfloat16{}), Status{};
  return {StatusCode::unsupported, "the reference stores f32, f64, f16 and bf16 only"};
}

template <class T>
Arithmetic<T> at(const View& v, int64_t i) {
  return Arithmetic<T>(v.as<T>()[i]);
}
// g = value, or g += value with one rounding; nothing where g is absent.
template <class T>
void put(const Gradient& g, int64_t i, double value) {
  if (g) g.as<T>()[i] = T(Arithmetic<T>(g.add ? double(at<T>(g, i)) + value : value));
}

// Where the dtype is free: labels, gradients and working copies. REQUIRES is_stored(dtype).
inline double load(Dtype dtype, const void* p, int64_t i) {
  double value = 0;
  dispatch(dtype, [&]<class T>(T) { value = Arithmetic<T>(static_cast<const T*>(p)[i]); });
  return value;
}
inline void store(Dtype dtype, void* p, int64_t i, double value) {
  dispatch(dtype, [&]<class T>(T) { static_cast<T*>(p)[i] = T(Arithmetic<T>(value)); });
}

// term(0) + ... + term(count - 1)
template <class F>
double sum(int64_t count, F term) {
  double s = 0;
  for (int64_t i = 0; i < count; ++i) s += double(term(i));
  return s;
}

// A wrong call gets an answer, never a stray write.
inline Status invalid(const char* message) { return {StatusCode::invalid, message}; }

// v is present, has memory, and is of this dtype and shape.
inline bool is(const View& v, Dtype dtype, std::initializer_list<int64_t> dims) {
  if (!v.data || v.rank != int(dims.size()) || v.dtype != dtype) return false;
  const int64_t* dim = v.dims;
  for (const int64_t d : dims)
    if (*dim++ != d) return false;
  return true;
}
// Every one of vs is like model.
inline bool are_like(const View& model, std::initializer_list<View> vs) {
  for (const View& v : vs) {
    if (!v.data || v.rank != model.rank || v.dtype != model.dtype) return false;
    for (int i = 0; i < v.rank; ++i)
      if (v.dims[i] != model.dims[i]) return false;
  }
  return true;
}
// For checks: an optional view, or where it is absent one that passes.
inline const View& either(const View& optional, const View& other) {
  return optional ? optional : other;
}

}  // namespace pneuma::reference
