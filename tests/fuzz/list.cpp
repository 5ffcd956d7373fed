// A .lst, to train on and to verify; and the same bytes as the .idx of a file of records.
#include "data/lst.h"
#include "data/record/record_file.h"
#include "data/verify.h"
#include "engine/error.h"
#include "tests/fuzz/reader.h"

namespace pneuma::fuzz {
namespace {

void read(const std::filesystem::path& path) {
  constexpr uint64_t kOffsets[] = {0, 40, 80};
  std::vector<Picture> pictures;
  std::vector<Fault> faults;
  collect_list(path, "", pictures, faults);
  try {
    index_faults(path, kOffsets, 10);
  } catch (const Error& error) {
    require(error.exit() == Exit::data, "an index that cannot be read is an error of data");
  }
  const std::vector<ListEntry> entries = read_list(path);  // throws where the file is bad
  require(pictures.size() == entries.size(), "what is trained on is what is verified");
  const std::string text = format_list(entries);
  size_t begin = 0;
  for (const ListEntry& entry : entries) {
    const size_t end = text.find('\n', begin);
    const ListEntry again = parse_list_line(text.substr(begin, end - begin), "", 0);
    require(again.index == entry.index && again.labels == entry.labels && again.path == entry.path,
            "a list that is written is the list that was read");
    begin = end + 1;
  }
}

}  // namespace

// A line takes 6 bytes and, as an entry and a Picture, 400.
const Reader list{"list", 256, read};

}  // namespace pneuma::fuzz
