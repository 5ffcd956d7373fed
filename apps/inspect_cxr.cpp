// Looks inside: `tape` prints every node of one training step, `kernel` what one kernel of the seam
// does on a GPU, counted on host_cuda, `precision` makes a page of what 16 bits do to each tensor
// of a run, `precision --explain` prints each kernel of a step with its dtypes and bytes,
// `experiment` is what docs/precision shows.
#include "apps/common/cli.h"
#include "apps/inspect/experiment.h"
#include "apps/inspect/explain.h"
#include "apps/inspect/kernel.h"
#include "apps/inspect/precision.h"
#include "apps/inspect/tape.h"

namespace {

using namespace pneuma;

// Of the flags of `precision`, those that a step on drawn pictures has.
inspect::ExplainSettings explained(const CLI::App& c, const inspect::PrecisionSettings& p) {
  const TrainSettings& t = p.train;
  inspect::ExplainSettings e;
  e.num_layers = t.num_layers, e.image_shape = t.image_shape, e.seed = t.seed;
  e.device = t.device, e.threads = t.threads;
  if (c.count("--num_classes")) e.num_classes = t.num_classes;
  if (c.count("--mini_batch_size")) e.mini_batch_size = t.mini_batch_size;
  if (c.count("--precision_dtype")) e.precision_dtype = p.policies[0];
  return e;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Looks inside the engine.", "inspect_cxr");
  app.require_subcommand(1);
  inspect::TapeSettings t;
  CLI::App* tape = inspect::add_tape_command(app, t);
  inspect::KernelSettings k;
  CLI::App* kernel = inspect::add_kernel_command(app, k);
  inspect::PrecisionSettings p;
  bool explains = false;
  CLI::App* precision = inspect::add_precision_command(app, p);
  precision->add_flag("--explain", explains, "Instead, walk one step: kernels, dtypes, bytes");
  std::string e;
  CLI::App* experiment = inspect::add_experiment_command(app, e);
  return cli::run(app, argc, argv, [&] {
    if (*tape) inspect::print_tape(t);
    if (*kernel) inspect::inspect_kernel(k);
    if (*precision && explains) inspect::explain(explained(*precision, p));
    if (*precision && !explains) inspect::inspect_precision(p);
    if (*experiment) inspect::run_experiment(e);
  });
}
