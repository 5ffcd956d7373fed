#include "apps/inspect/explain.h"

#include <map>

#include "apps/common/device.h"
#include "apps/common/train_settings.h"
#include "engine/optim/optimizer.h"

namespace pneuma::inspect {
namespace {

struct Call {
  std::string section, kernel;
  int node;  // of the tape; -1: none
  Operands operands;
};

struct Bytes {
  double read = 0, written = 0;
  void add(const Operand& o) { read += o.read, written += o.written; }
};

// "f16 x w, f32 b": what is read, or what is written, by dtype.
std::string by_dtype(const Operands& operands, double Operand::*bytes) {
  std::map<Dtype, std::string> names;
  for (const Operand& o : operands)
    if (o.*bytes) names[o.view.dtype] += " " + o.name;
  std::string text;
  for (const auto& [dtype, list] : names)
    text += (text.empty() ? "" : ", ") + std::string(name_of(dtype)) + list;
  return text.empty() ? "the step's state" : text;
}

void print_calls(const std::vector<Call>& calls, const std::vector<std::string>& nodes) {
  std::map<Dtype, Bytes> by_type;
  Bytes all;
  std::string section;
  int node = -1;
  fmt::print("{:<35}{:>11}{:>14}   operands\n", "", "bytes read", "bytes written");
  for (const Call& c : calls) {
    if (c.section != section) fmt::print("{}\n", c.section);
    if (c.node >= 0 && (c.section != section || c.node != node))
      fmt::print("  node {}: {}\n", c.node, nodes[size_t(c.node)]);
    section = c.section, node = c.node;
    Bytes sum;
    for (const Operand& o : c.operands) sum.add(o), all.add(o), by_type[o.view.dtype].add(o);
    fmt::print("    {:<31}{:>11.0f}{:>14.0f}   {} -> {}\n", c.kernel, sum.read, sum.written,
               by_dtype(c.operands, &Operand::read), by_dtype(c.operands, &Operand::written));
  }
  for (const auto& [dtype, sum] : by_type)
    fmt::print("in {:<32}{:>11.0f}{:>14.0f}   {:.1f} % of all bytes\n", name_of(dtype), sum.read,
               sum.written, 100 * (sum.read + sum.written) / (all.read + all.written));
  fmt::print("{:<35}{:>11.0f}{:>14.0f}\n", fmt::format("{} kernels", calls.size()), all.read,
             all.written);
}

}  // namespace

void explain(const ExplainSettings& s) {
  Context ctx(device_named(s.device, s.threads), precision_named(s.precision_dtype));
  fmt::print("{}", ctx.precision().text());
  ResNet model(ctx, network_of(s));
  model.initialize(ctx, s.seed);
  model.parameters().make_gradients(ctx);
  Optimizer adam(ctx, model.parameters(), {}, usual_scaler(ctx.precision()));
  const auto [x, labels] = draw_batch(ctx, s);

  std::vector<Call> calls;
  std::vector<std::string> nodes;
  std::string section = "forward";
  int node = -1;  // that goes back
  ctx.trace = [&](const Launch& launch) {
    const std::string kernel = launch.kernel;
    if (!ctx.tape) section = kernel == "gradient_check" ? "gradient check" : "update";
    // A node goes on the tape when its kernels have run, so theirs is the next one.
    calls.push_back({section, kernel,
                     !ctx.tape  ? -1
                     : node < 0 ? int(ctx.tape->nodes().size())
                                : node,
                     launch.operands});
  };
  train_step(ctx, model.parameters(), adam, 1e-4, [&](Context& c) {
    const Tensor logits = model.forward(c, x);
    section = "loss";
    const Tensor loss = ops::sigmoid_cross_entropy(c, logits, labels, {}, {}, adam.device_state());
    section = "backward";
    for (const Node& n : c.tape->nodes())
      nodes.push_back(fmt::format("{} {} {}", n.name, name_of(c.tape->dtype_of(n.output)),
                                  c.tape->shape_of(n.output).text()));
    c.tape->observe = [&](const Node& n, const Tensor&) {
      node = int(&n - ctx.tape->nodes().data());
    };
    return loss;
  });
  print_calls(calls, nodes);
}

}  // namespace pneuma::inspect
