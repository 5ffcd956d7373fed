#include "engine/host_values.h"

#include "kernels/half.h"

namespace pneuma {
namespace {

template <class From>
void set(Context& ctx, const Tensor& to, std::span<const From> values) {
  const auto as = [&]<class T>(T) {
    std::vector<T> v;
    v.reserve(values.size());
    for (const From value : values) v.push_back(T(value));
    ctx.upload(to, v.data(), v.size() * sizeof(T));
  };
  switch (to.dtype()) {
    case Dtype::f64:
      return as(double{});
    case Dtype::f32:
      return as(float{});
    case Dtype::f16:
      return as(Half{});
    case Dtype::bf16:
      return as(Bfloat16{});
    default:
      fail(Exit::usage, "values of dtype {} cannot be set from the host", name_of(to.dtype()));
  }
}

template <class T>
std::vector<double> copy_of(const void* values, int64_t count) {
  const T* from = static_cast<const T*>(values);
  return {from, from + count};
}

}  // namespace

void set_values(Context& ctx, const Tensor& to, std::span<const double> values) {
  set(ctx, to, values);
}
void set_values(Context& ctx, const Tensor& to, std::span<const float> values) {
  set(ctx, to, values);
}

std::vector<double> values_of(Dtype dtype, const void* values, int64_t count) {
  switch (dtype) {
    case Dtype::f32:
      return copy_of<float>(values, count);
    case Dtype::f64:
      return copy_of<double>(values, count);
    case Dtype::f16:
      return copy_of<Half>(values, count);
    case Dtype::bf16:
      return copy_of<Bfloat16>(values, count);
    case Dtype::u8:
      return copy_of<uint8_t>(values, count);
    case Dtype::i32:
      return copy_of<int32_t>(values, count);
    default:
      fail(Exit::usage, "values of dtype {} cannot be read by the host", name_of(dtype));
  }
}

std::vector<double> get_values(Context& ctx, const Tensor& from) {
  std::vector<std::byte> bytes(from.bytes());
  ctx.download(bytes.data(), from, bytes.size());
  return values_of(from.dtype(), bytes.data(), from.shape().count());
}

}  // namespace pneuma
