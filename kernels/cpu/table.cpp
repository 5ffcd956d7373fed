#include "kernels/cpu/table.h"

#include "kernels/host_device.h"

namespace pneuma {
namespace {

Status properties(DeviceProperties* p) {
  *p = {"cpu", host_memory(), 1, true};
  return {};
}

}  // namespace

const Backend& cpu_backend() {
  static const Backend backend = [] {
    Backend b{kBackendAbi, PNEUMA_BUILD, "cpu", host_device(properties, nullptr), {}, {}};
    return b;
  }();
  return backend;
}

}  // namespace pneuma
