#include "engine/memory_plan.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "engine/host_values.h"
#include "engine/optim/optimizer.h"
#include "engine/random.h"
#include "kernels/reference/table.h"
#include "models/resnet.h"

using namespace pneuma;

namespace {

size_t rounded(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

bool alive_together(const MemoryUse& a, const MemoryUse& b) {
  return a.first < b.last && b.first < a.last;
}

// The most bytes that are alive at any one time.
size_t lower_bound(const std::vector<MemoryUse>& uses) {
  size_t most = 0;
  for (const MemoryUse& now : uses) {
    size_t sum = 0;
    for (const MemoryUse& u : uses) {
      if (u.first <= now.first && now.first < u.last) sum += u.bytes;
    }
    most = std::max(most, sum);
  }
  return most;
}

// Random lives, distinct events, as a recording makes them.
std::vector<MemoryUse> random_uses(Random& random, size_t count) {
  std::vector<int64_t> events(2 * count);
  for (size_t i = 0; i < events.size(); ++i) events[i] = int64_t(i);
  for (uint32_t i = uint32_t(events.size()); i > 1; --i)
    std::swap(events[i - 1], events[random.below(i)]);
  std::vector<MemoryUse> uses(count);
  for (size_t i = 0; i < count; ++i) {
    const auto [first, last] = std::minmax(events[2 * i], events[2 * i + 1]);
    // Small and large, and often the same.
    const size_t bytes = random.below(3) ? size_t{1} << random.below(12) : random.below(100'000);
    uses[i] = {bytes, first, last, "x"};
  }
  return uses;
}

// One training step of a test-sized ResNet; reads the loss into `loss`.
struct Step {
  Context ctx{reference_backend()};
  ResNet net{ctx, {.num_layers = 10, .num_classes = 3, .base_width = 4}};
  Tensor x = ctx.persistent({2, 32, 32, 3}, Dtype::f32);
  Tensor labels = ctx.persistent({2, 3}, Dtype::f32);
  Tensor loss = ctx.persistent({1}, Dtype::f32);
  std::optional<Optimizer> optimizer;

  Step() {
    net.initialize(ctx, 7);
    net.parameters().make_gradients(ctx);
    optimizer.emplace(ctx, net.parameters(), OptimizerSettings{});
    Random random(1, Purpose::test);
    std::vector<float> pixels(size_t(x.shape().count()));
    for (float& v : pixels) v = float(random.normal());
    set_values(ctx, x, pixels);
    set_values(ctx, labels, std::vector<float>{1, 0, 0, 0, 1, 1});
  }
  void run() {
    train_step(ctx, net.parameters(), *optimizer, 1e-3, [&](Context& c) {
      Tensor l = ops::sigmoid_cross_entropy(c, net.forward(c, x), labels);
      c.run(&Kernels::convert, {l.view(), {loss.view()}});
      return l;
    });
  }
  std::vector<double> state() {
    std::vector<double> all = get_values(ctx, loss);
    const auto append = [&](const Tensor& t) {
      for (const double v : get_values(ctx, t)) all.push_back(v);
    };
    for (const Parameter& p : net.parameters().parameters) {
      append(p.value);
      append(p.gradient);
    }
    for (const Buffer& b : net.parameters().buffers) append(b.value);
    for (const Buffer& m : optimizer->moments()) append(m.value);
    return all;
  }
};

}  // namespace

TEST_CASE("tensors that live at one time do not overlap, whatever the lives") {
  Random random(3, Purpose::test);
  double excess = 0;
  constexpr int kTrials = 200;
  for (int trial = 0; trial < kTrials; ++trial) {
    CAPTURE(trial);
    const std::vector<MemoryUse> uses = random_uses(random, 1 + random.below(80));
    const MemoryPlan plan = plan_memory(uses);
    REQUIRE(plan.offsets.size() == uses.size());
    size_t end = 0;
    for (size_t i = 0; i < uses.size(); ++i) {
      CHECK(plan.offsets[i] % kAlignment == 0);
      end = std::max(end, plan.offsets[i] + rounded(uses[i].bytes));
      for (size_t k = 0; k < i; ++k) {
        if (!alive_together(uses[i], uses[k])) continue;
        const bool apart = plan.offsets[i] + uses[i].bytes <= plan.offsets[k] ||
                           plan.offsets[k] + uses[k].bytes <= plan.offsets[i];
        CHECK(apart);
      }
    }
    CHECK(plan.peak == end);  // not a byte more than is used
    CHECK(plan.peak >= lower_bound(uses));
    excess += double(plan.peak) / double(std::max(lower_bound(uses), kAlignment)) / kTrials;
    CHECK(plan_memory(uses).offsets == plan.offsets);
  }
  MESSAGE("mean of peak / lower bound: " << excess);
  CHECK(excess < 1.15);
}

TEST_CASE("plans of nothing, of empty tensors and of a chain") {
  CHECK(plan_memory({}).peak == 0);
  CHECK(plan_memory({{0, 0, 5, "x"}, {0, 1, 2, "y"}}).peak == 0);
  // a -> b -> c: two live at a time, so the third takes the first's place.
  const MemoryPlan plan = plan_memory({{128, 0, 2, "a"}, {128, 1, 4, "b"}, {128, 3, 5, "c"}});
  CHECK(plan.peak == 256);
  CHECK(plan.offsets[2] == plan.offsets[0]);
}

TEST_CASE(
    "a replayed step gives the bits of direct allocation, and a steady one allocates nothing") {
  Step direct, planned;
  const MemoryPlan plan = planned.ctx.record([&] { planned.run(); });
  CHECK(planned.state() == direct.state());  // recording ran no kernel

  CHECK(plan.peak >= lower_bound(plan.uses));
  CHECK(double(plan.peak) <= 1.1 * double(lower_bound(plan.uses)));

  const int64_t before = planned.ctx.arena().allocations();
  for (int step = 0; step < 3; ++step) {
    CAPTURE(step);
    direct.run();
    planned.ctx.replay(plan, [&] { planned.run(); });
    CHECK(planned.state() == direct.state());
    CHECK(planned.ctx.arena().allocations() == before + 1);  // the block, once
  }
  CHECK(direct.ctx.arena().allocations() >= 3 * int64_t(plan.uses.size()));
  CHECK(direct.state()[0] > 0);
}

TEST_CASE("a dry context plans the same step from shapes alone") {
  Step real;
  const MemoryPlan plan = real.ctx.record([&] { real.run(); });

  Context dry(reference_backend(), float32(), true);
  ResNet net(dry, real.net.settings());
  net.initialize(dry, 7);
  net.parameters().make_gradients(dry);
  const Tensor x = dry.persistent(real.x.shape(), Dtype::f32);
  const Tensor labels = dry.persistent(real.labels.shape(), Dtype::f32);
  Optimizer optimizer(dry, net.parameters(), {});
  const MemoryPlan from_shapes = dry.record([&] {
    train_step(dry, net.parameters(), optimizer, 1e-3, [&](Context& c) {
      return ops::sigmoid_cross_entropy(c, net.forward(c, x), labels);
    });
  });
  CHECK(from_shapes.peak == plan.peak);
  CHECK(from_shapes.offsets == plan.offsets);
  CHECK(dry.arena().allocations() == 0);
}

TEST_CASE("what a plan does not know is refused") {
  Context ctx(reference_backend());
  const auto two = [&](int64_t n) {
    const Tensor a = ctx.tensor({4}, Dtype::f32, "a");
    const Tensor b = ctx.tensor({n}, Dtype::f32, "b");
  };
  const MemoryPlan plan = ctx.record([&] { two(8); });
  ctx.replay(plan, [&] { two(8); });
  CHECK_THROWS_WITH(ctx.replay(plan, [&] { two(9); }),
                    "b asks for 36 bytes that the memory plan does not know (allocation 1)");
  CHECK_THROWS_AS(ctx.replay(plan,
                             [&] {
                               two(8);
                               two(8);
                             }),
                  Error);
  const int64_t before = ctx.arena().allocations();
  two(9);  // back to direct after the error
  CHECK(ctx.arena().allocations() == before + 2);
  Tensor held;
  CHECK_THROWS_WITH(ctx.record([&] { held = ctx.tensor({4}, Dtype::f32, "held"); }),
                    "a tensor of 'held' outlives the recorded step");
}
