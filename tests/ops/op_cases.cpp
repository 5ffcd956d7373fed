#include "tests/ops/op_cases.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "engine/host_values.h"
#include "engine/optim/optimizer.h"
#include "kernels/half.h"

namespace pneuma::testing {
namespace {

using Draw = std::function<double(Random&)>;
using Tensors = std::vector<Tensor>;

Draw normal(double mean = 0, double deviation = 1) {
  return [=](Random& r) { return mean + deviation * r.normal(); };
}
Draw uniform(double low, double high) {
  return [=](Random& r) { return r.uniform(low, high); };
}
Draw levels(uint32_t n) {  // 0 .. n-1
  return [=](Random& r) { return double(r.below(n)); };
}
Draw label(bool unknown) {  // 0, 1, something between, or unknown
  return [=](Random& r) {
    const uint32_t k = r.below(8);
    return k == 0 && unknown ? NAN : k == 1 ? r.uniform() : double(k % 2);
  };
}

std::string titled(std::string name, const std::string& what) {
  return what.empty() ? name : name + " " + what;
}

Input differentiable(Shape shape, Draw draw) { return {shape, std::move(draw), true}; }
Input master(Shape shape, Draw draw, bool gradient = false) {
  return {shape, std::move(draw), gradient, {}, false, true};
}

double rounded(double value, Dtype dtype) {
  const float v = float(value);
  return dtype == Dtype::f16 ? Half(v) : dtype == Dtype::bf16 ? Bfloat16(v) : v;
}

OpCase convolution(const char* name, Shape x, Shape w, int stride, int padding) {
  const double fan_in = double(w[1] * w[2] * w[3]);
  OpCase c{
      fmt::format("convolution {} {} * {} / {} + {}", name, x.text(), w.text(), stride, padding),
      {differentiable(x, normal()), differentiable(w, normal(0, 1 / std::sqrt(fan_in)))},
      [=](Context& ctx, const Tensors& in) {
        return Tensors{ops::convolution(ctx, in[0], in[1], stride, padding)};
      },
      32};
  // oneDNN splits these sums by its threads.
  c.thread_gaps = {{"cpu", "gradient 0"}, {"cpu", "gradient 1"}};
  return c;
}

enum class Fused { plain, relu, add_relu };

// Inputs: x, residual, gamma, beta, running mean, running variance.
OpCase batch_norm(Fused fused, Shape x, bool gamma = true, bool training = true,
                  Draw draw = normal(0.5, 2), double tolerance = 32) {
  const char* names[] = {"batch_norm", "batch_norm_relu", "batch_norm_add_relu"};
  const Shape c = {x[3]};
  return {fmt::format("{} {}{}{}", names[int(fused)], x.text(), gamma ? "" : " without gamma",
                      training ? "" : " inference"),
          {{x, std::move(draw), training},
           {x, normal(), training && fused == Fused::add_relu},
           master(c, uniform(0.5, 2), training && gamma),
           master(c, normal(), training),
           master(c, normal()),
           master(c, uniform(0.5, 2))},
          [=](Context& ctx, const Tensors& in) {
            const ops::BatchNormTensors t{gamma ? in[2] : Tensor(), in[3], in[4], in[5]};
            return Tensors{fused == Fused::plain  ? ops::batch_norm(ctx, in[0], t)
                           : fused == Fused::relu ? ops::batch_norm_relu(ctx, in[0], t)
                                                  : ops::batch_norm_add_relu(ctx, in[0], in[1], t)};
          },
          tolerance,
          training};
}

OpCase max_pool(Shape x, int kernel, int stride, int padding, bool ties = false) {
  return {fmt::format("max_pool {} window {} / {} + {}{}", x.text(), kernel, stride, padding,
                      ties ? " with ties" : ""),
          {differentiable(x, ties ? levels(3) : normal())},
          [=](Context& ctx, const Tensors& in) {
            return Tensors{ops::max_pool(ctx, in[0], kernel, stride, padding)};
          },
          4,
          true,
          !ties};
}

OpCase average(Shape x) {
  return {fmt::format("global_average_pool {}", x.text()),
          {differentiable(x, normal(1))},
          [](Context& ctx, const Tensors& in) {
            return Tensors{ops::global_average_pool(ctx, in[0])};
          }};
}

OpCase linear(int64_t n, int64_t i, int64_t o) {
  return {
      fmt::format("linear {} x {} -> {}", n, i, o),
      {differentiable({n, i}, normal()),
       differentiable({o, i}, normal(0, 1 / std::sqrt(double(i)))), master({o}, normal(), true)},
      [](Context& ctx, const Tensors& in) {
        return Tensors{ops::linear(ctx, in[0], in[1], in[2])};
      },
      32};
}

OpCase pointwise(const char* name, Shape shape, Draw draw,
                 std::function<Tensor(Context&, const Tensor&, const Tensor&)> op,
                 bool smooth = true, double tolerance = 8) {
  return {fmt::format("{} {}", name, shape.text()),
          {differentiable(shape, draw), differentiable(shape, draw)},
          [=](Context& ctx, const Tensors& in) { return Tensors{op(ctx, in[0], in[1])}; },
          tolerance,
          true,
          smooth};
}

// A StepState on the device, with a loss scale.
Tensor state_tensor(Context& ctx, double loss_scale) {
  StepState state;
  state.loss_scale = loss_scale;
  Tensor t = ctx.persistent({int64_t(sizeof state)}, Dtype::u8);
  ctx.upload(t, &state, sizeof state);
  return t;
}

OpCase sigmoid_loss(const char* what, int64_t n, int64_t c, Draw logits, bool weights, bool unknown,
                    double scale = 1) {
  return {titled(fmt::format("sigmoid_cross_entropy {} x {}", n, c), what),
          {differentiable({n, c}, std::move(logits)), master({n, c}, label(unknown)),
           master({c}, uniform(0.5, 20)), master({c}, uniform(0.5, 2))},
          [=](Context& ctx, const Tensors& in) {
            const Tensor state = state_tensor(ctx, scale);
            return Tensors{ops::sigmoid_cross_entropy(
                ctx, in[0], in[1], weights ? in[2] : Tensor(), weights ? in[3] : Tensor(),
                scale == 1 ? nullptr : state.data<StepState>())};
          },
          16,
          true,
          true,
          scale};
}

OpCase softmax_loss(const char* what, int64_t n, uint32_t c, Draw logits) {
  return {titled(fmt::format("softmax_cross_entropy {} x {}", n, c), what),
          {differentiable({n, c}, std::move(logits)), {{n}, levels(c), false, {}, true}},
          [](Context& ctx, const Tensors& in) {
            return Tensors{ops::softmax_cross_entropy(ctx, in[0], in[1])};
          }};
}

OpCase augment(const char* what, std::vector<AugmentItem> items, Shape y) {
  std::vector<uint8_t> pixels, raw(items.size() * sizeof(AugmentItem));
  Random random(1, Purpose::test);
  for (AugmentItem& item : items) {
    item.offset = int64_t(pixels.size());
    for (int64_t k = int64_t{item.height} * item.width * item.channels; k > 0; --k)
      pixels.push_back(uint8_t(random.below(256)));
  }
  std::memcpy(raw.data(), items.data(), raw.size());
  return {fmt::format("augment {} -> {}", what, y.text()),
          {{{int64_t(pixels.size())}, {}, false, pixels}, {{int64_t(raw.size())}, {}, false, raw}},
          [=](Context& ctx, const Tensors& in) {
            const float mean[] = {123.675f, 116.28f, 103.53f}, std[] = {58.395f, 57.12f, 57.375f};
            const Tensor images =
                ctx.tensor(y, ctx.precision()[OpKind::convolution].input, "augment");
            ops::augment(ctx, in[0], in[1], items.data(), mean, std, images);
            return Tensors{images};
          },
          2};
}

// Three steps over several tensors; `bad`: the second step's second gradient holds an infinity.
OpCase optimizer(OptimizerKind kind, const char* what, OptimizerSettings settings,
                 double loss_scale, bool bad = false) {
  settings.kind = kind;
  std::vector<Input> inputs;
  for (const Shape& s : {Shape{5, 7}, Shape{1}, Shape{3, 3, 2, 9}, Shape{4099}}) {
    inputs.push_back(master(s, normal()));
    inputs.push_back({s, normal(0, loss_scale)});
  }
  return {
      titled(fmt::format("optimizer {}", name_of(kind)), what), inputs,
      [=](Context& ctx, const Tensors& in) {
        Parameters p;
        for (size_t k = 0; k < in.size() / 2; ++k) {
          const Role role = k == 1 ? Role::bias : Role::weight;
          p.parameters.push_back({fmt::format("w{}", k), role, in[2 * k], in[2 * k + 1], {}});
          // Every other one with a copy that kernels read.
          if (k % 2 == 0)
            p.parameters[k].working = ctx.persistent(in[2 * k].shape(), in[2 * k + 1].dtype());
        }
        ScalerPolicy scaler;
        scaler.dynamic = true;
        Optimizer optimizer(ctx, p, settings, scaler);
        StepState state;
        state.loss_scale = loss_scale;
        optimizer.set_state(ctx, state);
        Tensors out;
        for (int step = 0; step < 3; ++step) {
          if (bad && step == 1) {
            std::vector<double> g = get_values(ctx, in[5]);
            g[31] = INFINITY;
            set_values(ctx, in[5], std::span<const double>(g));
          }
          optimizer.step(ctx, settings.learning_rate);
        }
        state = optimizer.state(ctx);
        const double numbers[] = {state.gradient_norm,   double(state.step),
                                  double(state.skipped), double(state.first_bad),
                                  state.gradient_scale,  state.loss_scale};
        out.push_back(ctx.persistent({6}, ctx.precision().master));
        set_values(ctx, out[0], std::span<const double>(numbers));
        for (const Buffer& m : optimizer.moments()) out.push_back(m.value);
        for (const Parameter& parameter : p.parameters)
          if (!bad && parameter.working) out.push_back(parameter.working);
        return out;
      },
      kind == OptimizerKind::adam ? 128.0 : 16.0};  // 1 - beta_2 in f32 is 1e-5 off, as in MXNet
}

// Tensors of one element each, so that one block has many partial sums to join; then the one before
// the last becomes infinite.
OpCase gradient_check(int64_t count) {
  return {fmt::format("gradient_check of {} tensors", count),
          {{{count}, normal()}},
          [=](Context& ctx, const Tensors& in) {
            std::vector<ParameterUpdate> items;
            for (int64_t k = 0; k < count; ++k) {
              ParameterUpdate item{};
              item.gradient = in[0].data<uint8_t>() + k * int64_t(size_of(in[0].dtype()));
              item.gradient_dtype = in[0].dtype();
              item.count = 1;
              item.first_chunk = k;
              items.push_back(item);
            }
            const size_t bytes = items.size() * sizeof(ParameterUpdate);
            const Tensor device_items = ctx.persistent({int64_t(bytes)}, Dtype::u8);
            ctx.upload(device_items, items.data(), bytes);
            const Tensor state = state_tensor(ctx, 1);
            const auto check = [&] {
              ctx.run(&Kernels::gradient_check, {items.data(),
                                                 device_items.data<ParameterUpdate>(),
                                                 count,
                                                 state.data<StepState>(),
                                                 {},
                                                 {}});
            };
            check();
            std::vector<double> g = get_values(ctx, in[0]);
            g[size_t(count - 2)] = INFINITY;
            set_values(ctx, in[0], std::span<const double>(g));
            check();
            StepState said;
            ctx.download(&said, state, sizeof said);
            const double numbers[] = {said.gradient_norm, double(said.first_bad)};
            const Tensor out = ctx.persistent({2}, ctx.precision().master);
            set_values(ctx, out, std::span<const double>(numbers));
            return Tensors{out};
          }};
}

OpCase fill(Shape shape, double value) {
  return {fmt::format("fill {} with {}", shape.text(), value),
          {{shape, normal()}},
          [=](Context& ctx, const Tensors& in) {
            ctx.run(&Kernels::fill, {in[0].view(), value});
            return Tensors{in[0]};
          },
          1};
}

OpCase convert(Shape shape, bool add, bool to_master) {
  Input x{shape, normal()}, y{shape, normal()};
  (to_master ? y : x).master = true;
  return {fmt::format("convert {}{}{}", shape.text(), to_master ? " to master" : " from master",
                      add ? " and add" : ""),
          {x, y},
          [=](Context& ctx, const Tensors& in) {
            Gradient y{in[1].view()};
            y.add = add;
            ctx.run(&Kernels::convert, {in[0].view(), y});
            return Tensors{in[1]};
          },
          1};
}

OpCase resize(Shape x, int64_t height, int64_t width, bool antialias) {
  std::vector<uint8_t> pixels(size_t(x.count()));
  Random random(1, Purpose::test);
  for (uint8_t& p : pixels) p = uint8_t(random.below(256));
  OpCase c{
      fmt::format("resize {} to {} x {}{}", x.text(), height, width, antialias ? "" : " linear"),
      {{x, {}, false, pixels}},
      [=](Context& ctx, const Tensors& in) {
        const Tensor y = ctx.persistent({x[0], height, width, x[3]}, Dtype::u8);
        ctx.run(&Kernels::resize, {in[0].view(), y.view(), antialias, {}});
        return Tensors{y};
      },
      0};
  c.gaps = {"cpu"};  // there data/ resizes while it decodes
  return c;
}

}  // namespace

std::vector<OpCase> op_cases() {
  std::vector<OpCase> cases = {
      convolution("1x1", {2, 6, 5, 64}, {32, 1, 1, 64}, 1, 0),
      convolution("shortcut", {2, 9, 7, 32}, {48, 1, 1, 32}, 2, 0),
      convolution("3x3", {2, 8, 8, 16}, {16, 3, 3, 16}, 1, 1),
      convolution("3x3", {3, 9, 11, 24}, {40, 3, 3, 24}, 2, 1),
      convolution("3x3", {1, 7, 7, 128}, {128, 3, 3, 128}, 1, 1),
      convolution("stem", {2, 21, 18, 3}, {16, 7, 7, 3}, 2, 3),
      convolution("odd", {1, 5, 6, 5}, {7, 3, 3, 5}, 1, 0),
      convolution("one pixel", {2, 1, 1, 8}, {9, 3, 3, 8}, 1, 1),
      convolution("an unread border", {1, 7, 6, 4}, {4, 2, 2, 4}, 3, 0),
  };
  for (const Fused fused : {Fused::plain, Fused::relu, Fused::add_relu}) {
    cases.push_back(batch_norm(fused, {2, 5, 7, 3}));
    cases.push_back(batch_norm(fused, {4, 6, 6, 64}));
    cases.push_back(batch_norm(fused, {3, 4, 5, 17}, false));
    cases.push_back(batch_norm(fused, {2, 3, 5, 19}, true, false));
    cases.push_back(batch_norm(fused, {2, 3, 5, 32}, false, false));
  }
  // More channels than stand side by side in a block, the last of them with few; more chunks of
  // rows than a block joins at a time.
  cases.push_back(batch_norm(Fused::add_relu, {1, 3, 5, 328}));
  cases.push_back(batch_norm(Fused::add_relu, {2, 3, 5, 328}, true, false));
  cases.push_back(batch_norm(Fused::relu, {4, 33, 33, 3}));
  // One pass over E[x^2] - mean^2 fails these. x itself holds `mean` eps, which y shows.
  for (const double mean : {1e3, 1e4}) {
    cases.push_back(
        batch_norm(Fused::plain, {4, 32, 32, 8}, true, true, normal(mean, 1), mean / 4));
    cases.back().name += fmt::format(" mean 1e{}", mean > 1e3 ? 4 : 3);
    cases.back().smooth = false;  // differences drown in the rounding of x
  }
  cases.push_back(max_pool({2, 9, 7, 5}, 3, 2, 1));
  cases.push_back(max_pool({1, 8, 8, 32}, 3, 2, 1));
  cases.push_back(max_pool({2, 8, 8, 32}, 3, 2, 1, true));
  cases.push_back(max_pool({2, 7, 6, 3}, 2, 2, 0));
  cases.push_back(max_pool({1, 5, 5, 17}, 3, 1, 1));
  cases.push_back(max_pool({2, 35, 37, 3}, 3, 2, 1));  // several tiles, down and across
  cases.push_back(max_pool({1, 5, 4, 72}, 3, 2, 1));
  cases.push_back(average({2, 7, 7, 33}));
  cases.push_back(average({2, 5, 7, 72}));
  cases.push_back(average({3, 1, 1, 5}));
  cases.push_back(linear(4, 33, 14));
  cases.push_back(linear(3, 512, 14));
  cases.push_back(linear(1, 16, 1));
  cases.push_back(linear(37, 24, 14));
  cases.push_back(linear(9, 12, 67));
  const auto relu = [](Context& ctx, const Tensor& a, const Tensor&) { return ops::relu(ctx, a); };
  const auto sigmoid = [](Context& ctx, const Tensor& a, const Tensor&) {
    return ops::sigmoid(ctx, a);
  };
  const auto scale = [](Context& ctx, const Tensor& a, const Tensor&) {
    return ops::scale(ctx, a, -1.75);
  };
  const auto twice = [](Context& ctx, const Tensor& a, const Tensor&) {
    return ops::add(ctx, a, a);
  };
  const auto square = [](Context& ctx, const Tensor& a, const Tensor&) {
    return ops::multiply(ctx, a, a);
  };
  const Shape shape = {3, 5, 11};
  cases.push_back(pointwise("relu", shape, normal(), relu));
  cases.push_back(pointwise("relu at 0", shape, levels(2), relu, false));
  cases.push_back(pointwise("sigmoid", shape, normal(0, 3), sigmoid));
  // The gradient y (1 - y) cancels where y is next to 1.
  cases.push_back(pointwise("sigmoid far out", shape, uniform(-80, 80), sigmoid, true, 64));
  cases.push_back(pointwise("scale", shape, normal(), scale));
  cases.push_back(pointwise("add", shape, normal(), ops::add));
  cases.push_back(pointwise("add to itself", shape, normal(), twice));
  cases.push_back(pointwise("multiply", shape, normal(), ops::multiply));
  cases.push_back(pointwise("square", shape, normal(), square));
  cases.push_back(pointwise("multiply", {5, 421}, normal(), ops::multiply));  // several blocks
  cases.push_back(sigmoid_loss("", 4, 14, normal(0, 2), false, false));
  cases.push_back(sigmoid_loss("weighted, unknown labels", 5, 14, normal(0, 2), true, true));
  cases.push_back(sigmoid_loss("far out", 16, 14, uniform(-80, 80), true, true));
  cases.push_back(sigmoid_loss("loss scale 1024", 3, 5, normal(), true, true, 1024));
  cases.push_back(sigmoid_loss("weighted, unknown labels", 41, 14, normal(0, 2), true, true));
  cases.push_back(softmax_loss("", 5, 14, normal(0, 2)));
  cases.push_back(softmax_loss("", 19, 40, normal(0, 2)));
  cases.push_back(softmax_loss("far out", 7, 3, uniform(-80, 80)));
  cases.push_back(
      augment("colour", {{0, 12, 11, 3, 0, 0, 0}, {0, 9, 10, 3, 1, 3, 1}}, {2, 8, 7, 3}));
  cases.push_back(
      augment("gray", {{0, 8, 17, 1, 0, 0, 0}, {0, 30, 20, 1, 22, 3, 1}}, {2, 8, 17, 3}));
  cases.push_back(
      augment("gray", {{0, 23, 49, 1, 1, 0, 0}, {0, 22, 50, 1, 0, 2, 1}}, {2, 22, 48, 3}));
  cases.push_back(augment("gray to one", {{0, 6, 5, 1, 1, 1, 1}}, {1, 4, 4, 1}));
  // Numbers of few bits, so that no place between two pixels is rounded.
  AugmentItem turned{0, 14, 13, 3, 2, 1, 1, -20, 30, 50, 1};
  std::ranges::copy(std::to_array({0.9375f, -0.1875f, 1.5f, 0.1875f, 1.0625f, -2.25f}),
                    turned.affine);
  turned.border = 127;
  AugmentItem tinted{0, 12, 12, 1, 0, 2, 0, 90, -40, 120};
  cases.push_back(augment("affine, colour", {turned, tinted}, {2, 11, 10, 3}));
  turned.channels = 1;
  cases.push_back(augment("affine, one channel", {turned}, {1, 9, 12, 1}));
  for (const OptimizerKind kind :
       {OptimizerKind::sgd, OptimizerKind::nag, OptimizerKind::adam, OptimizerKind::rmsprop}) {
    cases.push_back(optimizer(kind, "", {.learning_rate = 0.01}, 1));
    cases.push_back(optimizer(kind, "decay, clip, loss scale",
                              {.learning_rate = 0.01, .weight_decay = 0.1, .clip_norm = 3}, 1024));
    cases.push_back(optimizer(kind, "a bad step", {.learning_rate = 0.01}, 8, true));
  }
  cases.push_back(gradient_check(1100));
  for (const Shape& s : {Shape{3, 37}, Shape{5, 421}}) {
    for (const double value : {0.0, -1.5}) cases.push_back(fill(s, value));
    for (const bool to_master : {false, true})
      for (const bool add : {false, true}) cases.push_back(convert(s, add, to_master));
  }
  cases.push_back(resize({2, 9, 13, 1}, 5, 7, true));
  cases.push_back(resize({1, 6, 5, 3}, 17, 11, true));
  cases.push_back(resize({1, 40, 33, 4}, 11, 8, false));
  cases.push_back(resize({1, 3, 300, 1}, 2, 150, true));
  cases.push_back(resize({1, 120, 1300, 1}, 2, 20, true));  // a hundred and more taps
  for (OpCase& c : cases)
    for (const char* name : {"max_pool", "relu", "scale", "add", "multiply", "square", "augment",
                             "fill", "convert", "resize"})
      c.exact |= c.name.starts_with(name);
  return cases;
}

std::vector<std::vector<double>> draw_inputs(const OpCase& c, Dtype activation) {
  std::vector<std::vector<double>> all;
  for (size_t k = 0; k < c.inputs.size(); ++k) {
    Random random(7, Purpose::test, uint32_t(k));
    std::vector<double> values;
    if (c.inputs[k].draw)
      for (int64_t i = c.inputs[k].shape.count(); i > 0; --i)
        values.push_back(
            rounded(c.inputs[k].draw(random), c.inputs[k].master ? Dtype::f32 : activation));
    all.push_back(values);
  }
  return all;
}

std::vector<double> output_gradient(int64_t count, Dtype activation) {
  Random random(8, Purpose::test);
  std::vector<double> dy(size_t(count), 1.0);  // a loss is its own end
  if (count > 1)
    for (double& d : dy) d = rounded(random.normal(), activation);
  return dy;
}

std::vector<Result> execute(Context& ctx, const OpCase& c, Use use,
                            const std::vector<std::vector<double>>& inputs, bool backward,
                            Dtype activation) {
  Tensors in;
  Tape tape;
  bool wanted = false;
  for (size_t k = 0; k < c.inputs.size(); ++k) {
    const Input& input = c.inputs[k];
    const Dtype dtype = !input.bytes.empty() ? Dtype::u8
                        : input.integer      ? Dtype::i32
                        : input.master       ? ctx.precision().master
                                             : ctx.precision().activation();
    in.push_back(ctx.persistent(input.shape, dtype));
    if (dtype == Dtype::u8) {
      ctx.upload(in[k], input.bytes.data(), input.bytes.size());
    } else if (dtype == Dtype::i32) {
      const std::vector<int32_t> values(inputs[k].begin(), inputs[k].end());
      ctx.upload(in[k], values.data(), values.size() * sizeof(int32_t));
    } else {
      set_values(ctx, in[k], std::span<const double>(inputs[k]));
    }
    if (input.gradient) tape.watch(in[k]);
    wanted |= input.gradient;
  }
  backward = backward && wanted;
  ctx.training = c.training;
  ctx.tape = backward ? &tape : nullptr;
  std::vector<Result> results;
  Tensors out = c.run(ctx, in);
  const bool number = out[0].dtype() != Dtype::u8;
  if (use == Use::twice && number) out[0] = ops::add(ctx, out[0], c.run(ctx, in)[0]);
  for (size_t k = 0; k < out.size(); ++k)
    results.push_back({fmt::format("result {}", k), get_values(ctx, out[k]), out[k].dtype()});
  if (backward) {
    const Tensor dy = ctx.tensor(out[0].shape(), out[0].dtype());
    set_values(ctx, dy, std::span<const double>(output_gradient(dy.shape().count(), activation)));
    tape.backward(ctx, out[0], dy);
  }
  for (size_t k = 0; k < in.size(); ++k) {
    const Tensor gradient = tape.gradient_of(in[k]);
    if (gradient)
      results.push_back(
          {fmt::format("gradient {}", k), get_values(ctx, gradient), gradient.dtype()});
    results.push_back(
        {fmt::format("input {} afterwards", k), get_values(ctx, in[k]), in[k].dtype()});
  }
  ctx.tape = nullptr;
  return results;
}

}  // namespace pneuma::testing
