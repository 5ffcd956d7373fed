// Fine-tuning: what is frozen keeps every bit and costs no memory; what learns at a factor of the
// rate moves by so much less.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <optional>

#include "engine/host_values.h"
#include "engine/nn/step_watch.h"
#include "engine/optim/optimizer.h"
#include "models/resnet.h"
#include "tests/devices.h"
#include "tests/network.h"

using namespace pneuma;

namespace {

constexpr OptimizerKind kOptimizers[] = {OptimizerKind::sgd, OptimizerKind::nag,
                                         OptimizerKind::adam, OptimizerKind::rmsprop};

struct Net {
  Net(const Backend& backend, const Precision& precision, Arch arch, int freeze_stages,
      double factor, OptimizerSettings settings = {}, bool dry = false, int num_layers = 10)
      : ctx(backend, precision, dry),
        net(ctx, {.num_layers = num_layers, .num_classes = 3, .base_width = 16, .arch = arch}),
        x(testing::noise(ctx, {2, 32, 32, 3}, precision.activation())),
        labels(testing::noise(ctx, {2, 3}, precision.master)) {
    net.initialize(ctx, 1);
    net.fine_tune(freeze_stages, factor);
    net.parameters().make_gradients(ctx);
    optimizer.emplace(ctx, net.parameters(), settings);
    std::vector<double> y = dry ? std::vector<double>(6) : get_values(ctx, labels);
    for (double& v : y) v = v > 0;
    set_values(ctx, labels, std::span<const double>(y));
  }
  Tensor loss(Context& c) { return ops::sigmoid_cross_entropy(c, net.forward(c, x), labels); }
  void step(double rate) {
    train_step(ctx, net.parameters(), *optimizer, rate, [&](Context& c) { return loss(c); });
  }
  const std::vector<Parameter>& all() { return net.parameters().parameters; }

  Context ctx;
  ResNet net;
  Tensor x, labels;
  std::optional<Optimizer> optimizer;
};

// Whether a tensor belongs to the stem or to a stage before `stages`, by its name alone. The norm
// behind the last stage goes with it.
bool is_frozen(const std::string& name, int stages) {
  if (stages == 0 || name.starts_with("fc")) return false;
  const size_t digit = name.starts_with("layer") || name.starts_with("stage") ? 5 : name.npos;
  if (digit == 5) return name[5] - '0' < stages;
  return name.starts_with("bn1_") ? stages == 5 : true;
}

}  // namespace

TEST_CASE("what is frozen keeps every bit, and everything else moves") {
  for (const Backend* device : testing::every_device())
    for (const Precision* precision : {&float32(), &float16(), &bfloat16()})
      for (const Arch arch : {Arch::v1_5, Arch::v2})
        for (const int stages : {0, 3, 5}) {
          CAPTURE(std::string(device->name));
          CAPTURE(std::string(precision->name));
          CAPTURE(std::string(name_of(arch)));
          CAPTURE(stages);
          Net f(*device, *precision, arch, stages, 1,
                {.kind = OptimizerKind::sgd, .weight_decay = 0.1});
          const auto values = [&] {
            std::map<std::string, std::vector<double>> all;
            for (const Parameter& p : f.all()) {
              all[p.name] = get_values(f.ctx, p.value);
              for (const double v : get_values(f.ctx, p.read())) all[p.name].push_back(v);
            }
            for (const Buffer& b : f.net.parameters().buffers)
              all[b.name] = get_values(f.ctx, b.value);
            return all;
          };
          // Shifts start at 0 and statistics at those of N(0, 1): nothing there to decay.
          const auto before = values();
          for (int i = 0; i < 2; ++i) f.step(0.1);
          CHECK(f.optimizer->state(f.ctx).step == 2);
          int frozen = 0;
          for (const auto& [name, value] : values()) {
            CAPTURE(name);
            CHECK((value == before.at(name)) == is_frozen(name, stages));
            frozen += is_frozen(name, stages);
          }
          CHECK((frozen > 0) == (stages > 0));
          size_t learning = 0;
          for (const Parameter& p : f.all()) {
            CHECK(bool(p.gradient) == !is_frozen(p.name, stages));
            learning += bool(p.gradient);
          }
          CHECK(f.optimizer->moments().size() == learning);
          testing::check_working_copies(f.ctx, f.net.parameters());
        }
}

TEST_CASE("with all but the last layer frozen, a training pass is an evaluation") {
  for (const Arch arch : {Arch::v1_5, Arch::v1, Arch::v2}) {
    Net f(reference_backend(), float64(), arch, 5, 1);
    f.step(0.1);
    const std::vector<double> evaluation = get_values(f.ctx, f.net.forward(f.ctx, f.x));
    Tape tape;
    f.net.parameters().watch(tape);
    const Recording recording(f.ctx, tape);
    CHECK(get_values(f.ctx, f.net.forward(f.ctx, f.x)) == evaluation);
    REQUIRE(tape.nodes().size() == 1);
    CHECK(std::string(tape.nodes()[0].name) == "linear");
    CHECK(f.ctx.training);
  }
}

TEST_CASE("what is frozen costs no memory") {
  for (const Arch arch : {Arch::v1_5, Arch::v2}) {
    size_t last_peak = SIZE_MAX, last_stay = SIZE_MAX;
    for (int stages = 0; stages <= 5; ++stages) {
      CAPTURE(stages);
      Net f(reference_backend(), float32(), arch, stages, 1, {}, /*dry=*/true, 50);
      const size_t peak = f.ctx.record([&] { f.step(0.1); }).peak;
      CHECK(peak < last_peak);
      CHECK(f.ctx.persistent_bytes() < last_stay);
      last_peak = peak, last_stay = f.ctx.persistent_bytes();
    }
  }
}

TEST_CASE("a rate factor scales the step of all but the last layer, and nothing else") {
  // In float64 a tenth is a tenth but for the last bits; a power of two is exact in every dtype.
  const auto compare = [](const Backend& device, const Precision& precision, OptimizerKind kind,
                          double factor, double tolerance) {
    CAPTURE(std::string(device.name));
    CAPTURE(std::string(precision.name));
    CAPTURE(std::string(name_of(kind)));
    const OptimizerSettings settings{.kind = kind, .weight_decay = 0.01};
    Net whole(device, precision, Arch::v2, 0, 1, settings);
    Net part(device, precision, Arch::v2, 0, factor, settings);
    std::vector<std::vector<double>> start;
    for (const Parameter& p : whole.all()) start.push_back(get_values(whole.ctx, p.value));
    whole.step(0.125);
    part.step(0.125);
    int scaled = 0;
    for (size_t k = 0; k < start.size(); ++k) {
      const Parameter& p = whole.all()[k];
      CAPTURE(p.name);
      const bool last = p.name.starts_with("fc");
      scaled += !last;
      // Of plain SGD the moment is the first step itself.
      const bool moment = kind == OptimizerKind::sgd;
      const auto moved = [&](Net& net) {
        if (moment) return get_values(net.ctx, net.optimizer->moments()[k].value);
        std::vector<double> v = get_values(net.ctx, net.all()[k].value);
        for (size_t i = 0; i < v.size(); ++i) v[i] -= start[k][i];
        return v;
      };
      const std::vector<double> a = moved(whole), b = moved(part);
      double worst = 0, largest = 0;
      for (size_t i = 0; i < a.size(); ++i) {
        worst = std::max(worst, std::fabs(b[i] - (last ? a[i] : factor * a[i])));
        largest = std::max(largest, std::fabs(a[i]));
      }
      CHECK(largest > 0);
      CHECK(worst <= tolerance * largest);
    }
    CHECK(scaled + 2 == int(start.size()));
  };
  for (const OptimizerKind kind : kOptimizers)
    compare(reference_backend(), float64(), kind, 0.1, 1e-12);
  for (const Backend* device : testing::every_device())
    for (const Precision* precision : {&float32(), &float16(), &bfloat16()})
      compare(*device, *precision, OptimizerKind::sgd, 0.125, 0);
}

TEST_CASE("a bad gradient is found under its number among those that learn") {
  for (const Backend* device : testing::every_device()) {
    Net f(*device, float32(), Arch::v2, 3, 0.5);
    f.step(0.1);
    const auto learning = f.net.parameters().learning();
    for (const size_t k : {size_t{0}, learning.size() / 2, learning.size() - 1}) {
      std::vector<double> gradient = get_values(f.ctx, learning[k]->gradient);
      const std::vector<double> good = gradient, before = get_values(f.ctx, learning[k]->value);
      gradient.back() = NAN;
      set_values(f.ctx, learning[k]->gradient, std::span<const double>(gradient));
      f.optimizer->step(f.ctx, 0.1);
      const StepState state = f.optimizer->state(f.ctx);
      CHECK(!state.good);
      CHECK(state.first_bad == int64_t(k));
      CHECK(get_values(f.ctx, learning[k]->value) == before);
      set_values(f.ctx, learning[k]->gradient, std::span<const double>(good));
    }
  }
}

TEST_CASE("those who look into a step of a frozen network see its layers by their names") {
  Net f(reference_backend(), float32(), Arch::v2, 4, 1);
  Tape tape;
  f.net.parameters().watch(tape);
  StepWatch watch;
  watch.watch(tape, f.net.parameters(), [](Kind, size_t, const Tensor&) {});
  const Recording recording(f.ctx, tape);
  f.loss(f.ctx);
  std::vector<std::string> names;
  for (const StepWatch::Layer& layer : watch.layers()) names.push_back(layer.name);
  CHECK(names == std::vector<std::string>{"stage4_unit1_bn1", "stage4_unit1_conv1",
                                          "stage4_unit1_bn2", "stage4_unit1_conv2",
                                          "stage4_unit1_sc", "add", "bn1", "global_average_pool",
                                          "fc1"});
}

TEST_CASE("there are so many stages and no more") {
  Context ctx(reference_backend(), float32(), true);
  ResNet large(ctx, {.num_layers = 18}), small(ctx, {.num_layers = 20, .arch = Arch::v2});
  large.fine_tune(5, 1);
  CHECK_THROWS_WITH(small.fine_tune(5, 1),
                    "--freeze_stages 5: ResNet-20 has a stem and 3 stages, so it is from 0 to 4");
  CHECK_THROWS_AS(small.fine_tune(-1, 1), Error);
}
