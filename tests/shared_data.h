// Real files for tests: the folder shared/data beside the checkout (or $PNEUMA_SHARED/data). Tests
// that want it say plainly that they skip when it is absent; nothing of it is committed.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace pneuma::testing {

// The folder, or an empty path (after one printed line) when it is not there.
inline std::filesystem::path shared_data() {
  const char* root = std::getenv("PNEUMA_SHARED");
  const std::filesystem::path path =
      (root ? std::filesystem::path(root)
            : std::filesystem::path(PNEUMA_SOURCE_DIR) / ".." / "shared") /
      "data";
  if (std::filesystem::is_directory(path)) return path;
  std::printf("SKIPPED: no test data at %s (set PNEUMA_SHARED)\n", path.c_str());
  return {};
}

}  // namespace pneuma::testing
