// A folder for one test, gone at its end, and the sentence of an Error.
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include "engine/error.h"

namespace pneuma::testing {

class Temporary {
 public:
  Temporary() {
    std::string name = (std::filesystem::temp_directory_path() / "pneuma-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Temporary() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Temporary(const Temporary&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
  }
  std::string read(const std::string& name) const {
    std::ifstream in(path_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  std::filesystem::path path_;
};

// The message of the Error that f() must throw with this exit code.
inline std::string message_of(Exit exit, const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    CHECK(int(error.exit()) == int(exit));
    return error.what();
  }
  FAIL_CHECK("no error");
  return {};
}

}  // namespace pneuma::testing
