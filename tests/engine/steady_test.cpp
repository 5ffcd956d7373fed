// A steady training step: it allocates nothing, the host never waits for the step that it has just
// asked for, and what host and device do side by side gives the bits of one after the other.
#include <doctest/doctest.h>

#include <memory>
#include <numeric>
#include <optional>

#include "engine/host_values.h"
#include "engine/image_input.h"
#include "engine/optim/step_results.h"
#include "engine/random.h"
#include "models/resnet.h"
#include "tests/deferred_device.h"
#include "tests/devices.h"
#include "tests/host_cuda_watch.h"

using namespace pneuma;
namespace deferred = pneuma::testing::deferred;

namespace {

constexpr int kImages = 2, kClasses = 3, kSide = 32;
const ImageFormat kFormat{{3, kSide, kSide}, {120, 110, 100}, {60, 61, 62}, kClasses, true};

struct Pictures {
  std::vector<uint8_t> pixels;
  std::vector<AugmentItem> items;
  std::vector<float> labels;
};

// Of batch k, each another.
Pictures draw(int64_t k, int images = kImages) {
  Random random(uint64_t(k), Purpose::test);
  Pictures p;
  for (int i = 0; i < images; ++i) {
    const int32_t height = kSide + 2, width = kSide + 4;
    p.items.push_back({int64_t(p.pixels.size()), height, width, 3, 1, 3, int32_t(k % 2)});
    for (int n = 0; n < height * width * 3; ++n) p.pixels.push_back(uint8_t(random.below(256)));
    for (int c = 0; c < kClasses; ++c) p.labels.push_back(float(random.below(2)));
  }
  return p;
}

// The loop of a trainer, step by step.
struct Loop {
  Context ctx;
  ResNet net{ctx, {.num_layers = 10, .num_classes = kClasses, .base_width = 4}};
  ImageInput input{ctx, kFormat};
  std::optional<Optimizer> optimizer;
  std::optional<StepResults> results;
  MemoryPlan plan;
  std::vector<double> losses;
  int64_t steps = 0;

  explicit Loop(const Backend& backend, const Precision& precision = float32())
      : ctx(backend, precision) {
    net.initialize(ctx, 7);
    net.parameters().make_gradients(ctx);
    optimizer.emplace(ctx, net.parameters(), OptimizerSettings{}, ScalerPolicy{.dynamic = true});
    results.emplace(ctx, *optimizer);
    input.reserve(kImages);
    plan = ctx.record([&] { ask(); });
  }
  void ask() {
    train_step(ctx, net.parameters(), *optimizer, 1e-3, [&](Context& c) {
      const Tensor logits = net.forward(c, input.images(kImages));
      const Tensor loss = ops::sigmoid_cross_entropy(c, logits, input.labels(kImages), {}, {},
                                                     optimizer->device_state());
      c.run(&Kernels::convert, {loss.view(), {results->loss().view()}});
      return loss;
    });
  }
  void step() {
    const Pictures p = draw(steps++);
    input.stage(p.pixels, p.items, p.labels);
    ctx.replay(plan, [&] { ask(); });
    results->send();
    if (results->waiting() > 1) read();
  }
  void read() {
    const auto [loss, state, logits] = results->receive();
    losses.push_back(loss);
    CHECK(state.step == int64_t(losses.size()));  // of its own step, not of one after it
  }
  std::vector<double> finish() {
    while (results->waiting()) read();
    std::vector<double> all = losses;
    for (const Parameter& p : net.parameters().parameters)
      for (const double v : get_values(ctx, p.value)) all.push_back(v);
    return all;
  }
};

constexpr int kWarmUp = 3, kSteady = 10;

}  // namespace

TEST_CASE("a steady step allocates nothing and waits for nothing but the step before") {
  for (const Backend* backend : testing::every_device())
    for (const Precision* precision : {&float32(), &float16(), &bfloat16()}) {
      CAPTURE(std::string(backend->name));
      CAPTURE(std::string(precision->name));
      testing::HostCudaWatch watch(*backend);
      auto made = std::make_unique<Loop>(*backend, *precision);
      Loop& loop = *made;
      for (int i = 0; i < kWarmUp; ++i) loop.step();
      const Counts counts = loop.ctx.counts;
      const int64_t allocations = loop.ctx.allocations();
      const host_cuda::Counters before = watch.counters();
      for (int i = 0; i < kSteady; ++i) loop.step();
      const host_cuda::Counters after = watch.counters();
      CHECK(loop.ctx.allocations() == allocations);
      CHECK(loop.ctx.counts.synchronisations == counts.synchronisations);
      // Of the results, and of the pinned memory of the batch before the last.
      CHECK(loop.ctx.counts.late_waits == counts.late_waits + 2 * kSteady);
      // What the CUDA runtime itself was asked for: the libraries below the kernels, too.
      CHECK(after.allocations == before.allocations);
      CHECK(after.pinned_allocations == before.pinned_allocations);
      const bool counted = std::string(backend->name) == "host_cuda";
      CHECK(after.host_synchronizations == before.host_synchronizations + 2 * kSteady * counted);
      loop.finish();
      CHECK(watch.fault() == "");
      made.reset();
      CHECK(watch.leaks() == 0);
    }
}

TEST_CASE("what host_cuda finds is what the error says: kernel, block, thread, whose memory") {
  for (const Backend* backend : testing::every_device()) {
    if (std::string(backend->name) != "host_cuda") continue;
    testing::HostCudaWatch watch(*backend);
    Context ctx(*backend);
    const Tensor t = ctx.persistent({100}, Dtype::f32);
    View view = t.view();
    ctx.run(&Kernels::fill, {view, 1});
    CHECK_NOTHROW(ctx.synchronize());
    view.dims[0] = 101;
    ctx.run(&Kernels::fill, {view, 1});
    std::string said;
    try {
      ctx.synchronize();
    } catch (const Error& error) {
      said = error.what();
    }
    for (const char* words :
         {"on device host_cuda: pneuma::cuda::", "fill_kernel<float>: block (", "thread (",
          "writes 4 bytes at ", "behind the end of allocation ", " of 400 bytes"})
      CHECK_MESSAGE(said.find(words) != said.npos, std::string(words), " is not in: ", said);
    watch.clear();
  }
}

TEST_CASE("host and device side by side give the bits of one after the other") {
  Loop straight(reference_backend());
  for (int i = 0; i < kSteady; ++i) straight.step();
  const std::vector<double> expected = straight.finish();

  for (const bool at_once : {false, true}) {
    CAPTURE(at_once);
    deferred::side_streams_at_once = at_once;
    Loop loop(deferred::backend());
    REQUIRE(deferred::streams.size() == 2);
    const deferred::Queue &own = *deferred::streams[0], &side = *deferred::streams[1];
    for (int i = 0; i < kSteady; ++i) {
      const int64_t asked = own.asked, beside = side.asked;
      loop.step();
      // Not a kernel of this step was waited for, once each slot has memory for pixels.
      if (i >= 2) CHECK(own.done <= asked);
      CHECK(own.asked > asked + 50);
      CHECK(side.asked >= beside + 4);  // three copies and the augmentation
    }
    CHECK(loop.finish() == expected);
  }
}

TEST_CASE("each step reads its own batch, however far the device is behind the host or ahead") {
  for (const bool at_once : {false, true}) {
    CAPTURE(at_once);
    deferred::side_streams_at_once = at_once;
    Context late(deferred::backend()), straight(reference_backend());
    std::vector<std::vector<double>> seen[2];
    for (Context* ctx : {&straight, &late}) {
      ImageInput input(*ctx, kFormat);
      input.reserve(1);  // grows under way
      std::vector<Tensor> kept;
      for (int k = 0; k < 8; ++k) {
        const int images = k == 2 ? 3 : 2;
        const Pictures p = draw(k, images);
        input.stage(p.pixels, p.items, p.labels);
        for (const Tensor& t : {input.images(images), input.labels(images)}) {
          kept.push_back(ctx->tensor(t.shape(), t.dtype()));
          ctx->run(&Kernels::convert, {t.view(), {kept.back().view()}});
        }
      }
      for (const Tensor& t : kept) seen[ctx == &late].push_back(get_values(*ctx, t));
    }
    CHECK(seen[0] == seen[1]);
    const std::vector<float> first = draw(0).labels;
    CHECK(seen[0][1] == std::vector<double>(first.begin(), first.end()));
  }
}

TEST_CASE("labels that do not go with the images are refused; class numbers become integers") {
  Context ctx(reference_backend());
  ImageFormat format = kFormat;
  format.multi_label = false;
  ImageInput input(ctx, format);
  Pictures p = draw(0);
  CHECK_THROWS_WITH_AS(input.stage(p.pixels, p.items, p.labels), "6 labels do not go with 2 images",
                       Error);
  input.stage(p.pixels, p.items, std::vector<float>{2, 1});
  CHECK(input.labels(2).dtype() == Dtype::i32);
  CHECK(get_values(ctx, input.labels(2)) == std::vector<double>{2, 1});
}

TEST_CASE("a dry context asks the device for nothing") {
  Backend none = reference_backend();
  none.device = {};
  Context dry(none, float32(), true);
  ImageInput input(dry, kFormat);
  input.reserve(kImages);
  CHECK(input.images(kImages).shape() == Shape{kImages, kSide, kSide, 3});
  CHECK(dry.persistent_bytes() >= 2 * input.images(kImages).bytes());
  CHECK(dry.allocations() == 0);
}

TEST_CASE("a profiler sees the names of the tape's nodes, and a traced launch is timed by events") {
  Context ctx(deferred::backend());
  const Tensor x = ctx.persistent({2, 3}, Dtype::f32), w = ctx.persistent({4, 3}, Dtype::f32),
               b = ctx.persistent({4}, Dtype::f32), y = ctx.persistent({2, 4}, Dtype::f32);
  std::vector<std::pair<std::string, double>> launches;
  ctx.trace = [&](const Launch& l) { launches.emplace_back(l.kernel, l.seconds); };
  deferred::ranges.clear();
  Tape tape;
  tape.watch(w);
  const Recording recording(ctx, tape);
  const Tensor loss = ops::sigmoid_cross_entropy(ctx, ops::linear(ctx, x, w, b), y);
  tape.backward(ctx, loss);
  CHECK(deferred::ranges == std::vector<std::string>{"linear", "linear_forward", "", "",  //
                                                     "sigmoid_cross_entropy",
                                                     "sigmoid_cross_entropy", "", "",       //
                                                     "sigmoid_cross_entropy backward", "",  //
                                                     "linear backward", "linear_backward", "", ""});
  REQUIRE(launches.size() == 3);
  CHECK(launches[0].first == "linear_forward");
  CHECK(launches[0].second == doctest::Approx(2e-3));
}
