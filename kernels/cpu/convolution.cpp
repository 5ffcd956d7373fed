// Convolution by oneDNN. Activations stay NHWC; each primitive chooses the layout of its weights,
// which are few beside the arithmetic. Sums are in f32 whatever the storage.
#include "kernels/cpu/convolution.h"

#include "kernels/cpu/device.h"
#include "kernels/cpu/onednn.h"

namespace pneuma::onednn {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;
constexpr auto kAlgorithm = dnnl::algorithm::convolution_direct;

enum class Pass : int64_t { forward, backward_data, backward_weights };

// The three tensors of a convolution, whatever the pass.
struct Shape {
  View x, w, y;
  int stride, padding;

  Status check() const {
    for (const View* v : {&x, &w, &y}) {
      if (v->rank != 4 || v->count() <= 0)
        return {StatusCode::invalid, "convolution: needs x [N,H,W,C], w [O,R,S,C], y [N,P,Q,O]"};
      if (v->dtype != x.dtype || !is_stored(x.dtype)) return {StatusCode::unsupported, kWrongDtype};
    }
    if (stride < 1 || padding < 0)
      return {StatusCode::invalid, "convolution: stride must be at least 1, padding at least 0"};
    for (int i = 1; i <= 2; ++i)
      if (x.dims[i] + 2 * padding < w.dims[i] ||
          y.dims[i] != (x.dims[i] + 2 * padding - w.dims[i]) / stride + 1)
        return {StatusCode::invalid, "convolution: y must be [N,(H+2p-R)/s+1,(W+2p-S)/s+1,O]"};
    if (x.dims[0] != y.dims[0] || x.dims[3] != w.dims[3] || y.dims[3] != w.dims[0])
      return {StatusCode::invalid, "convolution: N, C or O differ between x, w and y"};
    return {};
  }
  Key key(Pass pass, bool add) const {
    return {int64_t(pass), x.dims[0], x.dims[1], x.dims[2], x.dims[3],        w.dims[0], w.dims[1],
            w.dims[2],     stride,    padding,   add,       int64_t(x.dtype), 0};
  }
};

Built build(Pass pass, const Shape& s, bool add) {
  const auto nchw = [](const View& v) {
    return memory::dims{v.dims[0], v.dims[3], v.dims[1], v.dims[2]};
  };
  const Dtype t = s.x.dtype;
  const auto type = computed(t), result = computed(t, add);
  const memory::desc x(nchw(s.x), type, Tag::nhwc), y(nchw(s.y), type, Tag::nhwc);
  const memory::desc w(nchw(s.w), type, Tag::ohwi), any(nchw(s.w), type, Tag::any);
  const memory::dims strides = {s.stride, s.stride}, padding = {s.padding, s.padding};
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const dnnl::convolution_forward::primitive_desc forward(
      engine(), dnnl::prop_kind::forward_training, kAlgorithm, x, any, y, strides, padding, padding,
      attributes);
  if (pass == Pass::forward)
    return built<dnnl::convolution_forward>(forward,
                                            {{DNNL_ARG_SRC, x, x, t},
                                             {DNNL_ARG_WEIGHTS, w, forward.weights_desc(), t},
                                             {DNNL_ARG_DST, y, y, t, true}});
  if (pass == Pass::backward_data) {
    const memory::desc dx(nchw(s.x), result, Tag::nhwc);
    const dnnl::convolution_backward_data::primitive_desc pd(
        engine(), kAlgorithm, dx, any, y, strides, padding, padding, forward, attributes);
    return built<dnnl::convolution_backward_data>(pd, {{DNNL_ARG_DIFF_DST, y, y, t},
                                                       {DNNL_ARG_WEIGHTS, w, pd.weights_desc(), t},
                                                       {DNNL_ARG_DIFF_SRC, dx, dx, t, true, add}});
  }
  const memory::desc dw(nchw(s.w), result, Tag::ohwi), any_dw(nchw(s.w), result, Tag::any);
  const dnnl::convolution_backward_weights::primitive_desc pd(
      engine(), kAlgorithm, x, any_dw, y, strides, padding, padding, forward, attributes);
  return built<dnnl::convolution_backward_weights>(
      pd, {{DNNL_ARG_SRC, x, x, t},
           {DNNL_ARG_DIFF_DST, y, y, t},
           {DNNL_ARG_DIFF_WEIGHTS, dw, pd.diff_weights_desc(), t, true, add}});
}

Shape shape(const ConvolutionForward& a) { return {a.x, a.w, a.y, a.stride, a.padding}; }
Shape shape(const ConvolutionBackwardData& a) { return {a.dx, a.w, a.dy, a.stride, a.padding}; }
Shape shape(const ConvolutionBackwardWeights& a) { return {a.x, a.dw, a.dy, a.stride, a.padding}; }

Built find(Pass pass, const Shape& s, bool add) {
  return operation(s.key(pass, add), [&] { return build(pass, s, add); });
}

template <class Args>
size_t workspace(Pass pass, const Args& a, bool add) {
  const Shape s = shape(a);
  return s.check() ? workspace_of([&] { return find(pass, s, add); }) : 0;
}
template <class Args>
Status run(Pass pass, const Args& a, bool add, const std::vector<void*>& data) {
  const Shape s = shape(a);
  if (const Status status = s.check(); !status) return status;
  return onednn::run([&] { return find(pass, s, add); }, data, a.workspace);
}

}  // namespace

size_t convolution_forward_workspace(const ConvolutionForward& a) {
  return workspace(Pass::forward, a, false);
}
Status convolution_forward(Stream, const ConvolutionForward& a) {
  return run(Pass::forward, a, false, {a.x.data, a.w.data, a.y.data});
}
size_t convolution_backward_data_workspace(const ConvolutionBackwardData& a) {
  return workspace(Pass::backward_data, a, a.dx.add);
}
Status convolution_backward_data(Stream, const ConvolutionBackwardData& a) {
  return run(Pass::backward_data, a, a.dx.add, {a.dy.data, a.w.data, a.dx.data});
}
size_t convolution_backward_weights_workspace(const ConvolutionBackwardWeights& a) {
  return workspace(Pass::backward_weights, a, a.dw.add);
}
Status convolution_backward_weights(Stream, const ConvolutionBackwardWeights& a) {
  return run(Pass::backward_weights, a, a.dw.add, {a.x.data, a.dy.data, a.dw.data});
}

}  // namespace pneuma::onednn
