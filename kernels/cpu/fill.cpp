// y = value, of any dtype.
#include "kernels/cpu/own.h"

namespace pneuma::PN_ISA {
namespace {

template <class T>
Status fill_with(const View& y, T value) {
  for_chunks(y.count(), kChunk, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y.as<T>()[i] = value;
  });
  return {};
}

}  // namespace

Status fill(Stream, const Fill& a) {
  if (a.y.dtype == Dtype::f32) return fill_with(a.y, float(a.value));
  if (a.y.dtype == Dtype::f64) return fill_with(a.y, a.value);
  if (a.y.dtype == Dtype::f16) return fill_with(a.y, bits_of_half(float(a.value)));
  if (a.y.dtype == Dtype::bf16) return fill_with(a.y, bits_of_bfloat16(float(a.value)));
  if (a.y.dtype == Dtype::u8) return fill_with(a.y, uint8_t(a.value));
  if (a.y.dtype == Dtype::i32) return fill_with(a.y, int32_t(a.value));
  return fill_with(a.y, int64_t(a.value));
}

}  // namespace pneuma::PN_ISA
