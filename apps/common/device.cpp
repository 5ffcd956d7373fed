#include "apps/common/device.h"

#include "engine/error.h"
#include "kernels/open_backend.h"

namespace pneuma {

const Backend& device_named(const std::string& name, int threads) {
  std::string why;
  const Backend* backend = open_backend(name, &why);
  if (!backend)
    fail(name == "cuda" || name == "host_cuda" ? Exit::environment : Exit::usage, "--device: {}",
         why);
  if (threads && backend->device.set_threads) backend->device.set_threads(threads);
  DeviceProperties properties{};
  if (const Status status = backend->device.properties(&properties); !status) {
    fail(Exit::environment, "device {}: {}", backend->name, status.message);
  }
  fmt::print("device {}: {}{}\n", backend->name, properties.name, why.empty() ? "" : "; " + why);
  return *backend;
}

}  // namespace pneuma
