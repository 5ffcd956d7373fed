// Training, validation and test sets, patient by patient: no patient is ever on two sides.
//   patient    70 / 10 / 20 % of the patients, ascending ids shuffled by the seed, nobody lost
//   published  the published recipe's own arithmetic, which loses two patients (see split.cpp)
//   official   the NIH's train_val_list.txt and test_list.txt; an eighth of the patients of
//              train_val, drawn by the seed, are the validation set
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/nih_labels.h"

namespace pneuma {

enum class SplitMethod { patient, published, official };

std::string_view name_of(SplitMethod method);
SplitMethod split_method(std::string_view name);  // throws Exit::usage

inline constexpr std::array<const char*, 3> kSetNames = {"train", "validation", "test"};

struct Split {
  SplitMethod method = SplitMethod::patient;
  uint64_t seed = 0;
  std::array<std::vector<size_t>, 3> sets;  // indices of rows, ascending; order of kSetNames
  std::vector<int64_t> lost_patients;       // ascending; in no set
  // 32 hex digits, XXH3-128 over sorted lines (set, patient, image, labels): who is where with
  // which labels, whatever the file's spelling or order.
  std::string hash;

  const std::vector<size_t>& train() const { return sets[0]; }
  const std::vector<size_t>& validation() const { return sets[1]; }
  const std::vector<size_t>& test() const { return sets[2]; }
};

// Pure: the same rows, method, seed and lists give the same split on any machine. `lists` is the
// folder of the NIH's two lists, read for `official` alone. Throws Exit::data where a set would be
// empty, an image is in neither or both lists, or a patient on two sides.
Split make_split(const std::vector<LabelRow>& rows, SplitMethod method, uint64_t seed,
                 const std::filesystem::path& lists = {});

// Recounts from the sets themselves, whatever made them: throws Exit::data where a set is empty or
// a patient is on two sides. make_split ends with it.
void prove_apart(const Split& split, const std::vector<LabelRow>& rows);

// The text of split.json: method, seed, hash, lost patients, and for each set its patients, images,
// images without a finding, and positives of each finding.
std::string split_json(const Split& split, const std::vector<LabelRow>& rows);

// Writes traindata.csv, valdata.csv and testdata.csv (no header, rows as in the source, as the
// recipe does) and split.json into `folder`, made if need be; each file appears whole or not at
// all.
void write_split(const Split& split, const std::vector<LabelRow>& rows,
                 const std::filesystem::path& folder);

}  // namespace pneuma
