// The NIH's label file, its split, and the list of it.
#include "data/lst.h"
#include "data/nih_labels.h"
#include "tests/fuzz/reader.h"

namespace pneuma::fuzz {
namespace {

void read(const std::filesystem::path& path) {
  const std::vector<LabelRow> rows = read_labels(path);  // throws where the file is bad
  const std::vector<ListEntry> entries = list_of(rows);
  const std::string text = format_list(entries);
  size_t begin = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const size_t end = text.find('\n', begin);
    const ListEntry entry = parse_list_line(text.substr(begin, end - begin), "", kFindingCount);
    require(entry.path == "images/" + rows[i].image, "a list names the image of its row");
    for (size_t k = 0; k < kFindingCount; ++k)
      require(entry.labels[k] == float(rows[i].labels[k]), "a list has the findings of its row");
    begin = end + 1;
  }
}

}  // namespace

// A row takes 10 bytes and 400 as a row, an entry of a list and its text.
const Reader labels{"labels", 128, read};

}  // namespace pneuma::fuzz
