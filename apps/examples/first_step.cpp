// The first thing to read: a small network learns that a point lies inside a circle.
// Tensors, ops, a loss, backward, update; nothing hidden. Run: build/bin/first_step
#include <fmt/format.h>

#include "engine/host_values.h"
#include "engine/ops/ops.h"
#include "engine/optim/optimizer.h"
#include "engine/random.h"
#include "kernels/open_backend.h"

using namespace pneuma;

int main() {
  // A context is where a computation happens: a device, a precision, the memory of a step.
  std::string why;
  Context ctx(*open_backend("cpu", &why));

  // The data: 256 points of a square [256,2], and for each whether it is inside the circle [256,1].
  Random random(/*seed=*/1, Purpose::test);
  std::vector<float> points, inside;
  for (int i = 0; i < 256; ++i) {
    const double x = random.uniform(-1, 1), y = random.uniform(-1, 1);
    points.insert(points.end(), {float(x), float(y)});
    inside.push_back(x * x + y * y < 0.6);
  }
  const Tensor input = ctx.persistent({256, 2}, Dtype::f32);
  const Tensor labels = ctx.persistent({256, 1}, Dtype::f32);
  set_values(ctx, input, points);
  set_values(ctx, labels, inside);

  // What is learnt: two layers, each a weight [outputs,inputs] and a bias [outputs].
  Parameters net;
  const Tensor w1 = net.add(ctx, "hidden.weight", Role::weight, {16, 2});
  const Tensor b1 = net.add(ctx, "hidden.bias", Role::bias, {16});
  const Tensor w2 = net.add(ctx, "output.weight", Role::weight, {1, 16});
  const Tensor b2 = net.add(ctx, "output.bias", Role::bias, {1});
  for (const Parameter& p : net.parameters) {
    std::vector<float> start(size_t(p.value.shape().count()));
    for (float& v : start) v = float(random.normal() / 2);
    set_values(ctx, p.value, start);
  }
  net.make_gradients(ctx);
  Optimizer optimizer(ctx, net, {.kind = OptimizerKind::adam});

  for (int step = 0; step <= 200; ++step) {
    Tape tape;        // writes down every op...
    net.watch(tape);  // ...that these parameters take part in
    ctx.tape = &tape;
    const Tensor hidden = ops::relu(ctx, ops::linear(ctx, input, w1, b1));
    const Tensor logits = ops::linear(ctx, hidden, w2, b2);
    const Tensor loss = ops::sigmoid_cross_entropy(ctx, logits, labels);
    tape.backward(ctx, loss);   // walks it in reverse: every parameter has its gradient
    optimizer.step(ctx, 0.02);  // learning rate; moves every parameter
    if (step % 40 == 0) fmt::print("step {:3}  loss {:.4f}\n", step, get_values(ctx, loss)[0]);
  }
}
