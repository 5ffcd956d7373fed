// Image records, as im2rec packs them into RecordIO, and sets of them to train on.
//
//   payload := u32 flag | f32 label | u64 id | u64 0 | flag x f32 labels | encoded image
//
// flag 0: the one label is that of the header. Else the header's is ignored: im2rec's writers
// disagree on it.
#pragma once

#include "data/dataset.h"
#include "data/record/record_file.h"

namespace pneuma {

struct ImageRecord {
  uint64_t id = 0;
  std::vector<float> labels;
  std::span<const std::byte> image;  // of the payload
};

// Throws Exit::data, naming `name`, where the payload is shorter than it says.
ImageRecord parse_image_record(std::span<const std::byte> payload, const std::string& name);

// "F.rec record 17 (id 42)": what messages and predictions.csv call it.
std::string record_name(const RecordFile& file, size_t number, uint64_t id);

// A .rec: pictures stay in the file, 8 bytes a record in memory.
struct ImageRecords {
  explicit ImageRecords(const std::filesystem::path& path) : file(path) {}

  RecordFile file;
  std::vector<uint64_t> offsets;  // ascending

  // Decodes record i; `name` stands in the messages, and what is odd goes to `warning`.
  Image image(size_t i, const std::string& name, std::string* warning = nullptr) const;
};

// The images of a .rec, in the stream's order, with labels as dataset_of_list wants them. An .idx
// beside it must agree with it. A `list`, if given, has each record's labels and the name that
// tells the patient, by index = id (it may have more lines); else each image stands alone. Throws
// Exit::data.
Dataset dataset_of_records(const std::filesystem::path& file, const std::filesystem::path& list,
                           int num_classes, bool multi_label = true);

// 32 hex digits, XXH3-128 over the file's size and each record's place, id and labels: whether a
// set is still the same, for the price of its headers. REQUIRES records.
std::string hash_of_records(const Dataset& dataset);

// The .rec that a path means: itself where it is no folder, the only *.rec of a folder; nothing for
// a folder without one. Throws Exit::data for a folder with several.
std::optional<std::filesystem::path> find_records(const std::filesystem::path& path);

}  // namespace pneuma
