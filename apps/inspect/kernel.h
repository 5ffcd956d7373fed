// inspect_cxr kernel: runs one kernel of the seam once on host_cuda, with traffic counted, and
// prints a page for each launch that it makes: geometry, what ptxas says, occupancy, traffic
// against the least possible, and the source beside it.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "apps/inspect/seam_kernels.h"

namespace pneuma::inspect {

struct KernelSettings {
  std::string name, shape, dtype = "f32";
  KernelRequest request;
  bool source = true;
  std::string ptxas;  // the report; empty: ptxas/sm_70.txt of the build
};

CLI::App* add_kernel_command(CLI::App& app, KernelSettings& settings);
// Without a name: the names of all kernels that the device has.
void inspect_kernel(const KernelSettings& settings);

}  // namespace pneuma::inspect
