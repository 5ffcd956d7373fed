// The formulas of kernels/pointwise.h, element by element.
#include "kernels/pointwise.h"

#include "kernels/cpu/own.h"

namespace pneuma::PN_ISA {
namespace {

Status check(const View& a, const View& b, const View& y) {
  PN_REQUIRE_F32(f32(a) && f32(b) && f32(y));
  PN_REQUIRE(same_shape(a, y) && (!b || same_shape(b, y)),
             "pointwise: operands and result must have one shape");
  return {};
}

bool is_binary(Pointwise op) { return op == Pointwise::add || op == Pointwise::multiply; }

// Elements first .. first + n of a gradient that may be absent.
PN_INLINE void put(const Gradient& to, int64_t first, const float* g, int64_t n) {
  if (!to) return;
  float* p = to.as<float>() + first;
  for (int64_t i = 0; i < n; ++i) p[i] = to.add ? p[i] + g[i] : g[i];
}

}  // namespace

Status pointwise_forward(Stream, const PointwiseForward& f) {
  if (Status s = check(f.a, f.b, f.y); !s) return s;
  PN_REQUIRE(f.b || !is_binary(f.op), "pointwise: this formula needs two operands");
  const float *a = f.a.as<float>(), *b = f.b ? f.b.as<float>() : a;
  float* y = f.y.as<float>();
  const float alpha = float(f.alpha);
  pointwise::dispatch(f.op, [&](auto formula) {
    for_chunks(f.y.count(), kChunk, [&](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) y[i] = formula.forward(a[i], b[i], alpha);
    });
  });
  return {};
}

Status pointwise_backward(Stream, const PointwiseBackward& f) {
  if (Status s = check(f.a, f.b, f.dy); !s) return s;
  if (Status s = check(f.da, f.db, f.dy); f.da && !s) return s;
  PN_REQUIRE(!f.y || same_shape(f.y, f.dy), "pointwise: operands and result must have one shape");
  PN_REQUIRE(!f.db || same_shape(f.db, f.dy), "pointwise: operands and result must have one shape");
  PN_REQUIRE(f.b || !is_binary(f.op), "pointwise: this formula needs two operands");
  // A formula reads what it needs; what the tape did not keep stands in for itself.
  const float* dy = f.dy.as<float>();
  const float *a = f.a ? f.a.as<float>() : dy, *b = f.b ? f.b.as<float>() : dy,
              *y = f.y ? f.y.as<float>() : dy;
  const float alpha = float(f.alpha);
  pointwise::dispatch(f.op, [&](auto formula) {
    for_chunks(f.dy.count(), kChunk, [&](int64_t begin, int64_t end) {
      constexpr int64_t kBlock = 1024;
      float ga[kBlock] = {}, gb[kBlock] = {};
      for (int64_t first = begin; first < end; first += kBlock) {
        const int64_t n = end - first < kBlock ? end - first : kBlock;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i)
          formula.gradient(a[first + i], b[first + i], y[first + i], dy[first + i], alpha, &ga[i],
                           &gb[i]);
        put(f.da, first, ga, n);
        put(f.db, first, gb, n);
      }
    });
  });
  return {};
}

}  // namespace pneuma::PN_ISA
