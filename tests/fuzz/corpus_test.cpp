// Every input that fuzzing found worth keeping, again, without a fuzzer; and the promises can
// break.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <vector>

#include "engine/error.h"
#include "tests/fuzz/reader.h"

namespace pneuma::fuzz {
namespace {

namespace fs = std::filesystem;

TEST_CASE("the corpus of each reader: taken, or refused in one line") {
  for (const Reader* reader : kReaders) {
    std::vector<fs::path> inputs;
    const fs::path folder = fs::path(PNEUMA_SOURCE_DIR) / "tests/fuzz/corpus" / reader->name;
    for (const auto& entry : fs::directory_iterator(folder)) inputs.push_back(entry.path());
    std::ranges::sort(inputs);
    std::map<bool, int> taken;
    for (const fs::path& input : inputs) {
      CAPTURE(input.string());
      std::ifstream in(input, std::ios::binary);
      const std::vector<char> bytes((std::istreambuf_iterator<char>(in)), {});
      CHECK(bytes.size() <= 4096);
      const std::string said =
          check(*reader, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
      INFO(said);
      // What the reader must take says so in its name.
      CHECK(said.empty() == input.filename().string().starts_with("good"));
      ++taken[said.empty()];
    }
    CHECK(inputs.size() <= 30);
    CHECK(taken[true] >= 2);
    CHECK(taken[false] >= 8);
    MESSAGE(std::string(reader->name), ": ", taken[true], " taken, ", taken[false], " refused");
  }
}

}  // namespace
}  // namespace pneuma::fuzz
