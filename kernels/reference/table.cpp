#include "kernels/reference/table.h"

#include "kernels/host_device.h"

namespace pneuma {
namespace {

Status properties(DeviceProperties* p) {
  *p = {"reference", host_memory(), 1, true};
  return {};
}

}  // namespace

const Backend& reference_backend() {
  static const Backend backend = [] {
    Backend b{kBackendAbi, PNEUMA_BUILD, "reference", host_device(properties, nullptr), {}, {}};
    return b;
  }();
  return backend;
}

}  // namespace pneuma
