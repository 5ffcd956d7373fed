// The 14 findings of ChestX-ray14, in the order of the published recipe and with the NIH's
// spelling. This order is that of labels, outputs, metrics and files everywhere.
#pragma once

#include <algorithm>
#include <array>
#include <bitset>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "data/text.h"
#include "engine/error.h"

namespace pneuma {

inline constexpr size_t kFindingCount = 14;
inline constexpr std::array<std::string_view, kFindingCount> kFindings = {
    "Atelectasis",  "Consolidation", "Infiltration", "Pneumothorax", "Edema",
    "Emphysema",    "Fibrosis",      "Effusion",     "Pneumonia",    "Pleural_Thickening",
    "Cardiomegaly", "Nodule",        "Mass",         "Hernia"};
inline constexpr std::string_view kNoFinding = "No Finding";

using FindingSet = std::bitset<kFindingCount>;

// Equal but for case, and '_' counts as a blank: papers write "Pleural thickening".
inline bool same_finding(std::string_view a, std::string_view b) {
  const auto fold = [](char c) { return c == '_' ? ' ' : c >= 'A' && c <= 'Z' ? char(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return fold(x) == fold(y); });
}

// The findings of a cell such as "Edema|Mass"; "No Finding" is the empty set. Throws Exit::data,
// naming `where` (file:line), for an unknown word or "No Finding" beside another.
inline FindingSet parse_findings(std::string_view cell, std::string_view where) {
  FindingSet found;
  bool none = false;
  for (std::string_view word : split_fields(cell, '|')) {
    word = trim(word);
    size_t index = 0;
    while (index < kFindingCount && !same_finding(word, kFindings[index])) ++index;
    if (index < kFindingCount) {
      found.set(index);
    } else if (same_finding(word, kNoFinding)) {
      none = true;
    } else {
      std::vector<std::string> known(kFindings.begin(), kFindings.end());
      known.emplace_back(kNoFinding);
      const std::string near = nearest(word, known);
      fail(Exit::data, "{}: unknown finding '{}'{}; correct the label file", where, printable(word),
           near.empty() ? "" : " (the nearest known is " + near + ")");
    }
  }
  if (none && found.any())
    fail(Exit::data, "{}: '{}' says both a finding and none; correct the label file", where,
         printable(cell));
  return found;
}

}  // namespace pneuma
