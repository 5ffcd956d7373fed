#include "apps/common/cli.h"

#include <cstdio>
#include <iostream>
#include <new>
#include <system_error>

#include "data/text.h"
#include "engine/error.h"

namespace pneuma::cli {
namespace {

bool is_switch_value(const std::string& text) {
  return text == "0" || text == "1" || text == "true" || text == "false";
}

// Every long flag of the program and its sub-commands; `switches` alone, or all.
std::vector<std::string> flags(const CLI::App& app, bool switches) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    if (!switches || option->get_items_expected_max() == 0)
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    const std::vector<std::string> below = flags(*sub, switches);
    names.insert(names.end(), below.begin(), below.end());
  }
  return names;
}

// CLI11 reads `--switch=V` but not `--switch V`: write the second as the first.
std::vector<std::string> join_switches(const CLI::App& app, const std::vector<std::string>& given) {
  const std::vector<std::string> known = flags(app, true);
  std::vector<std::string> joined;
  for (size_t i = 0; i < given.size(); ++i) {
    const std::string name = given[i].substr(0, given[i].find('='));
    joined.push_back(given[i]);
    if (std::find(known.begin(), known.end(), name) == known.end()) continue;
    if (name != given[i] && !is_switch_value(given[i].substr(name.size() + 1)))
      fail(Exit::usage, "{}: a switch takes 0, 1, true or false", printable(given[i]));
    if (name == given[i] && i + 1 < given.size() && is_switch_value(given[i + 1]))
      joined.back() += "=" + given[++i];
  }
  return joined;
}

// The sentence for a command line that CLI11 refused. An unknown word comes first: a mistyped
// required flag is reported as mistyped, not as missing.
std::string explain(const CLI::App& app, const CLI::ParseError& error) {
  std::vector<std::string> commands;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    commands.push_back(sub->get_name());
  const std::vector<std::string> rest = app.remaining(true);
  for (const bool flag : {true, false}) {
    for (const std::string& given : rest) {
      if (given.starts_with("-") != flag) continue;
      const std::string word = given.substr(0, given.find('='));
      const std::string near = nearest(word, flag ? flags(app, false) : commands);
      return fmt::format("unknown {} '{}'{}", flag ? "flag" : "word", printable(word),
                         near.empty() ? "" : " (the nearest is " + near + ")");
    }
  }
  return error.what();
}

void print_error(const std::string& program, std::string& sentence) {
  for (char& c : sentence)
    if (uint8_t(c) < 0x20 || c == 0x7F) c = ' ';  // one line, whatever a file's name holds
  std::cout.flush();
  std::fprintf(stderr, "%s: %s\n", program.c_str(), sentence.c_str());
}

}  // namespace

const char* version() { return PNEUMA_VERSION; }

CLI::Option* add_switch(CLI::App& app, const std::string& name, bool& value,
                        const std::string& help) {
  return app.add_flag(name, value, help + fmt::format(" (switch, default {})", int(value)));
}

CLI::Validator in_range(double low, double high) {
  const std::string range = high == std::numeric_limits<double>::infinity()
                                ? fmt::format("at least {}", low)
                                : fmt::format("from {} to {}", low, high);
  return CLI::Validator(
      [=](std::string& text) {
        const std::optional<double> value = parse_number<double>(text);
        const bool good = value && *value >= low && *value <= high;
        return good ? "" : fmt::format("'{}' is not a number {}", printable(text), range);
      },
      "");
}

int run(CLI::App& app, std::vector<std::string> arguments, const std::function<void()>& body,
        const OnFailure& on_failure) {
  const std::string name = app.get_name();
  const auto report = [&](std::string sentence, Exit exit) {
    const bool signalled = exit == Exit::interrupted || exit == Exit::terminated;
    print_error(name, sentence);
    if (on_failure && !signalled) on_failure(sentence);
    return int(exit);
  };
  app.set_version_flag("--version", name + " " + version());
  try {
    try {
      std::vector<std::string> reversed = join_switches(app, arguments);
      std::reverse(reversed.begin(), reversed.end());  // CLI11 takes them from the back
      app.parse(std::move(reversed));
    } catch (const CLI::Success& success) {
      return app.exit(success);
    } catch (const CLI::ParseError& error) {
      fail(Exit::usage, "{}; see {} --help", explain(app, error), name);
    }
    body();
    std::cout.flush();
    return int(Exit::done);
  } catch (const Error& error) {
    return report(error.what(), error.exit());
  } catch (const std::bad_alloc&) {
    return report("out of memory; use a smaller batch or image", Exit::environment);
  } catch (const std::system_error& error) {
    return report(error.what(), Exit::environment);
  } catch (const std::exception& error) {
    return report(std::string("internal error, please report it: ") + error.what(), Exit(1));
  }
}

int run(CLI::App& app, int argc, char** argv, const std::function<void()>& body,
        const OnFailure& on_failure) {
  return run(app, {argv + 1, argv + argc}, body, on_failure);
}

}  // namespace pneuma::cli
