// Runs one of our programs as a user would, and keeps what it said.
#pragma once

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "tests/temporary.h"

namespace pneuma::testing {

struct Ran {
  int exit = -1;  // 128 + signal where one ended it
  std::string out, err;

  // Ended with this code after one line `<program>: ...` on stderr that holds `part`.
  bool said(int code, const std::string& program, const std::string& part) const {
    return exit == code && err.starts_with(program + ": ") && err.find(part) != err.npos &&
           err.find('\n') == err.size() - 1;
  }
};

inline Ran run_program(const std::string& program, const std::vector<std::string>& arguments) {
  Temporary folder;
  std::string command = std::string("'") + PNEUMA_BIN_DIR + "/" + program + "'";
  for (const std::string& argument : arguments) {
    command += " '";
    for (const char c : argument) command += c == '\'' ? std::string("'\\''") : std::string(1, c);
    command += "'";
  }
  command += " >'" + (folder / "out").string() + "' 2>'" + (folder / "err").string() + "'";
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), folder.read("out"),
          folder.read("err")};
}

// Of train_cxr: a job on small pictures, quick on one thread.
inline std::vector<std::string> small_job(const std::string& data, const std::string& output,
                                          const std::vector<std::string>& more) {
  std::vector<std::string> all = {"--data",        data,      "--output",          output,
                                  "--image_shape", "3,32,32", "--mini_batch_size", "8",
                                  "--threads",     "1",       "--device",          "cpu"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace pneuma::testing
