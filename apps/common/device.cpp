#include "apps/common/device.h"

#include <cstring>

#include "engine/error.h"
#include "engine/io/atomic_file.h"
#include "kernels/open_backend.h"

namespace pneuma {

const Backend& device_named(const std::string& name, int threads, const std::string& conv_table,
                            const std::string& precision) {
  std::string why;
  const Backend* backend = open_backend(name, &why);
  if (!backend)
    fail(name == "cuda" || name == "host_cuda" ? Exit::environment : Exit::usage, "--device: {}",
         why);
  if (precision == "float64" && std::string(backend->name) != "reference")
    fail(Exit::usage, "--precision_dtype float64 works with --device reference alone");
  if (threads && backend->device.set_threads) backend->device.set_threads(threads);
  DeviceProperties properties{};
  if (const Status status = backend->device.properties(&properties); !status)
    fail(Exit::environment, "device {}: {}", backend->name, status.message);
  fmt::print("device {}: {}{}\n", backend->name, properties.name, why.empty() ? "" : "; " + why);
  const bool has_bf16 = !std::strstr(properties.name, "bf16 by emulation");
  if (std::string(backend->name) == "cpu" &&
      (precision == "float16" || (precision == "bfloat16" && !has_bf16)))
    fmt::print("note: {} on this cpu is float32 but for storage: for fidelity, not for speed\n",
               precision);
  if (!conv_table.empty()) {
    const auto configure = backend->device.configure;
    const std::string text = read_file(conv_table, 1 << 20);
    const Status status = configure ? configure("conv_table", text.c_str())
                                    : Status{StatusCode::unsupported, "this device takes no table"};
    if (!status) fail(Exit::usage, "--conv_table {}: {}", conv_table, status.message);
  }
  return *backend;
}

}  // namespace pneuma
