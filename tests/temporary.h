// Files in a folder for one test, and the sentence of an Error.
#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include "engine/error.h"
#include "tests/temporary_folder.h"

namespace pneuma::testing {

struct Temporary : TemporaryFolder {
  std::filesystem::path operator/(const std::string& name) const { return path / name; }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name, std::ios::binary) << text;
  }
  std::string read(const std::string& name) const {
    std::ifstream in(path / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
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
