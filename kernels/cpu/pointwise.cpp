// The formulas of kernels/pointwise.h, element by element.
#include "kernels/pointwise.h"

#include "kernels/cpu/own.h"

namespace pneuma::PN_ISA {
namespace {

Status check(const View& a, const View& b, const View& y) {
  PN_REQUIRE_DTYPE(alike(y, a, b));
  PN_REQUIRE(same_shape(a, y) && (!b || same_shape(b, y)),
             "pointwise: operands and result must have one shape");
  return {};
}

bool is_binary(Pointwise op) { return op == Pointwise::add || op == Pointwise::multiply; }

template <class T>
void forward(const PointwiseForward& f) {
  const T *a = f.a.as<T>(), *b = f.b ? f.b.as<T>() : a;
  const float alpha = float(f.alpha);
  pointwise::dispatch(f.op, [&](auto formula) {
    for_chunks(f.y.count(), kChunk, [&](int64_t begin, int64_t end) {
      float buffers[3][kBlock];
      for (int64_t first = begin; first < end; first += kBlockOf<T>) {
        const int64_t n = least(kBlockOf<T>, end - first);
        const float* fa = read(a + first, n, buffers[0]);
        const float* fb = b == a ? fa : read(b + first, n, buffers[1]);
        float* y = read(f.y.as<T>() + first, 0, buffers[2]);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) y[i] = formula.forward(fa[i], fb[i], alpha);
        write_back(f.y.as<T>() + first, n, y);
      }
    });
  });
}

template <class T>
void backward(const PointwiseBackward& f) {
  // A formula reads what it needs; what the tape did not keep stands in for itself.
  const T* dy = f.dy.as<T>();
  const T *a = f.a ? f.a.as<T>() : dy, *b = f.b ? f.b.as<T>() : dy, *y = f.y ? f.y.as<T>() : dy;
  const float alpha = float(f.alpha);
  pointwise::dispatch(f.op, [&](auto formula) {
    for_chunks(f.dy.count(), kChunk, [&](int64_t begin, int64_t end) {
      float ga[kBlock] = {}, gb[kBlock] = {}, buffers[4][kBlock];
      for (int64_t first = begin; first < end; first += kBlock) {
        const int64_t n = least(kBlock, end - first);
        const float* g = read(dy + first, n, buffers[0]);
        const auto operand = [&](const T* p, float* buffer) {
          return p == dy ? g : read(p + first, n, buffer);
        };
        const float *fa = operand(a, buffers[1]), *fb = operand(b, buffers[2]),
                    *fy = operand(y, buffers[3]);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i)
          formula.gradient(fa[i], fb[i], fy[i], g[i], alpha, &ga[i], &gb[i]);
        if (f.da) write_back(f.da.as<T>() + first, n, ga, f.da.add);
        if (f.db) write_back(f.db.as<T>() + first, n, gb, f.db.add);
      }
    });
  });
}

}  // namespace

Status pointwise_forward(Stream, const PointwiseForward& f) {
  if (Status s = check(f.a, f.b, f.y); !s) return s;
  PN_REQUIRE(f.b || !is_binary(f.op), "pointwise: this formula needs two operands");
  return dispatch(f.y.dtype, [&]<class T>(T) { forward<T>(f); });
}

Status pointwise_backward(Stream, const PointwiseBackward& f) {
  if (Status s = check(f.a, f.b, f.dy); !s) return s;
  if (Status s = check(f.da, f.db, f.dy); f.da && !s) return s;
  PN_REQUIRE_DTYPE(alike(f.dy, f.y, f.db));
  PN_REQUIRE((!f.y || same_shape(f.y, f.dy)) && (!f.db || same_shape(f.db, f.dy)),
             "pointwise: operands and result must have one shape");
  PN_REQUIRE(f.b || !is_binary(f.op), "pointwise: this formula needs two operands");
  return dispatch(f.dy.dtype, [&]<class T>(T) { backward<T>(f); });
}

}  // namespace pneuma::PN_ISA
