#include "apps/inspect/experiment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "apps/inspect/kernel.h"
#include "engine/host_values.h"
#include "engine/ops/ops.h"
#include "engine/optim/optimizer.h"
#include "engine/random.h"
#include "kernels/open_backend.h"

namespace pneuma::inspect {
namespace {

const Backend& device(const char* name) {
  std::string why;
  if (const Backend* backend = open_backend(name, &why)) return *backend;
  fail(Exit::environment, "this experiment needs the device {}: {}", name, why);
}

Tensor tensor_of(Context& ctx, const Shape& shape, Dtype dtype, const std::vector<double>& values) {
  const Tensor t = ctx.persistent(shape, dtype);
  set_values(ctx, t, std::span<const double>(values));
  return t;
}
double value_of(Context& ctx, const Tensor& t) { return get_values(ctx, t)[0]; }

template <class... Args>
void line(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print("{}\n", fmt::format(format, std::forward<Args>(args)...));
}

constexpr const Precision& (*kPolicies[])() = {float32, float16, bfloat16};

void formats() {
  Context ctx(device("reference"), float64());
  Dtype f = Dtype::f32;
  const auto rounded = [&](double v) {
    return value_of(ctx, ops::cast(ctx, tensor_of(ctx, {1}, Dtype::f64, {v}), f));
  };
  // The smallest power of two for which the format has `number` of it.
  const auto least = [&](auto number) {
    double v = 1;
    while (rounded(number(v / 2)) == number(v / 2)) v /= 2;
    return v;
  };
  const auto eps = [&] { return least([](double v) { return 1 + v; }); };
  const auto row = [&](const std::string& what, auto figure) {
    std::string text;
    for (const auto policy : kPolicies) {
      f = policy().activation();
      text += fmt::format("{:>15.8g}", figure());
    }
    line("{:<32}{}", what, text);
  };
  line("{:<32}{:>15}{:>15}{:>15}", "asked of the engine's cast", "f32", "f16", "bf16");
  row("largest number", [&] {
    double v = 2 - eps();
    while (std::isfinite(rounded(2 * v))) v *= 2;
    return v;
  });
  row("smallest normal number",
      [&] { return least([e = eps()](double v) { return v * (1 + e); }); });
  row("smallest number above 0", [&] { return least([](double v) { return v; }); });
  row("eps: from 1 to the next number", eps);
  for (const double v : {0.1, 2049.0, 70000.0, 1e-6, 2e-8})
    row(fmt::format("{} becomes", v), [&] { return rounded(v); });

  constexpr int64_t kCount = 4096;
  row("4096 ones, each sum rounded", [&] {
    const Tensor one = tensor_of(ctx, {1}, f, {1});
    Tensor sum = tensor_of(ctx, {1}, f, {0});
    for (int64_t i = 0; i < kCount; ++i) sum = ops::add(ctx, sum, one);
    return value_of(ctx, sum);
  });
  row("4096 ones, summed in f32", [&] {
    const Tensor ones = tensor_of(ctx, {1, kCount}, f, std::vector<double>(kCount, 1));
    const Tensor y = ctx.tensor({1, 1}, f);
    ctx.run(&Kernels::linear_forward, {ones.view(), ones.view(), {}, y.view()});
    return value_of(ctx, y);
  });
}

void loss() {
  Context ctx(device("reference"), float16());
  const Tensor label = tensor_of(ctx, {1, 1}, Dtype::f32, {0});
  line("{:<10}{:>28}{:>32}", "label 0", "loss of the logit in f32", "loss of a probability in f16");
  line("{:<10}{:>16}{:>12}{:>20}{:>12}", "f16 logit", "loss", "gradient", "loss", "gradient");
  for (const double logit : {2.0, 6.0, 8.0, 9.0, 18.0}) {
    std::string text;
    for (const bool of_logit : {true, false}) {
      const Tensor z = tensor_of(ctx, {1, 1}, Dtype::f16, {logit});
      Tape tape;
      tape.watch(z);
      const Recording recording(ctx, tape);
      const Tensor end = of_logit ? ops::cast(ctx, z, Dtype::f32) : ops::sigmoid(ctx, z);
      double loss;
      if (of_logit) {
        const Tensor l = ops::sigmoid_cross_entropy(ctx, end, label);
        loss = value_of(ctx, l);
        tape.backward(ctx, l);
      } else {  // -log(1 - p), whose derivative is 1 / (1 - p)
        const double rest = 1 - value_of(ctx, end);
        loss = -std::log(rest);
        tape.backward(ctx, end, tensor_of(ctx, {1, 1}, Dtype::f16, {1 / rest}));
      }
      text += fmt::format("{:>{}.3f}{:>12.3f}", loss, of_logit ? 16 : 20,
                          std::abs(value_of(ctx, tape.gradient_of(z))));
    }
    line("{:<10}{}", logit, text);
  }
}

// The network of apps/examples/first_step.cpp, which learns that a point lies inside a circle. The
// loss is multiplied by `weight` and the learning rate divided by it: but for rounding, no change.
struct Circle {
  double weight, learning_rate;
  ScalerPolicy scaler;
  bool masters;
  int steps;

  struct Result {
    double first_loss, last_loss;  // without the weight
    double zeros;  // share of the hidden weights whose gradient was 0 in the first step...
    double stuck;  // ...and that had a gradient in the last and did not move
    StepState state;
  };
  Result train(const Precision& precision) const;
};

Circle::Result Circle::train(const Precision& precision) const {
  Context ctx(device("reference"), precision);
  Random random(1, Purpose::test);
  std::vector<double> points, inside;
  for (int i = 0; i < 256; ++i) {
    const double x = random.uniform(-1, 1), y = random.uniform(-1, 1);
    points.insert(points.end(), {x, y});
    inside.push_back(x * x + y * y < 0.6);
  }
  const Tensor input = tensor_of(ctx, {256, 2}, precision.activation(), points);
  const Tensor labels = tensor_of(ctx, {256, 1}, Dtype::f32, inside);
  const Tensor weights = tensor_of(ctx, {1}, Dtype::f32, {weight});
  const Tensor last = ctx.persistent({1}, Dtype::f32);
  Parameters net;
  const auto add = [&](const char* name, Role role, Shape shape) {
    net.add(ctx, name, role, shape);
    Parameter& p = net.parameters.back();
    if (p.working && !masters) p.value = std::exchange(p.working, {});
    std::vector<double> start(size_t(shape.count()));
    for (double& v : start) v = random.normal() / 2;
    set_values(ctx, p.value, std::span<const double>(start));
    return p.read();
  };
  const Tensor w1 = add("hidden.weight", Role::weight, {16, 2}), b1 = add("b1", Role::bias, {16});
  const Tensor w2 = add("output.weight", Role::weight, {1, 16}), b2 = add("b2", Role::bias, {1});
  net.write_working(ctx);
  net.make_gradients(ctx);
  Optimizer sgd(ctx, net, {.kind = OptimizerKind::sgd, .momentum = 0}, scaler);
  const auto zeros = [](const std::vector<double>& values) {
    return 100 * double(std::ranges::count(values, 0.0)) / double(values.size());
  };
  Result result{};
  for (int step = 0; step < steps; ++step) {
    std::vector<double> moved = get_values(ctx, net.parameters[0].value);
    train_step(ctx, net, sgd, learning_rate / weight, [&](Context& c) {
      const Tensor h = ops::relu(c, ops::linear(c, input, w1, b1));
      const Tensor z = ops::cast(c, ops::linear(c, h, w2, b2), Dtype::f32);
      const Tensor loss =
          ops::sigmoid_cross_entropy(c, z, labels, weights, weights, sgd.device_state());
      c.run(&Kernels::convert, {loss.view(), {last.view()}});
      return loss;
    });
    const std::vector<double> gradient = get_values(ctx, net.parameters[0].gradient);
    const std::vector<double> now = get_values(ctx, net.parameters[0].value);
    for (size_t i = 0; i < moved.size(); ++i) moved[i] -= now[i];
    result.last_loss = value_of(ctx, last) / weight;
    result.stuck = zeros(moved) - zeros(gradient);
    if (step == 0) result.first_loss = result.last_loss, result.zeros = zeros(gradient);
  }
  result.state = sgd.state(ctx);
  return result;
}

void scaler() {
  line("{:<26}{:>15}{:>10}{:>11}{:>13}{:>12}", "400 steps of SGD", "gradients of 0", "skipped",
       "scale now", "first loss", "last loss");
  const auto row = [](const char* what, const Precision& precision, const ScalerPolicy& policy) {
    const auto r = Circle{0x1p-18, 0.25, policy, true, 400}.train(precision);
    line("{:<26}{:>13.0f} %{:>10}{:>11}{:>13.3f}{:>12.3f}", what, r.zeros, r.state.skipped,
         fmt::format("2^{}", std::log2(r.state.loss_scale)), r.first_loss, r.last_loss);
  };
  row("f32, no scale", float32(), {});
  row("f16, no scale", float16(), {});
  row("f16, fixed scale 2^16", float16(), {.start = 0x1p16});
  row("f16, fixed scale 2^44", float16(), {.start = 0x1p44});
  row("f16, dynamic from 2^16", float16(), {.dynamic = true, .start = 0x1p16, .interval = 100});
  row("f16, dynamic from 2^44", float16(), {.dynamic = true, .start = 0x1p44, .interval = 100});
}

void master() {
  line("{:<30}{:>14}{:>13}{:>12}", "4000 steps of SGD", "do not move", "first loss", "last loss");
  for (const auto policy : kPolicies)
    for (const bool masters : {true, false}) {
      const bool single = policy == float32;
      if (single && !masters) continue;
      const auto r = Circle{1, 0.02, {.start = 0x1p10}, masters, 4000}.train(policy());
      line("{:<30}{:>12.0f} %{:>13.3f}{:>12.3f}",
           fmt::format("{} weights{}", name_of(policy().weight()),
                       single    ? ""
                       : masters ? " and an f32 master"
                                 : " alone"),
           r.stuck, r.first_loss, r.last_loss);
    }
}

void statistics() {
  constexpr int kCount = 4096;
  const Backend& cpu = device("cpu");
  std::vector<double> x(kCount);
  // Mean and biased variance as the engine's batch norm has them.
  const auto batch_norm = [&] {
    Context ctx(cpu);
    ctx.training = true;
    const auto one = [&] { return ctx.persistent({1}, Dtype::f32); };
    const ops::BatchNormTensors t{{}, one(), one(), one()};
    ops::batch_norm(ctx, tensor_of(ctx, {4, 32, 32, 1}, Dtype::f32, x), t, {.momentum = 1});
    return std::pair(value_of(ctx, t.running_mean),
                     value_of(ctx, t.running_var) * (kCount - 1) / kCount);
  };
  line("{:<10}{:>14}{:>14}{:>22}", "mean of x", "variance", "batch norm", "mean(x^2) - mean^2");
  for (const double centre : {0.0, 10.0, 100.0, 1000.0, 10000.0}) {
    Random random(1, Purpose::test);
    for (double& v : x) v = float(centre + random.normal());
    float sum = 0, squares = 0;
    double exact_mean = 0, exact = 0;
    for (const double v : x) {
      sum += float(v), squares += float(v) * float(v);
      exact_mean += v / kCount;
    }
    for (const double v : x) exact += (v - exact_mean) * (v - exact_mean) / kCount;
    const float mean = sum / kCount;
    line("{:<10}{:>14.4f}{:>14.4f}{:>22.4f}", centre, exact, batch_norm().second,
         squares / kCount - mean * mean);
  }
  // The last x, summed by threads: each its part, then the parts.
  line("\n{:<10}{:>28}{:>22}", "threads", "sum of a part by each", "batch norm's mean");
  const double first = batch_norm().first;
  line("{:<10}{:>28.0f}", "in f64", std::accumulate(x.begin(), x.end(), 0.0));
  for (const int threads : {1, 2, 4, 8}) {
    float sum = 0;
    for (int t = 0, i = 0; t < threads; ++t) {
      float part = 0;
      for (; i < kCount / threads * (t + 1); ++i) part += float(x[size_t(i)]);
      sum += part;
    }
    cpu.device.set_threads(threads);
    line("{:<10}{:>28.0f}{:>22}", threads, sum,
         batch_norm().first == first ? "the same bits" : "other bits");
  }
}

void gpu() {
  constexpr double kBytesPerSecond = 900e9;  // of a V100's memory
  line("{:<20}{:<13}{:>5}{:>10}{:>10}{:>17}{:>14}", "kernel", "shape", "", "bytes", "sectors",
       "over the least", "V100 at best");
  const auto row = [](const char* name, const Shape& shape, const Precision& precision) {
    const Traffic t =
        count_traffic(device("host_cuda"), kernel_named(name), {.shape = shape}, precision);
    double sectors = 0, least = 0;
    for (const auto& launch : t.launches)
      sectors += double(launch.sectors), least += double(launch.least_sectors);
    line("{:<20}{:<13}{:>5}{:>10.0f}{:>10.0f}{:>17.2f}{:>11.2f} us", name, shape.text(),
         name_of(precision.activation()), t.moved(), sectors, sectors / least,
         sectors * 32 / kBytesPerSecond * 1e6);
  };
  for (const auto policy : {float32, float16}) {
    row("pointwise_forward", {8, 28, 28, 64}, policy());
    row("batch_norm_forward", {8, 28, 28, 64}, policy());
    row("optimizer_step", {100000}, policy());
  }
  row("batch_norm_forward", {8, 28, 28, 60}, float16());
}

constexpr struct {
  const char* name;
  void (*run)();
} kExperiments[] = {{"formats", formats},       {"loss", loss},
                    {"scaler", scaler},         {"master", master},
                    {"statistics", statistics}, {"gpu", gpu}};

}  // namespace

CLI::App* add_experiment_command(CLI::App& app, std::string& name) {
  CLI::App& c = *app.add_subcommand("experiment", "Run an experiment of docs/precision");
  std::set<std::string> names;
  for (const auto& e : kExperiments) names.insert(e.name);
  c.add_option("name", name, "Which")->required()->check(CLI::IsMember(names));
  return &c;
}

void run_experiment(const std::string& name) {
  for (const auto& e : kExperiments)
    if (name == e.name) e.run();
}

}  // namespace pneuma::inspect
