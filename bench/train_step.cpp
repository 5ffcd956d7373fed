// One training step, again and again on one synthetic batch: ResNet-50, 224, batch 16, fp32 (or 16
// bits with the scaler that train_cxr has by default), Adam 1e-4, weighted sigmoid cross-entropy.
// Prints a JSON line as bench/peers/train_step_torch.py does; --trace adds the time of each kernel,
// and the least bytes that it must move.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/common/cli.h"
#include "apps/common/device.h"
#include "engine/host_values.h"
#include "engine/optim/step_results.h"
#include "engine/random.h"
#include "models/resnet.h"

namespace {

using namespace pneuma;
using Clock = std::chrono::steady_clock;

struct Settings {
  int num_layers = 50, size = 224, batch = 16, warmup = 2, steps = 6, threads = 0;
  bool trace = false;
  std::string device = "cpu", precision_dtype = "float32";
};

void measure(const Settings& s) {
  constexpr int kClasses = 14;
  const Backend& backend = device_named(s.device, s.threads);
  const Precision& precision = precision_named(s.precision_dtype);
  const Dtype activation = precision.activation();
  Context ctx(backend, precision);
  ResNet model(ctx, {.num_layers = s.num_layers, .num_classes = kClasses});
  model.initialize(ctx, 0);
  model.parameters().make_gradients(ctx);
  Optimizer optimizer(ctx, model.parameters(), {.kind = OptimizerKind::adam},
                      usual_scaler(precision));

  const auto drawn = [&](Dtype dtype, Shape shape, auto draw) {
    Random random(0, Purpose::test);
    std::vector<float> values(size_t(shape.count()));
    for (float& v : values) v = float(draw(random));
    const Tensor t = ctx.persistent(shape, dtype);
    set_values(ctx, t, values);
    return t;
  };
  const Tensor x =
      drawn(activation, {s.batch, s.size, s.size, 3}, [](Random& r) { return r.normal(); });
  const Tensor y =
      drawn(precision.master, {s.batch, kClasses}, [](Random& r) { return r.uniform() < 0.1; });
  const Tensor positive = drawn(precision.master, {kClasses}, [](Random&) { return 0.9; });
  const Tensor negative = drawn(precision.master, {kClasses}, [](Random&) { return 0.1; });
  StepResults results(ctx, optimizer);
  const auto step = [&] {
    train_step(ctx, model.parameters(), optimizer, 1e-4, [&](Context& c) {
      const Tensor loss = ops::sigmoid_cross_entropy(c, model.forward(c, x), y, positive, negative,
                                                     optimizer.device_state());
      c.run(&Kernels::convert, {loss.view(), {results.loss().view()}});
      return loss;
    });
  };
  const MemoryPlan plan = ctx.record(step);
  // As in training: a step is asked for, then the one before is waited for.
  const auto next = [&] {
    ctx.replay(plan, step);
    results.send();
    if (results.waiting() > 1) results.receive();
  };
  for (int i = 0; i < s.warmup; ++i) next();

  struct Total {
    double seconds = 0, bytes = 0;
    int launches = 0;
  };
  std::map<std::string, Total> by_kernel;
  if (s.trace) {
    ctx.trace = [&](const Launch& launch) {
      Total& total = by_kernel[launch.kernel];
      total.seconds += launch.seconds;
      total.bytes += launch.bytes();
      ++total.launches;
    };
  }
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  const Counts counts = ctx.counts;
  const int64_t allocations = ctx.allocations();
  std::vector<double> seconds;
  for (int i = 0; i < s.steps; ++i) {
    const auto start = Clock::now();
    next();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  getrusage(RUSAGE_SELF, &after);
  for (const auto& [name, total] : by_kernel) {
    fmt::print("{:<30} {:>4} launches {:>9.2f} ms {:>9.2f} MB a step, {:>6.1f} GB/s\n", name,
               total.launches / s.steps, total.seconds / s.steps * 1e3,
               total.bytes / s.steps * 1e-6, total.bytes / total.seconds * 1e-9);
  }
  std::ranges::sort(seconds);
  DeviceProperties properties{};
  backend.device.properties(&properties);
  nlohmann::ordered_json line = {
      {"what", fmt::format("ResNet-{}, {}, batch {}, {}, {}", s.num_layers, s.size, s.batch,
                           precision.name, properties.name)},
      {"images_per_second",
       s.batch / ((seconds[(seconds.size() - 1) / 2] + seconds[seconds.size() / 2]) / 2)},
      {"peak_memory_bytes", after.ru_maxrss * 1024},
      {"page_faults_per_step", double(after.ru_minflt - before.ru_minflt) / s.steps},
      {"allocations_per_step", double(ctx.allocations() - allocations) / s.steps},
      {"synchronisations_per_step",
       double(ctx.counts.synchronisations - counts.synchronisations) / s.steps},
      {"late_waits_per_step", double(ctx.counts.late_waits - counts.late_waits) / s.steps},
      {"planned_step_bytes", plan.peak}};
  if (!properties.host_readable)  // what PyTorch's allocator would count
    line["device_memory_bytes"] = ctx.persistent_bytes() + plan.peak;
  fmt::print("{}\n", line.dump());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Measures a training step.", "bench_train_step");
  Settings s;
  app.add_option("--num_layers", s.num_layers)->check(CLI::IsMember({18, 34, 50, 101, 152}));
  app.add_option("--size", s.size)->check(cli::in_range(32, 4096));
  app.add_option("--batch", s.batch)->check(cli::in_range(1, 4096));
  app.add_option("--warmup", s.warmup)->check(cli::in_range(1, 1000));
  app.add_option("--steps", s.steps)->check(cli::in_range(1, 100000));
  app.add_option("--threads", s.threads)->check(cli::in_range(0, 1024));
  app.add_option("--device", s.device);
  app.add_option("--precision_dtype", s.precision_dtype, "float32, float16 or bfloat16");
  cli::add_switch(app, "--trace", s.trace, "Print the time of each kernel, and its bytes");
  return cli::run(app, argc, argv, [&] { measure(s); });
}
