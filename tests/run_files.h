// What tests look up in the files of a training run.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "engine/io/atomic_file.h"
#include "engine/io/safetensors.h"

namespace pneuma::testing {

// metrics.jsonl, line by line.
inline std::vector<nlohmann::json> metrics_of(const std::filesystem::path& run) {
  std::vector<nlohmann::json> lines;
  std::istringstream text(read_file(run / "metrics.jsonl", 1 << 20));
  for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

// The same without what a clock wrote.
inline std::vector<nlohmann::json> timeless_metrics_of(const std::filesystem::path& run) {
  std::vector<nlohmann::json> lines = metrics_of(run);
  for (nlohmann::json& line : lines) line.erase("images_per_second"), line.erase("time");
  return lines;
}

// Tensors of `a` whose name begins so stand in `b` with the same bytes; returns how many there are.
inline int check_equal_tensors(const std::filesystem::path& a, const std::filesystem::path& b,
                               const std::string& prefix = "") {
  const SafetensorsFile one(a), other(b);
  int compared = 0;
  for (const FileTensor& t : one.tensors()) {
    if (!t.name.starts_with(prefix)) continue;
    INFO(t.name);
    const FileTensor* u = other.find(t.name);
    REQUIRE(u != nullptr);
    CHECK(std::ranges::equal(t.bytes, u->bytes));
    ++compared;
  }
  if (prefix.empty()) REQUIRE(one.tensors().size() == other.tensors().size());
  return compared;
}

}  // namespace pneuma::testing
