#include "bench/kernels/describe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <map>

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

Role role_of(const pneuma::Operand& o) {
  return o.written == 0 ? Role::input : o.read > 0 ? Role::changed : Role::result;
}
double moved(const Operands& operands) {
  double bytes = 0;
  for (const pneuma::Operand& o : operands) bytes += o.read + o.written;
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

// `what`: the flags and shapes of the case's name. Inputs that `draws` does not name are normal.
template <class Args>
Case make(Kernel<Args> Kernels::*entry, const std::string& what, Args args, double tolerance,
          const std::map<std::string, Draw>& draws = {}) {
  Case c;
  c.kernel = (Kernels{}.*entry).name;
  c.name = c.kernel + " " + what;
  c.tolerance = tolerance;
  const Operands operands = pneuma::operands(args);
  bool adds = false;
  for (const pneuma::Operand& o : operands) {
    o.place->data = nullptr;
    const auto drawn = draws.find(o.name);
    c.operands.push_back({o.name, *o.place, role_of(o), {}});
    if (role_of(o) != Role::result)
      c.operands.back().draw = drawn == draws.end() ? normal() : drawn->second;
    adds |= role_of(o) == Role::changed && !o.name.starts_with("running_");
  }
  if (adds) c.name += " +=";
  c.bytes = moved(operands);
  c.bind = [=](Memory& memory, const std::vector<View>& views) {
    Args a = args;
    const Operands places = pneuma::operands(a);
    for (size_t k = 0; k < places.size(); ++k) *places[k].place = views[k];
    return bound(memory.backend().kernels.*entry, a, memory);
  };
  return c;
}

template <class Args>
Case convolution(Kernel<Args> Kernels::*entry, const Args& a, const View& x, const View& w,
                 const View& y, const std::map<std::string, Draw>& draws) {
  Case c = make(entry, fmt::format("{} * {} / {}", text(x), text(w), a.stride), a, 32, draws);
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
// one behind the other, gradients and working copies in the style's dtype.
struct ParameterList {
  std::vector<ParameterUpdate> items;
  std::vector<int64_t> first;  // of each, in elements
  int64_t total = 0, count = 0;

  ParameterList(const ParameterUpdate* from, int64_t n, const Style& style)
      : items(from, from + n) {
    int64_t chunk = 0;
    for (ParameterUpdate& item : items) {
      item.gradient_dtype = item.working_dtype = style.dtype;
      item.count = std::min(item.count, style.most_per_parameter);
      item.first_chunk = chunk;
      chunk += (item.count + kParameterChunk - 1) / kParameterChunk;
      first.push_back(total);
      count += item.count;
      total += (item.count + kAlignedCount - 1) / kAlignedCount * kAlignedCount;
    }
  }
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

// A call with such a list; its operands begin with the state.
template <class Args>
Case make(Kernel<Args> Kernels::*entry, const std::string& what, Args args,
          const ParameterList& list, double tolerance, Role state,
          const std::map<std::string, Draw>& draws = {}) {
  Case c;
  c.kernel = (Kernels{}.*entry).name;
  c.name = fmt::format("{} {}{}", c.kernel, what, list.text());
  c.tolerance = tolerance;
  c.operands = {state_operand(state)};
  args.items = list.items.data();
  const Operands operands = pneuma::operands(args);
  std::vector<std::string> names = {"state"};
  for (const pneuma::Operand& o : operands) {
    const auto drawn = draws.find(o.name);
    names.push_back(o.name);
    c.operands.push_back({o.name, {nullptr, {list.total}, 1, o.view.dtype}, role_of(o), {}});
    if (role_of(o) != Role::result)
      c.operands.back().draw = drawn == draws.end() ? normal() : drawn->second;
  }
  c.bytes = moved(operands);
  c.bind = [=](Memory& memory, const std::vector<View>& views) -> std::function<Status(Stream)> {
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
  return c;
}

}  // namespace

// ---- The kernels, in the order of kernels.h ----------------------------------------------------

Case describe(const ConvolutionForward& a, const Style&) {
  return convolution(&Kernels::convolution_forward, a, a.x, a.w, a.y, {{"w", weights(a.w)}});
}
Case describe(const ConvolutionBackwardData& a, const Style&) {
  return convolution(&Kernels::convolution_backward_data, a, a.dx, a.w, a.dy,
                     {{"w", weights(a.w)}});
}
Case describe(const ConvolutionBackwardWeights& a, const Style&) {
  return convolution(&Kernels::convolution_backward_weights, a, a.x, a.dw, a.dy, {});
}

Case describe(const BatchNormForward& a, const Style&) {
  Case c =
      make(&Kernels::batch_norm_forward,
           fmt::format("{}{}{}", a.residual ? "add " : "", a.relu ? "relu " : "", text(a.x)), a, 32,
           {{"x", normal(0.5, 2)}, {"gamma", uniform(0.5, 2)}, {"running_var", uniform(0.5, 2)}});
  for (Operand& o : c.operands) o.compared = o.name != "relu_mask";
  return c;
}
Case describe(const BatchNormBackward& a, const Style&) {
  return make(
      &Kernels::batch_norm_backward,
      fmt::format("{}{}{}", a.dresidual ? "add " : "", a.relu_mask ? "relu " : "", text(a.x)), a,
      32,
      {{"relu_mask", below(256)},
       {"gamma", uniform(0.5, 2)},
       {"mean", normal(0, 0.1)},
       {"rstd", uniform(0.5, 2)}});
}
Case describe(const BatchNormInference& a, const Style&) {
  return make(
      &Kernels::batch_norm_inference,
      fmt::format("{}{}{}", a.residual ? "add " : "", a.relu ? "relu " : "", text(a.x)), a, 32,
      {{"x", normal(0.5, 2)}, {"gamma", uniform(0.5, 2)}, {"running_var", uniform(0.5, 2)}});
}

Case describe(const MaxPoolForward& a, const Style&) {
  return make(&Kernels::max_pool_forward,
              fmt::format("{} window {} / {}", text(a.x), a.kernel, a.stride), a, 4);
}
Case describe(const MaxPoolBackward& a, const Style&) {
  return make(&Kernels::max_pool_backward,
              fmt::format("{} window {} / {}", text(a.dx), a.kernel, a.stride), a, 4,
              {{"argmax", inner_place}});
}
Case describe(const GlobalAveragePoolForward& a, const Style&) {
  return make(&Kernels::global_average_pool_forward, text(a.x), a, 16, {{"x", normal(1)}});
}
Case describe(const GlobalAveragePoolBackward& a, const Style&) {
  return make(&Kernels::global_average_pool_backward, text(a.dx), a, 16);
}

Case describe(const LinearForward& a, const Style&) {
  Case c = make(&Kernels::linear_forward, fmt::format("{} -> {}", text(a.x), text(a.y)), a, 32,
                {{"w", weights(a.w)}});
  c.flops = 2 * double(a.x.count() * a.w.dims[0]);
  return c;
}
Case describe(const LinearBackward& a, const Style&) {
  Case c = make(&Kernels::linear_backward, fmt::format("{} -> {}", text(a.x), text(a.dy)), a, 32,
                {{"w", weights(a.w)}});
  c.flops = 2 * double(a.x.count() * a.w.dims[0]) * (bool(a.dx) + bool(a.dw));
  return c;
}

Case describe(const PointwiseForward& a, const Style&) {
  return make(&Kernels::pointwise_forward, fmt::format("{} {}", name_of(a.op), text(a.y)), a, 8);
}
Case describe(const PointwiseBackward& a, const Style&) {
  return make(&Kernels::pointwise_backward, fmt::format("{} {}", name_of(a.op), text(a.dy)), a, 8,
              {{"y", uniform(0, 1)}});
}

Case describe(const SigmoidCrossEntropy& given, const Style&) {
  SigmoidCrossEntropy a = given;
  a.state = nullptr;
  return make(&Kernels::sigmoid_cross_entropy, text(a.logits), a, 16,
              {{"logits", normal(0, 2)},
               {"labels", below(2)},
               {"positive_weight", uniform(0.5, 20)},
               {"negative_weight", uniform(0.5, 2)}});
}
Case describe(const SoftmaxCrossEntropy& given, const Style&) {
  SoftmaxCrossEntropy a = given;
  a.state = nullptr;
  return make(&Kernels::softmax_cross_entropy, text(a.logits), a, 16,
              {{"logits", normal(0, 2)}, {"labels", below(uint32_t(a.logits.dims[1]))}});
}

Case describe(const Augment& given, const Style&) {
  Augment a = given;
  const auto items =
      std::make_shared<const std::vector<AugmentItem>>(a.host_items, a.host_items + a.y.dims[0]);
  const AugmentItem& first = items->front();
  a.host_items = items->data();
  Case c = make(&Kernels::augment,
                fmt::format("{} {}x{}x{} -> {}", first.transform ? "affine, colour" : "crop",
                            first.height, first.width, first.channels, text(a.y)),
                a, 2, {{"pixels", below(256)}});
  c.operands[1].raw = bytes_of(items->data(), items->size() * sizeof(AugmentItem));
  c.bind = [items, bind = c.bind](Memory& memory, const std::vector<View>& views) {
    return bind(memory, views);  // `items` live as long as the call
  };
  return c;
}
Case describe(const Resize& a, const Style&) {
  return make(&Kernels::resize, fmt::format("{} -> {}", text(a.x), text(a.y)), a, 0,
              {{"x", below(256)}});
}

Case describe(const GradientCheck& a, const Style& style) {
  return make(&Kernels::gradient_check, "", a, {a.items, a.count, style}, 16, Role::changed);
}
Case describe(const OptimizerStep& a, const Style& style) {
  const bool adam = a.kind == OptimizerKind::adam;
  return make(&Kernels::optimizer_step, fmt::format("{} ", pneuma::name_of(a.kind)), a,
              {a.items, a.count, style}, adam ? 128 : 16,  // 1 - beta_2 in f32 is 1e-5 off
              Role::input, {{"moment1", uniform(0, 1)}, {"moment2", uniform(0, 1)}});
}

Case describe(const Fill& a, const Style&) { return make(&Kernels::fill, text(a.y), a, 1); }
Case describe(const Convert& a, const Style&) {
  return make(&Kernels::convert,
              fmt::format("{} {} to {}", text(a.x), name_of(a.x.dtype), name_of(a.y.dtype)), a, 1);
}

Case matrix_product(int64_t n, Dtype dtype) {
  const View square{nullptr, {n, n}, 2, dtype};
  return describe(LinearForward{square, square, {}, square}, {});
}

}  // namespace pneuma::bench
