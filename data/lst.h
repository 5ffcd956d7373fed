// Lists of images in MXNet's .lst form, one line an image: index \t label... \t path.
// Where MXNet reports a malformed line and goes on without it, we refuse the file: a training set
// that shrinks in silence is worse than a stop.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/nih_labels.h"

namespace pneuma {

struct ListEntry {
  int64_t index = 0;
  std::vector<float> labels;
  std::string path;  // below the list's root; may hold blanks
};

// One line with `label_count` finite labels (0: any number from 1). Throws Exit::data with `where`
// and remedy for a wrong label count, a malformed line, a path that leaves the root.
ListEntry parse_list_line(std::string_view line, const std::string& where, size_t label_count);

// Reads a list whose lines hold `label_count` finite labels each (0: as many as the first line).
// Throws Exit::data with file:line for a bad line, and for an empty list.
std::vector<ListEntry> read_list(const std::filesystem::path& file, size_t label_count = 0);

std::string format_list(const std::vector<ListEntry>& entries);

// The recipe's list of the rows: index from 0, the 14 labels as 0 or 1, images/<name>.
std::vector<ListEntry> list_of(const std::vector<LabelRow>& rows);

}  // namespace pneuma
