// Runs one of our programs as a user would, and keeps what it said.
#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
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
  std::string command =
      fmt::format("'{}'", (std::filesystem::path(PNEUMA_BIN_DIR) / program).string());
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

// Starts a program without waiting; its output goes nowhere.
inline pid_t start_program(const std::string& name, std::vector<std::string> arguments) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    const std::string path = std::string(PNEUMA_BIN_DIR) + "/" + name;
    arguments.insert(arguments.begin(), path);
    std::vector<char*> argv;
    for (std::string& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    freopen("/dev/null", "w", stdout);
    freopen("/dev/null", "w", stderr);
    execv(path.c_str(), argv.data());
    _exit(127);
  }
  return child;
}

inline int exit_of(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

inline void wait_for_lines(const std::filesystem::path& file, size_t lines) {
  const auto lines_of = [&] {
    std::ifstream in(file);
    size_t count = 0;
    for (std::string line; std::getline(in, line);) ++count;
    return count;
  };
  for (int i = 0; i < 3000 && lines_of() < lines; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  REQUIRE(lines_of() >= lines);
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
