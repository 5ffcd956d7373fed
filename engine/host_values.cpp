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
    case Dtype::f16:
      return get<Half>(ctx, from);
    case Dtype::bf16:
      return get<Bfloat16>(ctx, from);
    case Dtype::u8:
      return get<uint8_t>(ctx, from);
    case Dtype::i32:
      return get<int32_t>(ctx, from);
    default:
      fail(Exit::usage, "values of dtype {} cannot be read by the host", name_of(from.dtype()));
  }
}

}  // namespace pneuma
