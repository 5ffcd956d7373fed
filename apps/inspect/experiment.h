// inspect_cxr experiment NAME: the experiments of docs/precision. Each prints what a protection of
// mixed-precision training does beside what happens without it: the engine's own kernels, optimizer
// and scaler on `reference`, `cpu` or `host_cuda`, so that every run prints the same.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace pneuma::inspect {

CLI::App* add_experiment_command(CLI::App& app, std::string& name);
void run_experiment(const std::string& name);

}  // namespace pneuma::inspect
