// A fresh folder for one test, removed with all that is in it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace pneuma::testing {

struct TemporaryFolder {
  std::filesystem::path path = [] {
    std::string name = (std::filesystem::temp_directory_path() / "pneuma-XXXXXX").string();
    return std::filesystem::path(mkdtemp(name.data()));
  }();
  TemporaryFolder() = default;
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

}  // namespace pneuma::testing
