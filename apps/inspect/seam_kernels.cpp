#include "apps/inspect/seam_kernels.h"

#include "engine/host_values.h"
#include "engine/ops/ops.h"
#include "engine/optim/optimizer.h"
#include "engine/random.h"

namespace pneuma::inspect {
namespace {

using Request = KernelRequest;

// A drawn tensor, whose gradient is wanted where the context has a tape.
Tensor normal(Context& ctx, const Shape& shape, Dtype dtype) {
  static Random random(1, Purpose::test);
  const Tensor t = ctx.persistent(shape, dtype);
  std::vector<float> values(size_t(shape.count()));
  for (float& v : values) v = float(random.normal());
  set_values(ctx, t, values);
  if (ctx.tape) ctx.tape->watch(t);
  return t;
}
Tensor normal(Context& ctx, const Shape& shape) {
  return normal(ctx, shape, ctx.precision().activation());
}
Tensor channels(Context& ctx, int64_t count) { return normal(ctx, {count}, Dtype::f32); }

Tensor convolution(Context& ctx, const Request& r) {
  const Shape weights{r.channels_out, r.kernel, r.kernel, r.shape[3]};
  return ops::convolution(ctx, normal(ctx, r.shape), normal(ctx, weights), std::max(1, r.stride),
                          r.padding < 0 ? r.kernel / 2 : r.padding);
}
Tensor batch_norm(Context& ctx, const Request& r) {
  const Tensor x = normal(ctx, r.shape), residual = r.residual ? normal(ctx, r.shape) : Tensor();
  const int64_t C = r.shape[3];
  const ops::BatchNormTensors t{channels(ctx, C), channels(ctx, C), channels(ctx, C),
                                ctx.persistent({C}, Dtype::f32)};
  if (r.residual) return ops::batch_norm_add_relu(ctx, x, residual, t);
  return r.relu ? ops::batch_norm_relu(ctx, x, t) : ops::batch_norm(ctx, x, t);
}
Tensor max_pool(Context& ctx, const Request& r) {
  return ops::max_pool(ctx, normal(ctx, r.shape), r.kernel, r.stride ? r.stride : 2,
                       r.padding < 0 ? r.kernel / 2 : r.padding);
}
Tensor average_pool(Context& ctx, const Request& r) {
  return ops::global_average_pool(ctx, normal(ctx, r.shape));
}
Tensor linear(Context& ctx, const Request& r) {
  return ops::linear(ctx, normal(ctx, r.shape), normal(ctx, {r.channels_out, r.shape[1]}),
                     channels(ctx, r.channels_out));
}

struct Formula {
  const char* name;
  Tensor (*run)(Context&, const Tensor& a, const Tensor& b);
  bool two = false;  // operands
};
const Formula& formula_of(const Request& r) {
  using T = const Tensor&;
  static const Formula formulas[] = {
      {"relu", [](Context& c, T a, T) { return ops::relu(c, a); }},
      {"sigmoid", [](Context& c, T a, T) { return ops::sigmoid(c, a); }},
      {"scale", [](Context& c, T a, T) { return ops::scale(c, a, 2); }},
      {"add", ops::add, true},
      {"multiply", ops::multiply, true}};
  for (const Formula& f : formulas)
    if (r.formula == f.name) return f;
  fail(Exit::usage, "--formula {}: known are relu, sigmoid, scale, add, multiply", r.formula);
}
Tensor pointwise(Context& ctx, const Request& r) {
  const Formula& formula = formula_of(r);
  const Tensor a = normal(ctx, r.shape);
  return formula.run(ctx, a, formula.two ? normal(ctx, r.shape) : Tensor());
}

Tensor sigmoid_loss(Context& ctx, const Request& r) {
  return ops::sigmoid_cross_entropy(ctx, normal(ctx, r.shape), ctx.persistent(r.shape, Dtype::f32));
}
Tensor softmax_loss(Context& ctx, const Request& r) {
  return ops::softmax_cross_entropy(ctx, normal(ctx, r.shape),
                                    ctx.persistent({r.shape[0]}, Dtype::i32));
}

// Pictures of the output's size, every second one mirrored.
Tensor augment(Context& ctx, const Request& r) {
  const Shape& s = r.shape;
  const Tensor pixels = ctx.persistent(s, Dtype::u8);
  std::vector<AugmentItem> list;
  for (int64_t i = 0; i < s[0]; ++i)
    list.push_back({.offset = i * (s.count() / s[0]),
                    .height = int32_t(s[1]),
                    .width = int32_t(s[2]),
                    .channels = int32_t(s[3]),
                    .mirror = int32_t(i % 2)});
  const Tensor items = ctx.persistent({int64_t(list.size() * sizeof list[0])}, Dtype::u8);
  ctx.upload(items, list.data(), items.bytes());
  const Tensor y = ctx.tensor(s, ctx.precision().activation());
  ctx.run(&Kernels::augment, {pixels.view(), items.view(), y.view(), {}, {1, 1, 1}, list.data()});
  return y;
}
Tensor resize(Context& ctx, const Request& r) {
  const Shape& s = r.shape;
  const Tensor x = ctx.persistent(s, Dtype::u8);
  const Tensor y = ctx.tensor({s[0], (s[1] + 1) / 2, (s[2] + 1) / 2, s[3]}, Dtype::u8);
  ctx.run(&Kernels::resize, {x.view(), y.view()});
  return y;
}

// One parameter, with the copy that kernels read where that is of 16 bits.
Tensor optimizer(Context& ctx, const Request& r) {
  Parameters parameters;
  parameters.add(ctx, "weight", Role::weight, r.shape);
  Parameter& p = parameters.parameters[0];
  const Dtype dtype = ctx.precision().activation();
  p.gradient = ctx.persistent(r.shape, dtype);
  if (dtype != p.value.dtype()) p.working = ctx.persistent(r.shape, dtype);
  Optimizer(ctx, parameters, {.kind = optimizer_named(r.optimizer)}).step(ctx, 1e-3);
  return p.value;
}
Tensor fill(Context& ctx, const Request& r) {
  const Tensor y = ctx.tensor(r.shape, ctx.precision().activation());
  ctx.run(&Kernels::fill, {y.view(), 1});
  return y;
}
Tensor convert(Context& ctx, const Request& r) {
  const Tensor x = normal(ctx, r.shape, Dtype::f32);
  const Tensor y = ctx.tensor(r.shape, ctx.precision().activation());
  ctx.run(&Kernels::convert, {x.view(), {y.view()}});
  return y;
}

template <auto kEntry>
SeamKernel row(const char* shape, const char* flags, Tensor (*op)(Context&, const Request&),
               const char* library = nullptr) {
  const auto there = [](const Kernels& k) { return (k.*kEntry).run != nullptr; };
  return {(Kernels{}.*kEntry).name, there, shape, flags, library, op};
}

}  // namespace

const std::vector<SeamKernel>& seam_kernels() {
  using K = Kernels;
  constexpr const char *kImages = "N,H,W,C", *kRows = "N,C", *kAny = "", *kNone = "";
  constexpr const char *kConv = "--channels_out --kernel --stride --padding",
                       *kWindow = "--kernel --stride --padding", *kNorm = "--relu --residual";
  static const std::vector<SeamKernel> rows = {
      row<&K::convolution_forward>(kImages, kConv, convolution, "cuDNN"),
      row<&K::convolution_backward_data>(kImages, kConv, convolution, "cuDNN"),
      row<&K::convolution_backward_weights>(kImages, kConv, convolution, "cuDNN"),
      row<&K::batch_norm_forward>(kImages, kNorm, batch_norm),
      row<&K::batch_norm_backward>(kImages, kNorm, batch_norm),
      row<&K::batch_norm_inference>(kImages, kNorm, batch_norm),
      row<&K::max_pool_forward>(kImages, kWindow, max_pool),
      row<&K::max_pool_backward>(kImages, kWindow, max_pool),
      row<&K::global_average_pool_forward>(kImages, kNone, average_pool),
      row<&K::global_average_pool_backward>(kImages, kNone, average_pool),
      row<&K::linear_forward>(kRows, "--channels_out", linear, "cuBLAS"),
      row<&K::linear_backward>(kRows, "--channels_out", linear, "cuBLAS"),
      row<&K::pointwise_forward>(kAny, "--formula", pointwise),
      row<&K::pointwise_backward>(kAny, "--formula", pointwise),
      row<&K::sigmoid_cross_entropy>(kRows, kNone, sigmoid_loss),
      row<&K::softmax_cross_entropy>(kRows, kNone, softmax_loss),
      row<&K::augment>(kImages, kNone, augment),
      row<&K::resize>(kImages, kNone, resize),
      row<&K::gradient_check>(kAny, kNone, optimizer),
      row<&K::optimizer_step>(kAny, "--optimizer", optimizer),
      row<&K::fill>(kAny, kNone, fill),
      row<&K::convert>(kAny, kNone, convert),
  };
  return rows;
}
static_assert(sizeof(Kernels) == 22 * sizeof(Kernel<Fill>), "a kernel of the seam is missing here");

void run(Context& ctx, const SeamKernel& kernel, const KernelRequest& r) {
  const std::string name = kernel.name;
  Tape tape;
  ctx.tape = &tape;  // what losses do goes by it
  ctx.training = name != "batch_norm_inference";
  const Tensor y = kernel.op(ctx, r);
  ctx.tape = nullptr;
  if (name.find("backward") != name.npos) tape.backward(ctx, y, normal(ctx, y.shape(), y.dtype()));
}

}  // namespace pneuma::inspect
