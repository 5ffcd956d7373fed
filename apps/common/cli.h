// What all programs share about their command line: one shape of main(), switches, errors in one
// line, the nearest known flag for a mistyped one.
//
//   int main(int argc, char** argv) {
//     CLI::App app("Trains ...", "train_cxr");
//     Settings settings;
//     app.add_option("--epochs", settings.epochs, "...")->check(pneuma::cli::in_range(1));
//     pneuma::cli::add_switch(app, "--shuffle", settings.shuffle, "...");
//     return pneuma::cli::run(app, argc, argv, [&] { train(settings); });
//   }
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace pneuma::cli {

const char* version();  // "0.1.0"

// A switch. Left away it keeps `value` as it stands; `--name` means 1; `--name V` and `--name=V`
// take 0, 1, true or false, and nothing else. Use it for every yes-or-no flag.
CLI::Option* add_switch(CLI::App& app, const std::string& name, bool& value,
                        const std::string& help);

// For option->check(): a number in [low, high], said in plain words when it is not.
CLI::Validator in_range(double low, double high = std::numeric_limits<double>::infinity());

// Parses the arguments (adding --version), calls body(), and returns main's exit code: 0, or the
// code of the Error that ended it, after one line `<program>: <sentence>` on stderr. A wrong
// command line is exit 2, memory or file system trouble 4; `--help` and `--version` are 0.
// on_failure is given the sentence, too, unless a signal ended the program.
using OnFailure = std::function<void(const std::string& sentence)>;
int run(CLI::App& app, int argc, char** argv, const std::function<void()>& body,
        const OnFailure& on_failure = {});

// The same for a list of arguments without the program's name, for tests.
int run(CLI::App& app, std::vector<std::string> arguments, const std::function<void()>& body,
        const OnFailure& on_failure = {});

}  // namespace pneuma::cli
