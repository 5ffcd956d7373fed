#include "data/nih_labels.h"

#include <algorithm>
#include <unordered_map>

#include "data/text.h"
#include "engine/error.h"

namespace pneuma {
namespace {

// The fields of one line of CSV (RFC 4180, without line breaks inside quotes).
std::vector<std::string> csv_fields(std::string_view line, const std::string& where) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') {
      if (quoted && i + 1 < line.size() && line[i + 1] == '"')
        fields.back() += line[i++];
      else
        quoted = !quoted;
    } else if (line[i] == ',' && !quoted) {
      fields.emplace_back();
    } else {
      fields.back() += line[i];
    }
  }
  if (quoted) fail(Exit::data, "{}: a quote is not closed; correct the label file", where);
  return fields;
}

struct Columns {
  size_t image = 0, labels = 1, patient = 3;
  bool has_patient = true, header = false;

  bool as_the_recipe() const { return image == 0 && labels == 1 && has_patient && patient == 3; }
};

// The columns from the first line. It is a header if it names any of them.
Columns find_columns(const std::vector<std::string>& first, const std::string& where) {
  const auto column = [&](std::string_view name) {
    return size_t(
        std::find_if(first.begin(), first.end(),
                     [&](const std::string& field) { return same_finding(trim(field), name); }) -
        first.begin());
  };
  Columns columns{column("image index"), column("finding labels"), column("patient id")};
  const size_t none = first.size();
  columns.has_patient = columns.patient != none;
  columns.header = columns.image != none || columns.labels != none || columns.has_patient;
  if (!columns.header) columns = Columns{};
  if (columns.header && (columns.image == none || columns.labels == none))
    fail(Exit::data, "{}: the header has no column '{}'; is this the NIH's label file?", where,
         columns.image == none ? "Image Index" : "Finding Labels");
  if (!columns.header && first.size() < 4)
    fail(Exit::data,
         "{}: neither the NIH's header nor a row image,findings,follow-up,patient; is this the "
         "NIH's label file?",
         where);
  return columns;
}

}  // namespace

std::vector<LabelRow> read_labels(const std::filesystem::path& file) {
  const std::string text = read_text(file);
  std::vector<LabelRow> rows;
  std::unordered_map<std::string, int64_t> seen;  // image -> line
  Columns columns;
  size_t width = 0;
  for_each_line(text, [&](int64_t number, std::string_view line) {
    const std::string where = fmt::format("{}:{}", file.string(), number);
    if (line.size() > kMaxLineBytes)
      fail(Exit::data, "{}: a line of {} bytes; is this a label file?", where, line.size());
    const std::vector<std::string> fields = csv_fields(line, where);
    if (width == 0) {
      columns = find_columns(fields, where);
      // The header of 2017 ends in a comma, and so do its rows, or not.
      width = fields.size() - (columns.header && fields.back().empty());
      if (columns.header) return;
    }
    if (fields.size() != width && !(fields.size() == width + 1 && fields.back().empty()))
      fail(Exit::data, "{}: {} fields where the first line has {}; is the file cut short?", where,
           fields.size(), width);
    LabelRow row;
    row.image = trim(fields.at(columns.image));
    if (const char* fault = path_fault(row.image); fault || row.image.find('/') != row.image.npos)
      fail(Exit::data, "{}: image '{}' {}; a plain file name is needed", where,
           printable(row.image), fault ? fault : "names a folder");
    row.labels = parse_findings(fields.at(columns.labels), where);
    if (columns.has_patient) {
      const std::string_view patient = trim(fields.at(columns.patient));
      const std::optional<int64_t> id = parse_number<int64_t>(patient);
      if (!id || *id < 0)
        fail(Exit::data, "{}: patient '{}' is not a whole number; correct the label file", where,
             printable(patient));
      row.patient = *id;
    } else {
      row.patient = patient_of_name(row.image).value_or(-number);
    }
    row.line = columns.as_the_recipe()
                   ? std::string(line)
                   : fmt::format("{},{},0,{}", row.image, fields.at(columns.labels), row.patient);
    const auto [before, is_new] = seen.try_emplace(row.image, number);
    if (!is_new)
      fail(Exit::data, "{}: image {} stands in line {} already; keep one of the two", where,
           printable(row.image), before->second);
    rows.push_back(std::move(row));
  });
  if (rows.empty()) fail(Exit::data, "{}: holds no rows; fetch it again", file.string());
  return rows;
}

LabelFile find_labels(const std::filesystem::path& folder) {
  LabelFile found;
  for (const char* name : {"Data_Entry_2017_v2020.csv", "Data_Entry_2017_v2020.csv.gz",
                           "Data_Entry_2017.csv", "Data_Entry_2017.csv.gz"}) {
    std::error_code status;
    if (!std::filesystem::exists(folder / name, status)) continue;
    if (found.path.empty()) {
      found.path = folder / name;
    } else {
      found.note += fmt::format("{}{}", found.note.empty() ? "" : ", ", name);
    }
  }
  if (found.path.empty())
    fail(Exit::data,
         "{}: no Data_Entry_2017.csv or Data_Entry_2017_v2020.csv (or .gz) in this folder; put the "
         "NIH's label file there",
         folder.string());
  if (!found.note.empty())
    found.note =
        fmt::format("labels from {}; passed over: {}", found.path.filename().string(), found.note);
  return found;
}

std::optional<int64_t> patient_of_name(std::string_view name) {
  const size_t slash = name.rfind('/');
  if (slash != name.npos) name.remove_prefix(slash + 1);
  // 8 digits, '_', 3 digits, '.'
  if (name.size() < 13 || name[8] != '_' || name[12] != '.') return std::nullopt;
  for (const size_t i : {0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11})
    if (name[i] < '0' || name[i] > '9') return std::nullopt;
  return parse_number<int64_t>(name.substr(0, 8));
}

std::string patient_name(const LabelRow& row) {
  return row.patient < 0 ? row.image : std::to_string(row.patient);
}

}  // namespace pneuma
