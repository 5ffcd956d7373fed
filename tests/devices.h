// The devices of this build that tests compare with the oracle: cpu, and host_cuda where it was
// built; or the one that PNEUMA_DEVICE names, alone (cuda, on a machine with a GPU).
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/open_backend.h"
#include "kernels/reference/table.h"

namespace pneuma::testing {

inline const Backend* device_named(const std::string& name) {
  std::string why;
  const Backend* device = open_backend(name, &why);
  REQUIRE_MESSAGE(device, why);
  return device;
}

inline std::vector<const Backend*> devices() {
  if (const char* name = std::getenv("PNEUMA_DEVICE")) return {device_named(name)};
  std::vector<const Backend*> all = {device_named("cpu")};
  if (std::filesystem::exists(PNEUMA_BIN_DIR "/libpneuma_host_cuda.so"))
    all.push_back(device_named("host_cuda"));
  return all;
}

// Those and the reference.
inline std::vector<const Backend*> every_device() {
  std::vector<const Backend*> all = devices();
  all.push_back(&reference_backend());
  return all;
}

}  // namespace pneuma::testing
