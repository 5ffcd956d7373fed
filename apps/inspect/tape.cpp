#include "apps/inspect/tape.h"

#include "apps/common/device.h"
#include "apps/common/train_settings.h"
#include "engine/host_values.h"
#include "engine/random.h"

namespace pneuma::inspect {
namespace {

double norm_of(Context& ctx, const Tensor& t) {
  double sum = 0;
  for (const double v : get_values(ctx, t)) sum += v * v;
  return std::sqrt(sum);
}

}  // namespace

void add_step_flags(CLI::App& c, TapeSettings& s) {
  c.add_option("--num_layers", s.num_layers, "Depth of the ResNet")
      ->check(CLI::IsMember(known_depths()));
  c.add_option("--arch", s.arch, "v1.5, v2 or v1");
  c.add_option("--num_classes", s.num_classes)->check(cli::in_range(1, 100000));
  c.add_option("--image_shape", s.image_shape, "channels,height,width");
  c.add_option("--mini_batch_size", s.mini_batch_size)->check(cli::in_range(2, 65536));
  c.add_option("--device", s.device, "cpu or reference");
  c.add_option("--threads", s.threads)->check(cli::in_range(0, 1024));
  c.add_option("--seed", s.seed);
}

ResNetSettings network_of(const TapeSettings& s) {
  const int channels = parse_image_shape(s.image_shape).channels;
  return {s.num_layers, s.num_classes, channels, ResNetSettings().base_width, arch_named(s.arch)};
}

DrawnBatch draw_batch(Context& ctx, const TapeSettings& s) {
  const ImageShape shape = parse_image_shape(s.image_shape);
  Random random(s.seed, Purpose::test);
  const Tensor x = ctx.persistent({s.mini_batch_size, shape.height, shape.width, shape.channels},
                                  ctx.precision().activation());
  std::vector<float> pixels(size_t(x.shape().count()));
  for (float& v : pixels) v = float(random.normal());
  set_values(ctx, x, pixels);
  const Tensor labels = ctx.persistent({s.mini_batch_size, s.num_classes}, ctx.precision().master);
  std::vector<float> bits(size_t(labels.shape().count()));
  for (float& v : bits) v = float(random.below(2));
  set_values(ctx, labels, bits);
  return {x, labels};
}

CLI::App* add_tape_command(CLI::App& app, TapeSettings& s) {
  CLI::App* tape =
      app.add_subcommand("tape", "Print every node of one training step on drawn pictures");
  add_step_flags(*tape, s);
  return tape;
}

void print_tape(const TapeSettings& s) {
  Context ctx(device_named(s.device, s.threads));
  ResNet model(ctx, network_of(s));
  model.initialize(ctx, s.seed);
  model.parameters().make_gradients(ctx);

  const auto [x, labels] = draw_batch(ctx, s);
  Tape tape;
  model.parameters().watch(tape);
  const Recording recording(ctx, tape);
  const Tensor loss = ops::sigmoid_cross_entropy(ctx, model.forward(ctx, x), labels);

  // The parameters were watched first, so they are the first values.
  const auto& parameters = model.parameters().parameters;
  std::vector<std::string> names;
  for (const Parameter& p : parameters) names.push_back(p.name);
  std::vector<double> norms(tape.nodes().size(), -1);
  const Node* first = tape.nodes().data();
  std::vector<std::string> rows;
  size_t saved = 0;
  for (const Node& node : tape.nodes()) {
    std::string inputs;
    for (const int v : node.inputs) inputs += v < 0 ? " -" : " " + names[size_t(v)];
    rows.push_back(fmt::format("{:>4}  {:<22} {:<18}{:<60} {:>12}", rows.size(), node.name,
                               tape.shape_of(node.output).text(), inputs, node.saved_bytes));
    names.push_back(fmt::format("%{}", names.size() - parameters.size()));
    saved += node.saved_bytes;
  }
  tape.observe = [&](const Node& node, const Tensor& dy) {
    if (dy) norms[size_t(&node - first)] = norm_of(ctx, dy);
  };
  tape.backward(ctx, loss);

  fmt::print("{:>4}  {:<22} {:<18}{:<60} {:>12} {:>12}\n", "node", "op", "output", " inputs",
             "saved bytes", "|gradient|");
  for (size_t i = 0; i < rows.size(); ++i) {
    fmt::print("{} {:>12}\n", rows[i], norms[i] < 0 ? "the loss" : fmt::format("{:.4e}", norms[i]));
  }
  double sum = 0;
  for (const Parameter& p : parameters) sum += std::pow(norm_of(ctx, p.gradient), 2);
  fmt::print("{} nodes, {} saved bytes, loss {:.6f}, {} parameters, |gradient of all| {:.4e}\n",
             rows.size(), saved, get_values(ctx, loss)[0], model.parameters().count(),
             std::sqrt(sum));
}

}  // namespace pneuma::inspect
