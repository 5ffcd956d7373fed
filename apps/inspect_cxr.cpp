// Looks inside: `tape` prints every node of one training step, `kernel` what one kernel of the seam
// does on a GPU, counted on host_cuda, `precision --explain` each kernel of a step with its dtypes
// and bytes, `experiment` what docs/precision shows.
#include "apps/common/cli.h"
#include "apps/inspect/experiment.h"
#include "apps/inspect/explain.h"
#include "apps/inspect/kernel.h"
#include "apps/inspect/tape.h"

int main(int argc, char** argv) {
  using namespace pneuma;
  CLI::App app("Looks inside the engine.", "inspect_cxr");
  app.require_subcommand(1);
  inspect::TapeSettings t;
  CLI::App* tape = inspect::add_tape_command(app, t);
  inspect::KernelSettings k;
  CLI::App* kernel = inspect::add_kernel_command(app, k);
  inspect::ExplainSettings p;
  bool explains = false;
  CLI::App* precision = app.add_subcommand("precision", "Look into a step of mixed precision");
  precision->add_flag("--explain", explains, "Walk one step: kernels, dtypes, bytes")->required();
  inspect::add_step_flags(*precision, p);
  precision->add_option("--precision_dtype", p.precision_dtype);
  std::string e;
  CLI::App* experiment = inspect::add_experiment_command(app, e);
  return cli::run(app, argc, argv, [&] {
    if (*tape) inspect::print_tape(t);
    if (*kernel) inspect::inspect_kernel(k);
    if (*precision) inspect::explain(p);
    if (*experiment) inspect::run_experiment(e);
  });
}
