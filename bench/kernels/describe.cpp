#include "bench/kernels/describe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <cstring>

#include "engine/optim/optimizer.h"
#include "kernels/pointwise.h"

namespace pneuma::bench {
namespace {

// ---- What operands hold ------------------------------------------------------------------------

Draw normal(double mean = 0, double deviation = 1) {
  return [=](Random& r) { return mean + deviation * r.normal(); };
}
Draw uniform(double low, double high) {
  return [=](Random& r) { return r.uniform(low, high); };
}
Draw below(uint32_t n) {
  return [=](Random& r) { return double(r.below(n)); };
}
Draw weights(const View& w) {  // so that sums over w come out as large as what they sum
  return normal(0, 1 / std::sqrt(double(w.count()) / double(w.dims[0])));
}
// Places of a 3x3 window, stride 2, padding 1, that lie inside a picture of even size everywhere.
double inner_place(Random& r) {
  constexpr double kPlaces[] = {4, 5, 7, 8};
  return kPlaces[r.below(4)];
}

std::vector<std::byte> bytes_of(const void* data, size_t bytes) {
  const auto* begin = static_cast<const std::byte*>(data);
  return {begin, begin + bytes};
}

// ---- From arguments to a case ------------------------------------------------------------------

// One operand of Args: where it stands there, and what is to be known about it.
template <class Args>
struct Field {
  Operand operand;  // but for its view
  bool styled;      // in the style's dtype; else in that of its view
  std::function<View&(Args&)> at;
  std::function<bool(const Args&)> adds;  // a gradient that goes to what is there
};
template <class Args, class V>
Field<Args> field(const char* name, V Args::*member, Role role, Draw draw, bool styled) {
  return {{name, {}, role, std::move(draw)},
          styled,
          [=](Args& a) -> View& { return a.*member; },
          [=](const Args& a) {
            if constexpr (std::is_same_v<V, Gradient>) return (a.*member).add;
            return false;
          }};
}
// Activations, weights as kernels read them, and gradients of either.
template <class Args, class V>
Field<Args> in(const char* name, V Args::*member, Draw draw = normal()) {
  return field(name, member, Role::input, std::move(draw), true);
}
template <class Args, class V>
Field<Args> out(const char* name, V Args::*member) {
  return field(name, member, Role::result, {}, true);
}
// What keeps its dtype: statistics, losses, labels, bytes.
template <class Args, class V>
Field<Args> fixed_in(const char* name, V Args::*member, Draw draw = normal()) {
  return field(name, member, Role::input, std::move(draw), false);
}
template <class Args, class V>
Field<Args> fixed_changed(const char* name, V Args::*member, Draw draw) {
  return field(name, member, Role::changed, std::move(draw), false);
}
template <class Args, class V>
Field<Args> fixed_out(const char* name, V Args::*member) {
  return field(name, member, Role::result, {}, false);
}
template <class Args>
Field<Args> uncompared(Field<Args> f) {
  f.operand.compared = false;
  return f;
}

double moved(const Case& c) {  // each operand once, what is changed twice
  double bytes = 0;
  for (const Operand& o : c.operands)
    bytes += double(o.view.bytes()) * (o.role == Role::changed ? 2 : 1);
  return bytes;
}

std::string text(const View& v) {
  return fmt::format("{}", fmt::join(v.dims, v.dims + v.rank, "x"));
}

// `kernel` on `args`, whose operands have their memory.
template <class Args>
std::function<Status(Stream)> bound(const Kernel<Args>& kernel, Args args, Memory& memory) {
  if (!kernel.run) return {};
  if constexpr (requires { args.workspace; }) {
    if (const size_t bytes = kernel.workspace ? kernel.workspace(args) : 0)
      args.workspace = {memory.allocate(bytes), {int64_t(bytes)}, 1, Dtype::u8};
  }
  return [run = kernel.run, args](Stream stream) { return run(stream, args); };
}

// `what`: the flags and shapes of the case's name.
template <class Args>
Case make(Kernel<Args> Kernels::*entry, const std::string& what, Args args, const Style& style,
          double tolerance, std::vector<Field<Args>> fields) {
  Case c;
  c.kernel = (Kernels{}.*entry).name;
  c.name = c.kernel + " " + what;
  c.tolerance = tolerance;
  std::erase_if(fields, [&](const Field<Args>& f) { return !f.at(args); });
  bool adds = false;
  for (const Field<Args>& f : fields) {
    View& v = f.at(args);
    v.data = nullptr;
    if (f.styled) v.dtype = style.dtype;
    Operand& o = c.operands.emplace_back(f.operand);
    o.view = v;
    if (!f.adds(args)) continue;
    adds = true;
    o.role = Role::changed;
    o.draw = normal();
  }
  if (adds) c.name += " +=";
  c.bytes = moved(c);
  c.bind = [=](Memory& memory, const std::vector<View>& operands) {
    Args a = args;
    for (size_t k = 0; k < fields.size(); ++k) fields[k].at(a) = operands[k];
    return bound(memory.backend().kernels.*entry, a, memory);
  };
  return c;
}

template <class Args>
Case convolution(Kernel<Args> Kernels::*entry, const Args& a, const View& x, const View& w,
                 const View& y, const Style& style, std::vector<Field<Args>> fields) {
  Case c = make(entry, fmt::format("{} * {} / {}", text(x), text(w), a.stride), a, style, 32,
                std::move(fields));
  c.attributes = {{"stride", a.stride}, {"padding", a.padding}};
  c.flops = 2 * double(y.count()) * double(w.count() / w.dims[0]);
  return c;
}

const char* name_of(Pointwise formula) {
  constexpr const char* kNames[] = {"relu", "sigmoid", "scale", "add", "multiply"};
  return kNames[int(formula)];
}

// ---- Lists of parameters -----------------------------------------------------------------------

constexpr int64_t kAlignedCount = 64;  // elements; a multiple of kAlignment bytes in every dtype

// The parameters of one call: each buffer (masters, gradients...) is one operand with all of them
// one behind the other.
struct ParameterList {
  std::vector<ParameterUpdate> items;
  std::vector<int64_t> first;  // of each, in elements
  int64_t total = 0, count = 0;
  bool working;

  ParameterList(const ParameterUpdate* from, int64_t n, const Style& style)
      : items(from, from + n), working(style.dtype != Dtype::f32) {
    int64_t chunk = 0;
    for (ParameterUpdate& item : items) {
      item.count = std::min(item.count, style.most_per_parameter);
      item.first_chunk = chunk;
      chunk += (item.count + kParameterChunk - 1) / kParameterChunk;
      first.push_back(total);
      count += item.count;
      total += (item.count + kAlignedCount - 1) / kAlignedCount * kAlignedCount;
    }
  }
  View view(Dtype dtype) const { return {nullptr, {total}, 1, dtype}; }
  std::string text() const {
    return fmt::format("{} tensors, {:.1f} million", items.size(), double(count) * 1e-6);
  }
};

Operand state_operand(Role role) {
  StepState state;
  state.step = 100;
  Operand o{"state", {nullptr, {sizeof state / sizeof(double)}, 1, Dtype::f64}, role};
  o.raw = bytes_of(&state, sizeof state);
  o.eps = eps_of(Dtype::f32);  // its norm is a sum in f32
  return o;
}

// `bind` of a call with such a list; its operands begin with the state.
template <class Args>
auto binder(Kernel<Args> Kernels::*entry, const Args& args, const ParameterList& list,
            const std::vector<Operand>& operands) {
  std::vector<std::string> names;
  for (const Operand& o : operands) names.push_back(o.name);
  return [=](Memory& memory, const std::vector<View>& views) -> std::function<Status(Stream)> {
    auto items = std::make_shared<std::vector<ParameterUpdate>>(list.items);
    for (size_t i = 0; i < items->size(); ++i) {
      ParameterUpdate& item = (*items)[i];
      item.value = item.moment1 = item.moment2 = item.working = nullptr;
      for (size_t k = 1; k < views.size(); ++k) {
        const View& v = views[k];
        void* p = v.as<std::byte>() + size_t(list.first[i]) * size_of(v.dtype);
        if (names[k] == "values") item.value = p, item.dtype = item.working_dtype = v.dtype;
        if (names[k] == "gradients") item.gradient = p, item.gradient_dtype = v.dtype;
        if (names[k] == "moment1") item.moment1 = p;
        if (names[k] == "moment2") item.moment2 = p;
        if (names[k] == "working") item.working = p, item.working_dtype = v.dtype;
      }
    }
    const auto bytes = std::as_bytes(std::span(*items));
    const View copy{memory.allocate(bytes.size()), {int64_t(bytes.size())}, 1, Dtype::u8};
    memory.upload(copy, bytes);
    Args a = args;
    a.items = items->data();
    a.device_items = copy.as<ParameterUpdate>();
    a.state = views[0].as<StepState>();
    const auto run = bound(memory.backend().kernels.*entry, a, memory);
    if (!run) return {};
    return [items, run](Stream stream) { return run(stream); };
  };
}

}  // namespace

// ---- The kernels, in the order of kernels.h ----------------------------------------------------

Case describe(const ConvolutionForward& a, const Style& style) {
  using A = ConvolutionForward;
  return convolution(&Kernels::convolution_forward, a, a.x, a.w, a.y, style,
                     {in("x", &A::x), in("w", &A::w, weights(a.w)), out("y", &A::y)});
}
Case describe(const ConvolutionBackwardData& a, const Style& style) {
  using A = ConvolutionBackwardData;
  return convolution(&Kernels::convolution_backward_data, a, a.dx, a.w, a.dy, style,
                     {in("dy", &A::dy), in("w", &A::w, weights(a.w)), out("dx", &A::dx)});
}
Case describe(const ConvolutionBackwardWeights& a, const Style& style) {
  using A = ConvolutionBackwardWeights;
  return convolution(&Kernels::convolution_backward_weights, a, a.x, a.dw, a.dy, style,
                     {in("x", &A::x), in("dy", &A::dy), out("dw", &A::dw)});
}

// Two passes: the first reads x for the statistics, the second reads it again.
Case describe(const BatchNormForward& a, const Style& style) {
  using A = BatchNormForward;
  Case c = make(
      &Kernels::batch_norm_forward,
      fmt::format("{}{}{}", a.residual ? "add " : "", a.relu ? "relu " : "", text(a.x)), a, style,
      32,
      {in("x", &A::x, normal(0.5, 2)), in("residual", &A::residual),
       fixed_in("gamma", &A::gamma, uniform(0.5, 2)), fixed_in("beta", &A::beta), out("y", &A::y),
       uncompared(fixed_out("relu_mask", &A::relu_mask)), fixed_out("mean", &A::mean),
       fixed_out("rstd", &A::rstd), fixed_changed("running_mean", &A::running_mean, normal()),
       fixed_changed("running_var", &A::running_var, uniform(0.5, 2))});
  c.bytes += double(c.operands[0].view.bytes());
  return c;
}
// Two passes: each reads dy, x and the mask.
Case describe(const BatchNormBackward& a, const Style& style) {
  using A = BatchNormBackward;
  Case c =
      make(&Kernels::batch_norm_backward,
           fmt::format("{}{}{}", a.dresidual ? "add " : "", a.relu_mask ? "relu " : "", text(a.x)),
           a, style, 32,
           {in("dy", &A::dy), in("x", &A::x), fixed_in("relu_mask", &A::relu_mask, below(256)),
            fixed_in("gamma", &A::gamma, uniform(0.5, 2)),
            fixed_in("mean", &A::mean, normal(0, 0.1)), fixed_in("rstd", &A::rstd, uniform(0.5, 2)),
            out("dx", &A::dx), out("dresidual", &A::dresidual), fixed_out("dgamma", &A::dgamma),
            fixed_out("dbeta", &A::dbeta)});
  for (const Operand& o : c.operands)
    if (o.name == "dy" || o.name == "x" || o.name == "relu_mask") c.bytes += double(o.view.bytes());
  return c;
}
Case describe(const BatchNormInference& a, const Style& style) {
  using A = BatchNormInference;
  return make(&Kernels::batch_norm_inference,
              fmt::format("{}{}{}", a.residual ? "add " : "", a.relu ? "relu " : "", text(a.x)), a,
              style, 32,
              {in("x", &A::x, normal(0.5, 2)), in("residual", &A::residual),
               fixed_in("gamma", &A::gamma, uniform(0.5, 2)), fixed_in("beta", &A::beta),
               fixed_in("running_mean", &A::running_mean),
               fixed_in("running_var", &A::running_var, uniform(0.5, 2)), out("y", &A::y)});
}

Case describe(const MaxPoolForward& a, const Style& style) {
  using A = MaxPoolForward;
  return make(&Kernels::max_pool_forward,
              fmt::format("{} window {} / {}", text(a.x), a.kernel, a.stride), a, style, 4,
              {in("x", &A::x), out("y", &A::y), fixed_out("argmax", &A::argmax)});
}
Case describe(const MaxPoolBackward& a, const Style& style) {
  using A = MaxPoolBackward;
  return make(&Kernels::max_pool_backward,
              fmt::format("{} window {} / {}", text(a.dx), a.kernel, a.stride), a, style, 4,
              {in("dy", &A::dy), fixed_in("argmax", &A::argmax, inner_place), out("dx", &A::dx)});
}
Case describe(const GlobalAveragePoolForward& a, const Style& style) {
  using A = GlobalAveragePoolForward;
  return make(&Kernels::global_average_pool_forward, text(a.x), a, style, 16,
              {in("x", &A::x, normal(1)), out("y", &A::y)});
}
Case describe(const GlobalAveragePoolBackward& a, const Style& style) {
  using A = GlobalAveragePoolBackward;
  return make(&Kernels::global_average_pool_backward, text(a.dx), a, style, 16,
              {in("dy", &A::dy), out("dx", &A::dx)});
}

Case describe(const LinearForward& a, const Style& style) {
  using A = LinearForward;
  Case c =
      make(&Kernels::linear_forward, fmt::format("{} -> {}", text(a.x), text(a.y)), a, style, 32,
           {in("x", &A::x), in("w", &A::w, weights(a.w)), fixed_in("b", &A::b), out("y", &A::y)});
  c.flops = 2 * double(a.x.count() * a.w.dims[0]);
  return c;
}
Case describe(const LinearBackward& a, const Style& style) {
  using A = LinearBackward;
  Case c =
      make(&Kernels::linear_backward, fmt::format("{} -> {}", text(a.x), text(a.dy)), a, style, 32,
           {in("dy", &A::dy), in("x", &A::x), in("w", &A::w, weights(a.w)), out("dx", &A::dx),
            out("dw", &A::dw), fixed_out("db", &A::db)});
  c.flops = 2 * double(a.x.count() * a.w.dims[0]) * (bool(a.dx) + bool(a.dw));
  return c;
}

Case describe(const PointwiseForward& a, const Style& style) {
  using A = PointwiseForward;
  return make(&Kernels::pointwise_forward, fmt::format("{} {}", name_of(a.op), text(a.y)), a, style,
              8, {in("a", &A::a), in("b", &A::b), out("y", &A::y)});
}
Case describe(const PointwiseBackward& a, const Style& style) {
  using A = PointwiseBackward;
  Case c = make(&Kernels::pointwise_backward, fmt::format("{} {}", name_of(a.op), text(a.dy)), a,
                style, 8,
                {in("dy", &A::dy), in("a", &A::a), in("b", &A::b), in("y", &A::y, uniform(0, 1)),
                 out("da", &A::da), out("db", &A::db)});
  const int read = pointwise::dispatch(a.op, [&](auto formula) {
    return 1 + (formula.kNeedsInputs ? bool(a.a) + bool(a.b) : 0) + formula.kNeedsOutput;
  });
  c.bytes = double(read + bool(a.da) + bool(a.db)) * double(c.operands[0].view.bytes());
  return c;
}

Case describe(const SigmoidCrossEntropy& given, const Style& style) {
  using A = SigmoidCrossEntropy;
  A a = given;
  a.state = nullptr;
  return make(&Kernels::sigmoid_cross_entropy, text(a.logits), a, style, 16,
              {in("logits", &A::logits, normal(0, 2)), fixed_in("labels", &A::labels, below(2)),
               fixed_in("positive_weight", &A::positive_weight, uniform(0.5, 20)),
               fixed_in("negative_weight", &A::negative_weight, uniform(0.5, 2)),
               fixed_out("loss", &A::loss), out("dlogits", &A::dlogits)});
}
Case describe(const SoftmaxCrossEntropy& given, const Style& style) {
  using A = SoftmaxCrossEntropy;
  A a = given;
  a.state = nullptr;
  return make(&Kernels::softmax_cross_entropy, text(a.logits), a, style, 16,
              {in("logits", &A::logits, normal(0, 2)),
               fixed_in("labels", &A::labels, below(uint32_t(a.logits.dims[1]))),
               fixed_out("loss", &A::loss), out("dlogits", &A::dlogits)});
}

// A crop reads its window alone.
Case describe(const Augment& given, const Style& style) {
  using A = Augment;
  A a = given;
  const View y = a.y;
  const auto items =
      std::make_shared<const std::vector<AugmentItem>>(a.host_items, a.host_items + y.dims[0]);
  const AugmentItem& first = items->front();
  a.host_items = items->data();
  Case c = make(
      &Kernels::augment,
      fmt::format("{} {}x{}x{} -> {}", first.transform ? "affine, colour" : "crop", first.height,
                  first.width, first.channels, text(y)),
      a, style, 2,
      {fixed_in("pixels", &A::pixels, below(256)), fixed_in("items", &A::items), out("y", &A::y)});
  c.operands[1].raw = bytes_of(items->data(), items->size() * sizeof(AugmentItem));
  if (!first.transform)
    c.bytes -= double(a.pixels.count() - y.dims[0] * y.dims[1] * y.dims[2] * first.channels);
  c.bind = [items, bind = c.bind](Memory& memory, const std::vector<View>& operands) {
    return bind(memory, operands);  // `items` live as long as the call
  };
  return c;
}
Case describe(const Resize& a, const Style& style) {
  using A = Resize;
  return make(&Kernels::resize, fmt::format("{} -> {}", text(a.x), text(a.y)), a, style, 0,
              {fixed_in("x", &A::x, below(256)), fixed_out("y", &A::y)});
}

Case describe(const GradientCheck& a, const Style& style) {
  const ParameterList list(a.items, a.count, style);
  Case c;
  c.kernel = "gradient_check";
  c.name = fmt::format("{} {}", c.kernel, list.text());
  c.operands = {state_operand(Role::changed),
                {"gradients", list.view(style.dtype), Role::input, normal()}};
  c.bytes = moved(c);
  c.tolerance = 16;
  c.bind = binder(&Kernels::gradient_check, a, list, c.operands);
  return c;
}
Case describe(const OptimizerStep& a, const Style& style) {
  const ParameterList list(a.items, a.count, style);
  const bool adam = a.kind == OptimizerKind::adam;
  Case c;
  c.kernel = "optimizer_step";
  c.name = fmt::format("{} {} {}", c.kernel, pneuma::name_of(a.kind), list.text());
  c.operands = {state_operand(Role::input),
                {"values", list.view(Dtype::f32), Role::changed, normal()},
                {"gradients", list.view(style.dtype), Role::input, normal()},
                {"moment1", list.view(Dtype::f32), Role::changed, uniform(0, 1)}};
  if (adam) c.operands.push_back({"moment2", list.view(Dtype::f32), Role::changed, uniform(0, 1)});
  if (list.working) c.operands.push_back({"working", list.view(style.dtype), Role::result, {}});
  c.bytes = moved(c);
  c.tolerance = adam ? 128 : 16;  // 1 - beta_2 in f32 is 1e-5 off
  c.bind = binder(&Kernels::optimizer_step, a, list, c.operands);
  return c;
}

Case describe(const Fill& a, const Style& style) {
  return make(&Kernels::fill, text(a.y), a, style, 1, {out("y", &Fill::y)});
}
Case describe(const Convert& a, const Style& style) {
  return make(&Kernels::convert,
              fmt::format("{} {} to {}", text(a.x), name_of(a.x.dtype), name_of(a.y.dtype)), a,
              style, 1, {fixed_in("x", &Convert::x), fixed_out("y", &Convert::y)});
}

Case matrix_product(int64_t n, Dtype dtype) {
  const View square{nullptr, {n, n}, 2, Dtype::f32};
  return describe(LinearForward{square, square, {}, square}, {dtype, 0});
}

}  // namespace pneuma::bench
