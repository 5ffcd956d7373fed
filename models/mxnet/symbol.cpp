#include "models/mxnet/symbol.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

namespace pneuma {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kKept = 0.9;  // of a running statistic at each step, in MXNet's sense

std::string without_end(const std::string& name, char separator) {
  return name.substr(0, name.rfind(separator));
}
std::string replaced(std::string s, std::string_view from, std::string_view to) {
  const size_t at = s.rfind(from);
  return at == s.npos ? s + "_" + std::string(to) : s.replace(at, from.size(), to);
}
std::string pair_of(int64_t n) { return fmt::format("({0}, {0})", n); }

std::string with_end(const std::string& torchvision, const char* end) {
  std::string name = without_end(torchvision, '.');
  std::ranges::replace(name, '.', '_');
  return name + "_" + end;
}

class Graph {
 public:
  explicit Graph(const ResNet& net) : net_(net) {
    nodes_of_[0] = variable("data");
    if (net.plan().data_norm.empty())
      nodes_of_[0] = norm("normalize", nodes_of_[0], 0, true, {{"use_global_stats", "True"}});
  }

  // Value 0 of the tape is the image, value 1 + k parameter k.
  void add(const Node& node, const Tape& tape) {
    const std::string kind = node.name;
    const Attributes& a = node.attributes;
    int& made = nodes_of_[node.output];
    if (kind == "convolution") {
      const Shape& w = tape.shape_of(node.inputs[1]);
      made = op("Convolution", layer(node.inputs[1]), {input(node, 0), weight(node.inputs[1])},
                {{"kernel", fmt::format("({}, {})", w[1], w[2])},
                 {"no_bias", "True"},
                 {"num_filter", std::to_string(w[0])},
                 {"pad", pair_of(a.padding)},
                 {"stride", pair_of(a.stride)}});
    } else if (kind.starts_with("batch_norm")) {
      const std::string name = layer(node.inputs[3]);
      made = norm(name, input(node, 0), net_.plan().eps, node.inputs[2] < 0);
      if (node.inputs[1] >= 0) made = plus(made, input(node, 1));
      if (a.relu)
        made = op("Activation", replaced(name, "bn", "relu"), {made}, {{"act_type", "relu"}});
    } else if (kind == "add") {
      made = plus(input(node, 0), input(node, 1));
    } else if (kind == "max_pool") {
      made = op("Pooling", "pooling0", {input(node, 0)},
                {{"kernel", pair_of(a.kernel)},
                 {"pad", pair_of(a.padding)},
                 {"pool_type", "max"},
                 {"stride", pair_of(a.stride)}});
    } else if (kind == "global_average_pool") {
      const int pool = op("Pooling", "pool1", {input(node, 0)},
                          {{"global_pool", "True"}, {"kernel", pair_of(7)}, {"pool_type", "avg"}});
      made = op("Flatten", "flatten0", {pool});
    } else if (kind == "linear") {
      made = op("FullyConnected", layer(node.inputs[1]),
                {input(node, 0), weight(node.inputs[1]), weight(node.inputs[2])},
                {{"num_hidden", std::to_string(tape.shape_of(node.inputs[1])[0])}});
    } else {
      fail(Exit::usage, "a network with the op '{}' cannot be written for MXNet", kind);
    }
  }

  std::string finish(bool multi_label) {
    const int logits = int(nodes_.size()) - 1, label = variable("softmax_label");
    const int end = multi_label ? op("LogisticRegressionOutput", "logistic", {logits, label})
                                : op("SoftmaxOutput", "softmax", {logits, label});
    Json arguments = Json::array();
    for (size_t k = 0; k < nodes_.size(); ++k)
      if (nodes_[k]["op"] == "null") arguments.push_back(k);
    return Json{{"nodes", nodes_},
                {"arg_nodes", arguments},
                {"heads", {{end, 0, 0}}},
                {"attrs", {{"mxnet_version", {"int", 10901}}}}}
               .dump(2) +
           "\n";
  }

 private:
  int op(const char* kind, const std::string& name, const std::vector<int>& inputs,
         Json attributes = Json::object()) {
    Json from = Json::array();
    for (const int k : inputs) from.push_back({k, 0, 0});
    Json node{{"op", kind}, {"name", name}};
    if (!attributes.empty()) node["attrs"] = attributes;
    node["inputs"] = from;
    nodes_.push_back(node);
    return int(nodes_.size()) - 1;
  }
  int variable(const std::string& name) { return op("null", name, {}); }
  int plus(int a, int b) { return op("elemwise_add", fmt::format("_plus{}", sums_++), {a, b}); }
  int norm(const std::string& name, int x, double eps, bool fix_gamma,
           const Json& more = Json::object()) {
    std::vector<int> inputs{x};
    for (const char* end : {"_gamma", "_beta", "_moving_mean", "_moving_var"})
      inputs.push_back(variable(name + end));
    Json attributes{{"eps", fmt::format("{}", eps)},
                    {"fix_gamma", fix_gamma ? "True" : "False"},
                    {"momentum", fmt::format("{}", kKept)}};
    attributes.update(more);
    return op("BatchNorm", name, inputs, attributes);
  }

  int input(const Node& node, size_t k) const { return nodes_of_.at(node.inputs[k]); }
  std::string name_of(int value) const {
    return mxnet_name(net_.parameters().parameters.at(size_t(value - 1)));
  }
  std::string layer(int value) const { return without_end(name_of(value), '_'); }
  int weight(int value) { return variable(name_of(value)); }

  const ResNet& net_;
  Json nodes_ = Json::array();
  std::map<int, int> nodes_of_;  // of the tape's values
  int sums_ = 0;
};

}  // namespace

std::string mxnet_name(const Parameter& p) {
  if (p.name.find('.') == p.name.npos) return p.name;
  constexpr const char* kEnds[] = {"weight", "bias", "gamma", "beta"};  // of Role
  return with_end(p.name, kEnds[size_t(p.role)]);
}

std::string mxnet_name(const Buffer& b) {
  if (b.name.find('.') == b.name.npos) return b.name;
  return with_end(b.name, b.name.ends_with("mean") ? "moving_mean" : "moving_var");
}

std::string symbol_json(Context& ctx, const ResNet& net, const ModelInfo& info) {
  const auto& [channels, height, width] = info.image_shape;
  const Tensor image = ctx.persistent({1, height, width, channels}, ctx.precision().activation());
  Graph graph(net);
  ctx.record([&] {
    Tape tape;
    tape.watch(image);
    for (const Parameter& p : net.parameters().parameters) tape.watch(p.read());
    const Recording recording(ctx, tape);
    const Tensor logits = net.forward(ctx, image);
    for (const Node& node : tape.nodes()) graph.add(node, tape);
  });
  return graph.finish(info.multi_label);
}

}  // namespace pneuma
