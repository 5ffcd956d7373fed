// Learning rates, clipping and the weighted losses against PyTorch (make_training_golden.py).
#include <doctest/doctest.h>

#include "data/dataset.h"
#include "engine/ops/ops.h"
#include "engine/optim/optimizer.h"
#include "engine/optim/schedule.h"
#include "kernels/reference/table.h"
#include "tests/golden/formula.h"

using namespace pneuma;
using Values = std::vector<double>;

namespace {

// f64 on both sides, a few dozen roundings apart: torch multiplies rates up, step by step.
constexpr double kTolerance = 1e-13;

void check_close(const Values& ours, const Values& theirs) {
  REQUIRE(ours.size() == theirs.size());
  for (size_t i = 0; i < ours.size(); ++i) {
    CAPTURE(i);
    CHECK(std::fabs(ours[i] - theirs[i]) <= kTolerance);
  }
}

Tensor tensor_of(Context& ctx, Shape shape, const Values& values) {
  const Tensor t = ctx.persistent(shape, Dtype::f64);
  set_values(ctx, t, values);
  return t;
}

}  // namespace

TEST_CASE("the learning rate of every update is PyTorch's") {
  const golden::Json g = golden::read("training.json");
  for (const golden::Json& expected : g.at("schedules")) {
    CAPTURE(expected.dump());
    Schedule schedule{.kind = schedule_named(expected.at("kind")),
                      .learning_rate = g.at("rate"),
                      .factor = expected.at("factor"),
                      .warmup = expected.at("warmup"),
                      .total = expected.at("updates")};
    for (const int64_t epoch : expected.at("epochs"))
      schedule.steps.push_back(epoch * expected.at("epoch").get<int64_t>());
    Values rates;
    for (int64_t update = 0; update < schedule.total; ++update)
      rates.push_back(learning_rate_at(schedule, update));
    check_close(rates, expected.at("rates"));
  }
}

// MXNet's MultiFactorScheduler: the factor counts from the update whose number, from 1, is greater
// than step_epoch x epoch_size; what a resumed run has passed is multiplied in.
TEST_CASE("a step's rate changes with the first update after its epochs") {
  const Schedule schedule{
      .kind = ScheduleKind::step, .learning_rate = 1, .factor = 0.5, .steps = {30, 60}};
  CHECK(learning_rate_at(schedule, 29) == 1);
  CHECK(learning_rate_at(schedule, 30) == 0.5);
  CHECK(learning_rate_at(schedule, 1000) == 0.25);
}

TEST_CASE("a schedule never leaves 0 .. its rate, however its numbers lie") {
  for (const ScheduleKind kind : {ScheduleKind::constant, ScheduleKind::cosine})
    for (const int64_t warmup : {0, 1, 5, 20})
      for (const int64_t total : {0, 1, 10}) {
        const Schedule schedule{
            .kind = kind, .learning_rate = 0.1, .warmup = warmup, .total = total};
        for (int64_t update = 0; update < 25; ++update) {
          const double rate = learning_rate_at(schedule, update);
          CHECK(rate >= 0);
          CHECK(rate <= 0.1);
          if (update < total && update >= warmup) CHECK(rate > 0);
        }
      }
  CHECK_THROWS_AS(schedule_named("linear"), Error);
}

TEST_CASE("gradients are clipped as torch.nn.utils.clip_grad_norm_ clips") {
  const golden::Json g = golden::read("training.json");
  for (const golden::Json& expected : g.at("clipping"))
    for (const double loss_scale : {1.0, 1024.0}) {
      CAPTURE(loss_scale);
      Context ctx(reference_backend(), float64());
      Parameters parameters;
      for (const Values& values : expected.at("gradients").get<std::vector<Values>>())
        parameters.add(ctx, "p", Role::bias, {int64_t(values.size())});
      parameters.make_gradients(ctx);
      for (size_t i = 0; i < parameters.parameters.size(); ++i) {
        Values carried = expected.at("gradients")[i];
        for (double& v : carried) v *= loss_scale;
        set_values(ctx, parameters.parameters[i].gradient, carried);
      }
      Optimizer sgd(ctx, parameters,
                    {.kind = OptimizerKind::sgd, .momentum = 0, .clip_norm = expected.at("most")},
                    {.start = loss_scale});
      sgd.step(ctx, 1);
      check_close({sgd.state(ctx).gradient_norm}, {expected.at("norm")});
      for (size_t i = 0; i < parameters.parameters.size(); ++i) {
        Values moved = get_values(ctx, parameters.parameters[i].value);
        for (double& v : moved) v = -v;
        check_close(moved, expected.at("clipped")[i]);
      }
    }
}

TEST_CASE("a weight on the positive term is pos_weight, one on both terms is weight") {
  const golden::Json expected = golden::read("training.json").at("weighted");
  const int64_t images = expected.at("images"), classes = expected.at("classes");
  const Values labels = expected.at("labels");
  Dataset dataset;
  dataset.num_classes = int(classes);
  for (int64_t n = 0; n < images; ++n) {
    const auto first = labels.begin() + n * classes;
    dataset.samples.push_back({"", {first, first + classes}, ""});
  }
  const std::vector<float> weights = class_weights(dataset);
  REQUIRE(weights[2] == 1);  // nobody has it
  const Values exact = expected.at("weights");
  for (size_t c = 0; c < exact.size(); ++c) CHECK(weights[c] == float(exact[c]));

  for (const char* mode : {"positive", "class"}) {
    CAPTURE(mode);
    Context ctx(reference_backend(), float64());
    const Shape shape{images, classes};
    const Tensor logits = tensor_of(ctx, shape, expected.at("logits")),
                 y = tensor_of(ctx, shape, labels), w = tensor_of(ctx, {classes}, exact);
    Tape tape;
    tape.watch(logits);
    ctx.tape = &tape;
    const Tensor loss =
        ops::sigmoid_cross_entropy(ctx, logits, y, w, mode == std::string("class") ? w : Tensor());
    tape.backward(ctx, loss);
    check_close(get_values(ctx, loss), {expected.at(mode).at("loss")});
    check_close(get_values(ctx, tape.gradient_of(logits)), expected.at(mode).at("gradient"));
    ctx.tape = nullptr;
  }
}
