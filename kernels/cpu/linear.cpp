// y = x w^T + b by oneDNN's inner product.
#include "kernels/cpu/convolution.h"
#include "kernels/cpu/device.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/table.h"

namespace pneuma::onednn {
namespace {

using dnnl::memory;

// Apart from convolution's.
enum class Pass : int64_t { forward = 8, backward_data, backward_weights };

struct Shape {
  int64_t batch, inputs, outputs;
  Dtype dtype;
};

Status check(const View& x, const View& w, const View& y, Shape* s) {
  if (x.rank != 2 || w.rank != 2 || y.rank != 2 || x.count() <= 0 || y.count() <= 0 ||
      x.dims[1] != w.dims[1] || y.dims[0] != x.dims[0] || y.dims[1] != w.dims[0])
    return {StatusCode::invalid, "linear: x, w and y must be [N,I], [O,I], [N,O], none empty"};
  if (!is_stored(x.dtype) || w.dtype != x.dtype || y.dtype != x.dtype)
    return {StatusCode::unsupported, kWrongDtype};
  *s = {x.dims[0], x.dims[1], w.dims[0], x.dtype};
  return {};
}
bool bias_fits(const View& b, const Shape& s) {
  return !b || (b.rank == 1 && b.dims[0] == s.outputs && b.dtype == Dtype::f32);
}

Built build(Pass pass, const Shape& s, bool option) {
  using Tag = memory::format_tag;
  const Dtype t = s.dtype;
  const auto type = computed(t), result = computed(t, pass != Pass::forward && option);
  const memory::desc x({s.batch, s.inputs}, type, Tag::ab), y({s.batch, s.outputs}, type, Tag::ab);
  const memory::desc w({s.outputs, s.inputs}, type, Tag::ab);
  const memory::desc b({s.outputs}, memory::data_type::f32, Tag::a);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const bool bias = pass == Pass::forward && option;
  const dnnl::inner_product_forward::primitive_desc forward(
      engine(), dnnl::prop_kind::forward_training, x, w, bias ? b : memory::desc(), y, attributes);
  if (pass == Pass::forward) {
    std::vector<Operation::Argument> arguments = {
        {DNNL_ARG_SRC, x, x, t}, {DNNL_ARG_WEIGHTS, w, w, t}, {DNNL_ARG_DST, y, y, t, true}};
    if (bias) arguments.push_back({DNNL_ARG_BIAS, b, b, Dtype::f32});
    return built<dnnl::inner_product_forward>(forward, arguments);
  }
  if (pass == Pass::backward_data) {
    const memory::desc dx({s.batch, s.inputs}, result, Tag::ab);
    return built<dnnl::inner_product_backward_data>({engine(), dx, w, y, forward, attributes},
                                                    {{DNNL_ARG_DIFF_DST, y, y, t},
                                                     {DNNL_ARG_WEIGHTS, w, w, t},
                                                     {DNNL_ARG_DIFF_SRC, dx, dx, t, true, option}});
  }
  const memory::desc dw({s.outputs, s.inputs}, result, Tag::ab);
  return built<dnnl::inner_product_backward_weights>(
      {engine(), x, dw, memory::desc(), y, forward, attributes},
      {{DNNL_ARG_SRC, x, x, t},
       {DNNL_ARG_DIFF_DST, y, y, t},
       {DNNL_ARG_DIFF_WEIGHTS, dw, dw, t, true, option}});
}

// `option`: a bias in the forward pass, adding to the gradient in the others.
Built find(Pass pass, const Shape& s, bool option) {
  return operation({int64_t(pass), s.batch, s.inputs, s.outputs, option, int64_t(s.dtype)},
                   [&] { return build(pass, s, option); });
}

}  // namespace

size_t linear_forward_workspace(const LinearForward& a) {
  Shape s;
  if (!check(a.x, a.w, a.y, &s)) return 0;
  return workspace_of([&] { return find(Pass::forward, s, bool(a.b)); });
}

Status linear_forward(Stream, const LinearForward& a) {
  Shape s;
  if (const Status status = check(a.x, a.w, a.y, &s); !status) return status;
  if (!bias_fits(a.b, s)) return {StatusCode::invalid, "linear: b must be [O] f32"};
  return run([&] { return find(Pass::forward, s, bool(a.b)); },
             {a.x.data, a.w.data, a.y.data, a.b.data}, a.workspace);
}

size_t linear_backward_workspace(const LinearBackward& a) {
  Shape s;
  if (!check(a.x, a.w, a.dy, &s)) return 0;
  const auto bytes = [&](Pass pass, const Gradient& g) {
    return g ? workspace_of([&] { return find(pass, s, g.add); }) : 0;
  };
  return std::max(bytes(Pass::backward_data, a.dx), bytes(Pass::backward_weights, a.dw));
}

Status linear_backward(Stream, const LinearBackward& a) {
  Shape s;
  if (const Status status = check(a.x, a.w, a.dy, &s); !status) return status;
  const auto fits = [](const View& g, const View& like) {
    return !g || (g.rank == 2 && g.dtype == like.dtype && g.dims[0] == like.dims[0] &&
                  g.dims[1] == like.dims[1]);
  };
  if (!fits(a.dx, a.x) || !fits(a.dw, a.w) || !bias_fits(a.db, s))
    return {StatusCode::invalid, "linear: dx, dw and db must have the shapes of x, w and [O]"};
  Status status;
  if (a.dx)
    status = run([&] { return find(Pass::backward_data, s, a.dx.add); },
                 {a.dy.data, a.w.data, a.dx.data}, a.workspace);
  if (a.dw && status)
    status = run([&] { return find(Pass::backward_weights, s, a.dw.add); },
                 {a.x.data, a.dy.data, a.dw.data}, a.workspace);
  for (int64_t n = 0; a.db && n < s.batch; ++n) {
    std::byte* row = a.dy.as<std::byte>() + size_t(n * s.outputs) * size_of(s.dtype);
    cpu_backend().kernels.convert.run(
        nullptr, {View{row, {s.outputs}, 1, s.dtype}, {a.db, a.db.add || n > 0}});
  }
  return status;
}

}  // namespace pneuma::onednn
