#include "engine/tape.h"

#include <doctest/doctest.h>

#include "engine/host_values.h"
#include "engine/ops/ops.h"
#include "kernels/reference/table.h"

using namespace pneuma;

namespace {

using Values = std::vector<double>;

struct Fixture {
  Context ctx{reference_backend(), float64()};
  Tape tape;
  Fixture() { ctx.tape = &tape; }
  Tensor leaf(const Values& values) {
    Tensor t = ctx.persistent({int64_t(values.size())}, Dtype::f64);
    set_values(ctx, t, values);
    return t;
  }
  Values gradient(const Tensor& t) { return get_values(ctx, tape.gradient_of(t)); }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "the chain rule through two ops") {
  const Tensor a = leaf({1, 2, -3}), b = leaf({4, 5, 6}), dy = leaf({1, 10, 100});
  tape.watch(a);
  tape.watch(b);
  const Tensor y = ops::scale(ctx, ops::multiply(ctx, a, b), 2);
  CHECK(get_values(ctx, y) == Values{8, 20, -36});
  REQUIRE(tape.nodes().size() == 2);
  CHECK(std::string(tape.nodes()[0].name) == "multiply");
  tape.backward(ctx, y, dy);
  CHECK(gradient(a) == Values{8, 100, 1200});
  CHECK(gradient(b) == Values{2, 40, -600});
  CHECK(tape.nodes().empty());
}

TEST_CASE_FIXTURE(Fixture, "a value used by two nodes, and twice by one, gets the sum") {
  const Tensor a = leaf({3, -2}), one = leaf({1, 1});
  tape.watch(a);
  SUBCASE("by two nodes: a*a*a through a square and a product") {
    const Tensor y = ops::multiply(ctx, ops::multiply(ctx, a, a), a);
    tape.backward(ctx, y, one);
    CHECK(gradient(a) == Values{27, 12});
  }
  SUBCASE("twice by one node: a*a") {
    tape.backward(ctx, ops::multiply(ctx, a, a), one);
    CHECK(gradient(a) == Values{6, -4});
  }
  SUBCASE("twice by one node: a+a, of an inner value") {
    const Tensor b = ops::scale(ctx, a, 5);
    tape.backward(ctx, ops::add(ctx, b, b), one);
    CHECK(gradient(a) == Values{10, 10});
  }
  SUBCASE("three times, over two nodes") {
    const Tensor b = ops::add(ctx, a, a);                              // 2a
    tape.backward(ctx, ops::add(ctx, b, ops::scale(ctx, a, 7)), one);  // 9a
    CHECK(gradient(a) == Values{9, 9});
  }
  SUBCASE("a sum's two operands share a gradient until one of them gets more") {
    const Tensor b = ops::scale(ctx, a, 2), c = ops::scale(ctx, a, 5);
    tape.backward(ctx, ops::add(ctx, ops::add(ctx, b, c), b), one);  // 2b + c
    CHECK(gradient(a) == Values{9, 9});
    CHECK(get_values(ctx, one) == Values{1, 1});
  }
}

TEST_CASE_FIXTURE(Fixture, "a given gradient tensor is written, not added to") {
  const Tensor a = leaf({3}), one = leaf({1});
  const Tensor da = leaf({1000});
  tape.watch(a, da);
  for (int step = 0; step < 2; ++step) {  // the second on the same tape
    tape.backward(ctx, ops::add(ctx, a, ops::multiply(ctx, a, a)), one);
    CHECK(get_values(ctx, da) == Values{7});
    CHECK(tape.gradient_of(a).id() == da.id());
  }
}

TEST_CASE_FIXTURE(Fixture, "without a tape, or without a wanted gradient, nothing is recorded") {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4}), one = leaf({1, 1});
  const Tensor y = ops::add(ctx, a, b);  // nobody watches
  CHECK(tape.nodes().empty());
  CHECK_THROWS_WITH(
      tape.backward(ctx, y, one),
      "backward from a tensor that depends on no watched leaf, or for the second time");
  tape.watch(a);
  ops::relu(ctx, b);
  CHECK(tape.nodes().empty());
  ctx.tape = nullptr;
  ops::relu(ctx, a);
  CHECK(tape.nodes().empty());
  ctx.tape = &tape;
  const Tensor z = ops::multiply(ctx, a, b);
  REQUIRE(tape.nodes().size() == 1);
  CHECK(tape.nodes()[0].inputs[0] >= 0);
  CHECK(tape.nodes()[0].inputs[1] == -1);  // b's gradient is not wanted
  tape.backward(ctx, z, one);
  CHECK(gradient(a) == Values{3, 4});
  CHECK(!tape.gradient_of(b));
}

TEST_CASE_FIXTURE(Fixture, "a leaf that y does not depend on has no gradient") {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4}), one = leaf({1, 1});
  tape.watch(a);
  tape.watch(b);
  const Tensor aside = ops::relu(ctx, b);  // recorded, but y does not need it
  const Tensor y = ops::scale(ctx, a, 2);
  CHECK(tape.nodes().size() == 2);
  int visited = 0;
  tape.observe = [&](const Node& node, const Tensor& dy) {
    ++visited;
    CHECK(std::string(node.name) == "scale");
    CHECK(get_values(ctx, dy) == Values{1, 1});
  };
  tape.backward(ctx, y, one);
  CHECK(visited == 1);
  CHECK(gradient(a) == Values{2, 2});
  CHECK(!tape.gradient_of(b));
  CHECK(tape.nodes().empty());
}

TEST_CASE_FIXTURE(Fixture, "going back twice is an error") {
  const Tensor a = leaf({1, 2}), one = leaf({1, 1});
  tape.watch(a);
  const Tensor y = ops::scale(ctx, a, 2);
  tape.backward(ctx, y, one);
  CHECK_THROWS_AS(tape.backward(ctx, y, one), Error);
  const Tensor z = ops::scale(ctx, a, 3);
  CHECK_THROWS_AS(tape.backward(ctx, y, one), Error);
  tape.backward(ctx, z, one);
  CHECK(gradient(a) == Values{3, 3});
}

TEST_CASE_FIXTURE(Fixture, "what a node saved is freed as soon as its backward has run") {
  const Tensor a = leaf({1, 2, 3, 4}), one = leaf({1, 1, 1, 1});
  const MemoryPlan plan = ctx.record([&] {
    Tape fresh;
    ctx.tape = &fresh;
    fresh.watch(a, leaf({0, 0, 0, 0}));
    Tensor y = ops::sigmoid(ctx, a);
    for (int i = 0; i < 3; ++i) y = ops::sigmoid(ctx, y);
    Tensor last = std::move(y);
    constexpr size_t kBytes = 4 * sizeof(double);
    for (const Node& node : fresh.nodes()) {  // its input and its output; a leaf stays anyway
      CHECK(node.saved_bytes == (&node == &fresh.nodes()[0] ? kBytes : 2 * kBytes));
    }
    fresh.observe = [&, left = size_t{4}](const Node& node, const Tensor&) mutable {
      CHECK(fresh.nodes().size() == left--);  // those that ran before are gone
      CHECK(&node == &fresh.nodes().back());
    };
    fresh.backward(ctx, last, one);
    ctx.tape = &tape;
  });
  // Four outputs live at the turn. On the way back the second node has its own and its input's
  // gradient beside them, and is the last to see four outputs.
  REQUIRE(plan.uses.size() == 7);
  CHECK(plan.peak == 6 * kAlignment);
  int64_t end_of_output[4];
  for (int i = 0; i < 4; ++i) end_of_output[i] = plan.uses[size_t(i)].last;
  CHECK(end_of_output[3] > end_of_output[2]);  // `last` is held by the test
  CHECK(end_of_output[2] > plan.uses[4].first);
  for (int i = 0; i < 2; ++i) CHECK(end_of_output[i] > end_of_output[i + 1]);
  CHECK(end_of_output[2] < plan.uses[6].first);  // freed before the last gradient was asked for
}
