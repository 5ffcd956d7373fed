// A batch that is run in parts: gradients and loss are those of the undivided batch, its memory is
// that of a part.
#include <doctest/doctest.h>

#include <numeric>

#include "engine/ops/ops.h"
#include "engine/optim/optimizer.h"
#include "models/resnet.h"
#include "tests/devices.h"
#include "tests/network.h"

using namespace pneuma;
using Values = std::vector<double>;

namespace {

constexpr int64_t kBatch = 8, kSide = 6, kClasses = 3;

// Convolution, pooling and a last layer: no statistics of a batch. Its labels are unknown in
// places, or classes.
struct Net {
  Context ctx;
  bool multi_label;
  Parameters parameters;
  Tensor filter, weight, bias, loss;
  std::vector<double> pixels, labels;
  std::optional<Optimizer> optimizer;

  Net(const Backend& backend, const Precision& precision, bool multi, bool like_masters)
      : ctx(backend, precision), multi_label(multi) {
    filter = parameters.add(ctx, "conv.weight", Role::weight, {4, 3, 3, 3});
    weight = parameters.add(ctx, "fc.weight", Role::weight, {kClasses, 4});
    bias = parameters.add(ctx, "fc.bias", Role::bias, {kClasses});
    parameters.make_gradients(ctx, like_masters);
    uint64_t seed = 0;
    for (const Parameter& p : parameters.parameters)
      set_values(ctx, p.value,
                 get_values(ctx, testing::noise(ctx, p.value.shape(), p.value.dtype(), ++seed)));
    parameters.write_working(ctx);
    optimizer.emplace(ctx, parameters, OptimizerSettings{}, ScalerPolicy{.start = 256});
    loss = ctx.persistent({1}, precision.master);
    pixels = get_values(ctx, testing::noise(ctx, {kBatch, kSide, kSide, 3}, precision.master, 11));
    for (int64_t i = 0; i < kBatch * (multi ? kClasses : 1); ++i)
      labels.push_back(multi ? (i % 7 == 5 ? NAN : double(i % 2)) : double(i % kClasses));
  }

  Tensor rows(const std::vector<double>& all, int64_t from, int64_t n, Shape shape, Dtype dtype) {
    shape.dims[0] = n;
    const int64_t row = shape.count() / n;
    const Tensor t = ctx.persistent(shape, dtype);
    const auto part = std::span(all).subspan(size_t(from * row), size_t(n * row));
    if (dtype == Dtype::i32) {
      const std::vector<int32_t> classes(part.begin(), part.end());
      ctx.upload(t, classes.data(), t.bytes());
    } else {
      set_values(ctx, t, part);
    }
    return t;
  }

  // With the batch in parts of these sizes: the loss, then all gradients, as they are carried.
  Values step(const std::vector<int64_t>& parts) {
    const Dtype input = ctx.precision()[OpKind::convolution].input;
    const StepState* state = optimizer->device_state();
    int64_t from = 0;
    train_step(ctx, parameters, *optimizer, 0, int64_t(parts.size()), [&](Context& c, int64_t k) {
      const int64_t n = parts[size_t(k)];
      const Tensor x = rows(pixels, from, n, {1, kSide, kSide, 3}, input);
      const Tensor y = multi_label ? rows(labels, from, n, {1, kClasses}, ctx.precision().master)
                                   : rows(labels, from, n, {1}, Dtype::i32);
      from += n;
      const Tensor h = ops::relu(c, ops::convolution(c, x, filter, 1, 1));
      const Tensor z = ops::linear(c, ops::global_average_pool(c, h), weight, bias);
      const Tensor share = multi_label ? ops::sigmoid_cross_entropy(c, z, y, {}, {}, state, kBatch)
                                       : ops::softmax_cross_entropy(c, z, y, state, kBatch);
      c.run(&Kernels::convert, {share.view(), {loss.view(), k > 0}});
      return share;
    });
    Values all = get_values(ctx, loss);
    for (const Parameter& p : parameters.parameters)
      for (const double v : get_values(ctx, p.gradient)) all.push_back(v);
    return all;
  }
};

double furthest(const Values& a, const Values& b) {
  REQUIRE(a.size() == b.size());
  double most = 0, largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::fabs(a[i] - b[i]));
    largest = std::max(largest, std::fabs(b[i]));
  }
  REQUIRE(largest > 0);
  return most / largest;
}

}  // namespace

TEST_CASE("parts of a batch add up to its loss and gradients") {
  for (const bool multi_label : {true, false}) {
    CAPTURE(multi_label);
    const auto run = [&](const std::vector<int64_t>& parts) {
      return Net(reference_backend(), float64(), multi_label, true).step(parts);
    };
    const Values whole = run({8});
    CHECK(furthest(run({2, 2, 2, 2}), whole) <= 1e-12);
    CHECK(furthest(run({3, 3, 2}), whole) <= 1e-12);
    CHECK(furthest(run({4}), whole) > 1e-3);  // a part alone is another thing
  }
}

// Each part's gradient is rounded to 16 bits once, as the whole batch's is, and the sum has 32.
TEST_CASE("16-bit gradients of parts are summed in 32 bits") {
  for (const Backend* backend : testing::every_device())
    for (const Precision* precision : {&float16(), &bfloat16()}) {
      CAPTURE(std::string(backend->name));
      CAPTURE(std::string(precision->name));
      Net net(*backend, *precision, true, true);
      for (const Parameter& p : net.parameters.parameters) CHECK(p.gradient.dtype() == Dtype::f32);
      Values parts = net.step({2, 2, 2, 2});
      const Values again = Net(*backend, *precision, true, true).step({2, 2, 2, 2});
      CHECK(parts == again);
      const Values exact = Net(reference_backend(), float64(), true, true).step({8});
      // Inputs, weights and what lies between have their roundings, too: 8 of half a unit.
      CHECK(furthest(parts, exact) <= 8 * std::ldexp(1, precision == &float16() ? -11 : -8));
      // A sum of four in 32 bits is seldom a number of 16.
      int finer = 0;
      for (const double v : parts)
        finer +=
            precision == &float16() ? double(Half(float(v))) != v : double(Bfloat16(float(v))) != v;
      CHECK(finer > int(parts.size()) / 4);
      CHECK(net.optimizer->state(net.ctx).step == 1);  // an update, not four
    }
}

TEST_CASE("inf in one part's gradient skips the whole update") {
  Net net(reference_backend(), float32(), true, true);
  net.pixels[size_t(3 * kSide * kSide * 3)] = INFINITY;  // of part 1
  net.step({2, 2, 2, 2});
  const StepState state = net.optimizer->state(net.ctx);
  CHECK(state.good == 0);
  CHECK(state.skipped == 1);
  CHECK(state.step == 0);
}

TEST_CASE("a part larger than its batch is refused") {
  Context ctx(reference_backend(), float64());
  const Tensor z = ctx.persistent({4, 2}, Dtype::f64), y = ctx.persistent({4, 2}, Dtype::f64);
  CHECK_THROWS_AS(ops::sigmoid_cross_entropy(ctx, z, y, {}, {}, nullptr, 3), Error);
}
