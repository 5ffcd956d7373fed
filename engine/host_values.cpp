#include "engine/host_values.h"

namespace pneuma {
namespace {

template <class From>
void set(Context& ctx, const Tensor& to, std::span<const From> values) {
  if (to.dtype() == Dtype::f64) {
    const std::vector<double> v(values.begin(), values.end());
    ctx.upload(to, v.data(), v.size() * sizeof(double));
  } else if (to.dtype() == Dtype::f32) {
    const std::vector<float> v(values.begin(), values.end());
    ctx.upload(to, v.data(), v.size() * sizeof(float));
  } else {
    fail(Exit::usage, "values of dtype {} cannot be set from the host", name_of(to.dtype()));
  }
}

template <class T>
std::vector<double> get(Context& ctx, const Tensor& from) {
  std::vector<T> v(size_t(from.shape().count()));
  ctx.download(v.data(), from, v.size() * sizeof(T));
  return {v.begin(), v.end()};
}

}  // namespace

void set_values(Context& ctx, const Tensor& to, std::span<const double> values) {
  set(ctx, to, values);
}
void set_values(Context& ctx, const Tensor& to, std::span<const float> values) {
  set(ctx, to, values);
}

std::vector<double> get_values(Context& ctx, const Tensor& from) {
  switch (from.dtype()) {
    case Dtype::f32:
      return get<float>(ctx, from);
    case Dtype::f64:
      return get<double>(ctx, from);
    case Dtype::u8:
      return get<uint8_t>(ctx, from);
    case Dtype::i32:
      return get<int32_t>(ctx, from);
    default:
      fail(Exit::usage, "values of dtype {} cannot be read by the host", name_of(from.dtype()));
  }
}

}  // namespace pneuma
