#include "kernels/open_backend.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <filesystem>

#include "kernels/cpu/table.h"
#include "kernels/reference/table.h"

namespace pneuma {
namespace {

std::string program_folder() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path().string();
}

const Backend* open_plugin(const std::string& name, std::string* why) {
  const std::string file = fmt::format("libpneuma_{}.so", name);
  std::string path = program_folder() + "/" + file;
  if (!std::filesystem::exists(path))  // a test's program stands beside bin/
    path = program_folder() + "/../bin/" + file;
  if (!std::filesystem::exists(path)) {
    *why =
        fmt::format("this build has no device '{}': {} is not beside the program; {}", name, file,
                    name == "cuda" ? "docs/p3.md tells how to build it" : "run ./pneuma build");
    return nullptr;
  }
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    *why = fmt::format("device '{}' cannot be loaded: {}", name, dlerror());
    return nullptr;
  }
  auto* entry = reinterpret_cast<decltype(&pneuma_backend)>(dlsym(library, "pneuma_backend"));
  const Backend* backend = entry ? entry(kBackendAbi) : nullptr;
  DeviceProperties properties;
  if (!backend || backend->abi != kBackendAbi ||
      std::string(backend->build) != cpu_backend().build) {
    *why = fmt::format("{} belongs to another build of Pneuma; build both together", path);
    return nullptr;
  }
  if (const Status status = backend->device.properties(&properties); !status) {
    *why = fmt::format("device '{}' does not answer: {}", name, status.message);
    return nullptr;
  }
  return backend;
}

const Backend* open_cpu(std::string* why) {
  DeviceProperties properties;
  const Status status = cpu_backend().device.properties(&properties);
  if (!status) *why = fmt::format("device 'cpu' cannot be used: {}", status.message);
  return status ? &cpu_backend() : nullptr;
}

}  // namespace

const Backend* open_backend(const std::string& device, std::string* why) {
  if (device == "reference") return &reference_backend();
  if (device == "cpu") return open_cpu(why);
  if (device == "cuda" || device == "host_cuda") return open_plugin(device, why);
  if (device == "auto") {
    std::string reason;
    if (const Backend* cuda = open_plugin("cuda", &reason)) {
      *why = "a GPU and its driver answer";
      return cuda;
    }
    *why = "no GPU is used: " + reason;
    return open_cpu(why);
  }
  *why =
      fmt::format("unknown device '{}'; known are auto, cpu, cuda, host_cuda, reference", device);
  return nullptr;
}

void* plugin_symbol(const Backend& backend, const char* name) {
  Dl_info info;  // of the library that the table lies in
  if (!dladdr(&backend, &info)) return nullptr;
  void* library = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  return library ? dlsym(library, name) : nullptr;
}

}  // namespace pneuma
