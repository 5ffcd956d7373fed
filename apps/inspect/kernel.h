// inspect_cxr kernel: runs one kernel of the seam once on host_cuda, with traffic counted, and
// prints a page for each launch that it makes: geometry, what ptxas says, occupancy, traffic
// against the least possible, and the source beside it.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "apps/inspect/seam_kernels.h"
#include "kernels/host_cuda/control.h"

namespace pneuma::inspect {

struct KernelSettings {
  std::string name, shape, dtype = "f32";
  KernelRequest request;
  bool source = true;
  std::string ptxas;  // the report; empty: ptxas/sm_70.txt of the build
};

// Throws, naming the nearest.
const SeamKernel& kernel_named(const std::string& name);

// One run of a kernel on drawn inputs on host_cuda: its launches, its least bytes.
struct Traffic {
  std::vector<host_cuda::LaunchRecord> launches;
  double floor = 0;
  double moved() const;  // bytes of all launches
};
Traffic count_traffic(const Backend& host_cuda, const SeamKernel& kernel,
                      const KernelRequest& request, const Precision& precision);

CLI::App* add_kernel_command(CLI::App& app, KernelSettings& settings);
// Without a name: the names of all kernels that the device has.
void inspect_kernel(const KernelSettings& settings);

}  // namespace pneuma::inspect
