#include "apps/common/cli.h"

#include <doctest/doctest.h>

#include "engine/error.h"

using namespace pneuma;

namespace {

struct Run {
  int exit = -1;
  bool called = false, shuffle = true;
  int epochs = 30;
  std::string model;
};

Run run(
    std::vector<std::string> arguments, const std::function<void()>& body = [] {}) {
  Run result;
  CLI::App app("A program.", "train_cxr");
  app.add_option("--epochs", result.epochs)->check(cli::in_range(1, 10));
  app.add_option("model", result.model);
  cli::add_switch(app, "--shuffle", result.shuffle, "shuffles");
  result.exit = cli::run(app, std::move(arguments), [&] {
    result.called = true;
    body();
  });
  return result;
}

}  // namespace

TEST_CASE("a switch takes an optional value and leaves the next word alone") {
  CHECK(run({}).shuffle);
  CHECK(run({"--shuffle"}).shuffle);
  for (const char* off : {"0", "false"}) {
    CHECK_FALSE(run({"--shuffle", off}).shuffle);
    CHECK_FALSE(run({"--shuffle", off}).exit);
    CHECK_FALSE(run({std::string("--shuffle=") + off}).shuffle);
  }
  CHECK(run({"--shuffle", "1"}).shuffle);
  CHECK(run({"--shuffle", "true", "m"}).model == "m");
  CHECK(run({"--shuffle", "m"}).model == "m");
  CHECK(run({"--shuffle=maybe"}).exit == 2);
  CHECK(run({"--shuffle=2"}).exit == 2);
}

TEST_CASE("exit codes") {
  CHECK(run({"--epochs", "3"}).exit == 0);
  CHECK(run({"--epochs", "3"}).epochs == 3);
  for (const auto& bad : std::vector<std::vector<std::string>>{{"--epochs", "0"},
                                                               {"--epochs", "11"},
                                                               {"--epochs", "nan"},
                                                               {"--epochs", "x"},
                                                               {"--epochs"},
                                                               {"--epoch", "3"},
                                                               {"a", "b"}}) {
    CHECK(run(bad).exit == 2);
    CHECK_FALSE(run(bad).called);
  }
  CHECK(run({"--help"}).exit == 0);
  CHECK_FALSE(run({"--version"}).called);
  CHECK(run({}, [] { fail(Exit::data, "x"); }).exit == 3);
  CHECK(run({}, [] { fail(Exit::interrupted, "x"); }).exit == 130);
  CHECK(run({}, [] { throw std::bad_alloc(); }).exit == 4);
  CHECK(run({}, [] { std::filesystem::create_directory("/proc/x"); }).exit == 4);
  CHECK(run({}, [] { throw std::logic_error("x"); }).exit == 1);
}
