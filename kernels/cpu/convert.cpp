// y = x, or y += x.
#include "kernels/cpu/own.h"

namespace pneuma::PN_ISA {

Status convert(Stream, const Convert& a) {
  PN_REQUIRE_F32(f32(a.x) && f32(a.y));
  PN_REQUIRE(a.x.count() == a.y.count(), "convert: x and y must have one count");
  const float* x = a.x.as<float>();
  float* y = a.y.as<float>();
  with(a.y.add, [&](auto add) {
    for_chunks(a.y.count(), kChunk, [&](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) y[i] = decltype(add)::value ? y[i] + x[i] : x[i];
    });
  });
  return {};
}

}  // namespace pneuma::PN_ISA
