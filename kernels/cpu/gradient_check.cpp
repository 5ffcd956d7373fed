// One pass over all gradients: is each finite, and the norm of them all. Chunks give partial sums
// in f64, added in their order.
#include <cmath>

#include "kernels/cpu/items.h"
#include "kernels/cpu/own.h"

namespace pneuma::PN_ISA {
namespace {

struct Partial {
  double square;
  int64_t bad;  // index of the item with an inf or a NaN, or -1
};

// A float squared is finite in f64, so the sum of squares is finite where every element is.
template <class T>
PN_INLINE double sum_of_squares(const T* gradient, Range range) {
  double lanes[kLanes] = {};
  for_vectors(range.begin, range.end, [&](int64_t i, auto n) {
    float g[kLanes];
    store(g, load(gradient + i, n), Full{});
#pragma omp simd
    for (int k = 0; k < kLanes; ++k) lanes[k] += double(g[k]) * double(g[k]);
  });
  double sum = 0;
  for (int k = 0; k < kLanes; ++k) sum += lanes[k];
  return sum;
}

}  // namespace

size_t gradient_check_workspace(const GradientCheck& a) {
  return size_t(chunks_of(a.items, a.count)) * sizeof(Partial);
}

Status gradient_check(Stream, const GradientCheck& a) {
  for (int64_t i = 0; i < a.count; ++i) {
    PN_REQUIRE_DTYPE(is_stored(a.items[i].gradient_dtype));
    PN_REQUIRE(a.items[i].gradient, "gradient check: a parameter has no gradient");
  }
  PN_REQUIRE(bytes_of(a.workspace) >= gradient_check_workspace(a),
             "gradient check: the workspace is too small");
  Partial* partial = a.workspace.as<Partial>();
  for_items(a.items, a.count,
            [&](const ParameterUpdate& p, Range range, int64_t item, int64_t chunk) {
              double square = 0;
              dispatch(p.gradient_dtype, [&]<class T>(T) {
                square = sum_of_squares(static_cast<const T*>(p.gradient), range);
              });
              partial[chunk] = {square, std::isfinite(square) ? -1 : item};
            });
  double square = 0;
  int64_t bad = -1;
  for (int64_t k = 0; k < chunks_of(a.items, a.count); ++k) {
    square += partial[k].square;
    if (bad < 0) bad = partial[k].bad;
  }
  a.state->check(bad, std::sqrt(square) / a.state->loss_scale, a.scaler);
  return {};
}

}  // namespace pneuma::PN_ISA
