// Errors: one sentence for the user (what, where, what to do) and the exit code that a program ends
// with. Library code throws; only main() turns an Error into an exit. Expected bad data in kernels
// is a Status (kernels.h).
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace pneuma {

enum class Exit : int {
  done = 0,
  usage = 2,        // a flag or setting
  data = 3,         // an input file
  environment = 4,  // disk, memory, device
  numeric = 5,      // inf or nan that did not go away
  interrupted = 130,
  terminated = 143,
};

class Error : public std::runtime_error {
 public:
  Error(Exit exit, const std::string& message) : std::runtime_error(message), exit_(exit) {}
  Exit exit() const { return exit_; }

 private:
  Exit exit_;
};

// fail(Exit::data, "{}:{}: unknown finding '{}'; known are {}", file, line, name, known);
template <class... Args>
[[noreturn]] void fail(Exit exit, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(exit, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace pneuma
