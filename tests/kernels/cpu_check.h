// What the tests of the cpu device share: tensors that own their memory, its kernels for each
// instruction set that this machine has, and their comparison with the reference.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/cpu/device.h"
#include "kernels/cpu/table.h"
#include "kernels/half.h"
#include "kernels/reference/table.h"

namespace pneuma::testing {

// A tensor that owns its memory; a copy is a tensor of its own.
struct Tensor {
  std::vector<int64_t> dims;
  Dtype dtype = Dtype::f32;
  std::shared_ptr<std::byte> memory;

  Tensor() = default;
  Tensor(std::vector<int64_t> d, Dtype t = Dtype::f32) : dims(d), dtype(t) {
    const size_t bytes = (view().bytes() + kAlignment) / kAlignment * kAlignment;
    memory.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, bytes)),
                 [](std::byte* p) { std::free(p); });
    std::memset(memory.get(), 0, bytes);
  }
  View view() const {
    View v{memory.get(), {}, int32_t(dims.size()), dtype};
    for (size_t i = 0; i < dims.size(); ++i) v.dims[i] = dims[i];
    return v;
  }
  Tensor copy() const {
    if (dims.empty()) return {};
    Tensor t(dims, dtype);
    std::memcpy(t.memory.get(), memory.get(), view().bytes());
    return t;
  }
  float* f() const { return reinterpret_cast<float*>(memory.get()); }
  float at(int64_t i) const {
    const auto bits = reinterpret_cast<const uint16_t*>(memory.get());
    return dtype == Dtype::f16    ? float_of_half(bits[i])
           : dtype == Dtype::bf16 ? float_of_bfloat16(bits[i])
                                  : f()[i];
  }
  int64_t count() const { return view().count(); }
};

inline Tensor uniform(std::vector<int64_t> dims, double low = -1, double high = 1) {
  static uint32_t state = 1;
  Tensor t(dims);
  for (int64_t i = 0; i < t.count(); ++i) {
    state = state * 1664525u + 1013904223u;
    t.f()[i] = float(low + (high - low) * double(state >> 8) / double(1 << 24));
  }
  return t;
}

inline constexpr Dtype kStorage[] = {Dtype::f32, Dtype::f16, Dtype::bf16};

// The same values, rounded to another dtype.
inline Tensor stored(const Tensor& x, Dtype dtype) {
  if (x.dims.empty() || dtype == Dtype::f32) return x;
  Tensor t(x.dims, dtype);
  for (int64_t i = 0; i < x.count(); ++i)
    reinterpret_cast<uint16_t*>(t.memory.get())[i] =
        dtype == Dtype::f16 ? bits_of_half(x.f()[i]) : bits_of_bfloat16(x.f()[i]);
  return t;
}

struct Named {
  const char* name;
  Kernels kernels;
};
inline std::vector<Named> instruction_sets() {
  std::vector<Named> sets = {{"baseline", baseline::kernels()}};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    sets.push_back({"avx2", avx2::kernels()});
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    sets.push_back({"avx512", avx512::kernels()});
  return sets;
}
inline void set_threads(int n) { REQUIRE(cpu_backend().device.set_threads(n)); }

template <class Args>
Status call(const Kernel<Args>& kernel, Args args) {
  Tensor workspace;
  if constexpr (requires { args.workspace; }) {
    workspace = Tensor({int64_t(kernel.workspace ? kernel.workspace(args) : 0)}, Dtype::u8);
    std::memset(workspace.memory.get(), 0xff, workspace.view().bytes());  // NaN: nothing is 0 there
    args.workspace = workspace.view();
  }
  return kernel.run(nullptr, args);
}

// Largest difference relative to the largest entry; NaN must meet NaN.
inline double difference(const Tensor& a, const Tensor& b) {
  double worst = 0, scale = a.dtype == Dtype::f16 ? 0x1p-14 : 0;  // below, f16 has fewer digits
  for (int64_t i = 0; i < a.count(); ++i) {
    const double p = double(a.at(i)), q = double(b.at(i));
    if (std::isnan(p) != std::isnan(q)) return 1e30;
    if (std::isfinite(q)) scale = std::max(scale, std::fabs(q));
    if (!std::isnan(p) && p != q) worst = std::max(worst, std::fabs(p - q));
  }
  return worst / std::max(scale, 1e-30);
}
// What one rounding to 16 bits may make of a difference that f32 hardly shows.
inline double rounding(Dtype dtype) {
  return dtype == Dtype::f16 ? Half::eps : dtype == Dtype::bf16 ? Bfloat16::eps : 0;
}
inline bool same_bits(const Tensor& a, const Tensor& b) {
  return std::memcmp(a.memory.get(), b.memory.get(), a.view().bytes()) == 0;
}

// An op is a function that runs it with some kernels on copies and returns its results.
using Op = std::function<std::vector<Tensor>(const Kernels&)>;

// Every instruction set within `tolerance` of the reference, 0: its bits; equal bits for 1, 2, 3
// and 5 threads.
inline void check(const Op& op, double tolerance, bool any_threads = true) {
  const std::vector<Tensor> expected = op(reference_backend().kernels);
  for (const Named& isa : instruction_sets()) {
    CAPTURE(isa.name);
    set_threads(1);
    const std::vector<Tensor> one = op(isa.kernels);
    for (size_t i = 0; i < expected.size(); ++i) {
      CAPTURE(i);
      if (expected[i].dtype != Dtype::u8 && tolerance > 0)
        CHECK(difference(one[i], expected[i]) <= tolerance + rounding(expected[i].dtype));
      else
        CHECK(same_bits(one[i], expected[i]));
    }
    for (int threads : {2, 3, 5}) {
      set_threads(threads);
      const std::vector<Tensor> more = op(isa.kernels);
      for (size_t i = 0; i < one.size(); ++i)
        if (any_threads)
          CHECK(same_bits(one[i], more[i]));
        else
          CHECK(difference(more[i], expected[i]) <= tolerance + rounding(expected[i].dtype));
    }
  }
  set_threads(2);
}

inline constexpr double kEps = 1.2e-7;

}  // namespace pneuma::testing
