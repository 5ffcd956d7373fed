// The NIH's label file, Data_Entry_2017.csv, in every spelling met in the wild: plain or gzip, with
// `Patient Gender` or `Patient Sex`, a comma inside the header's brackets, a trailing comma, CRLF,
// a byte order mark, quotes. Also the recipe's traindata.csv, which has no header.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/findings.h"

namespace pneuma {

struct LabelRow {
  std::string image;  // a plain file name, 00000013_005.png; unique in its file
  FindingSet labels;
  int64_t patient = 0;  // >= 0; -line where the image stands alone (no column, no NIH name)
  std::string line;     // as it stood; its fields 0, 1, 3 are image, findings, patient
};

// Reads the rows in the file's order. Columns are found by the header's names; without a header
// they are 0, 1, 3, as the recipe reads them. Throws Exit::data with file:line for an unknown
// finding, a row with too few or too many fields, a bad patient or file name, an image met twice,
// a file without rows.
std::vector<LabelRow> read_labels(const std::filesystem::path& file);

struct LabelFile {
  std::filesystem::path path;
  std::string note;  // which was taken, where a folder has several; else empty
};

// The label file in a data folder: Data_Entry_2017_v2020.csv (the NIH's corrected one) before
// Data_Entry_2017.csv, plain before .gz. Throws Exit::data where there is none.
LabelFile find_labels(const std::filesystem::path& folder);

// The patient in an NIH file name: 00000013_005.png is patient 13. Nothing for another name.
std::optional<int64_t> patient_of_name(std::string_view name);

// The patient as files show it: the number, or the image's name where it stands alone.
std::string patient_name(const LabelRow& row);

}  // namespace pneuma
