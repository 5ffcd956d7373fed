#include "data/lst.h"

#include <cmath>

#include "data/text.h"
#include "engine/error.h"

namespace pneuma {

ListEntry parse_list_line(std::string_view line, const std::string& where, size_t label_count) {
  if (line.size() > kMaxLineBytes)
    fail(Exit::data, "{}: a line of {} bytes; is this a list?", where, line.size());
  const std::vector<std::string_view> fields = split_fields(line, '\t');
  if (fields.size() < 3)
    fail(Exit::data, "{}: {} fields where index, labels and path, each after a tab, are needed",
         where, fields.size());
  ListEntry entry;
  const std::optional<int64_t> index = parse_number<int64_t>(trim(fields.front()));
  if (!index)
    fail(Exit::data, "{}: index '{}' is not a whole number; correct the list", where,
         printable(fields.front()));
  entry.index = *index;
  if (label_count != 0 && fields.size() - 2 != label_count)
    fail(Exit::data, "{}: {} labels where {} are needed; check num_classes and the list", where,
         fields.size() - 2, label_count);
  for (size_t i = 1; i + 1 < fields.size(); ++i) {
    const std::optional<float> label = parse_number<float>(trim(fields[i]));
    if (!label || !std::isfinite(*label))
      fail(Exit::data, "{}: label '{}' is not a number; correct the list", where,
           printable(fields[i]));
    entry.labels.push_back(*label);
  }
  entry.path = trim(fields.back());
  if (const char* fault = path_fault(entry.path))
    fail(Exit::data, "{}: path '{}' {}; give it relative to the images' root folder", where,
         printable(entry.path), fault);
  return entry;
}

std::vector<ListEntry> read_list(const std::filesystem::path& file, size_t label_count) {
  std::vector<ListEntry> entries;
  for_each_line(read_text(file), [&](int64_t number, std::string_view line) {
    entries.push_back(
        parse_list_line(line, fmt::format("{}:{}", file.string(), number), label_count));
    label_count = entries.back().labels.size();
  });
  if (entries.empty())
    fail(Exit::data, "{}: the list is empty; make it again (prepare_cxr list)", file.string());
  return entries;
}

std::string format_list(const std::vector<ListEntry>& entries) {
  std::string text;
  for (const ListEntry& entry : entries)
    text += fmt::format("{}\t{}\t{}\n", entry.index, fmt::join(entry.labels, "\t"), entry.path);
  return text;
}

std::vector<ListEntry> list_of(const std::vector<LabelRow>& rows) {
  std::vector<ListEntry> entries;
  for (const LabelRow& row : rows) {
    ListEntry entry{.index = int64_t(entries.size()), .path = "images/" + row.image};
    for (size_t i = 0; i < kFindingCount; ++i) entry.labels.push_back(row.labels[i]);
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace pneuma
