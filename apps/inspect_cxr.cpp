// Looks inside: `tape` prints every node of one training step, `kernel` what one kernel of the seam
// does on a GPU, counted on host_cuda, `precision` makes a page of what fewer bits do to each
// tensor (or, with --explain, walks one step), `experiment` shows what docs/precision tells,
// `augment` draws what training would make of a picture.
#include "apps/common/cli.h"
#include "apps/inspect/augment.h"
#include "apps/inspect/experiment.h"
#include "apps/inspect/kernel.h"
#include "apps/inspect/precision.h"
#include "apps/inspect/tape.h"

int main(int argc, char** argv) {
  using namespace pneuma;
  CLI::App app("Looks inside the engine.", "inspect_cxr");
  app.require_subcommand(1);
  inspect::TapeSettings t;
  CLI::App* tape = inspect::add_tape_command(app, t);
  inspect::KernelSettings k;
  CLI::App* kernel = inspect::add_kernel_command(app, k);
  inspect::PrecisionSettings p;
  CLI::App* precision = inspect::add_precision_command(app, p);
  std::string e;
  CLI::App* experiment = inspect::add_experiment_command(app, e);
  inspect::AugmentSettings a;
  CLI::App* augment = inspect::add_augment_command(app, a);
  return cli::run(app, argc, argv, [&] {
    if (*tape) inspect::print_tape(t);
    if (*kernel) inspect::inspect_kernel(k);
    if (*precision) inspect::inspect_precision(p);
    if (*experiment) inspect::run_experiment(e);
    if (*augment) inspect::draw_sheet(a);
  });
}
