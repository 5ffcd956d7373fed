#include "data/record/image_records.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>
#include <unordered_map>

#include "data/lst.h"
#include "data/text.h"
#include "engine/error.h"

namespace pneuma {
namespace {

namespace fs = std::filesystem;

struct Header {
  uint32_t flag;
  float label;
  uint64_t id, unused;
};
static_assert(sizeof(Header) == 24);

std::unordered_map<uint64_t, ListEntry> entries_by_index(const fs::path& list, size_t labels) {
  std::unordered_map<uint64_t, ListEntry> entries;
  for (ListEntry& entry : read_list(list, labels)) {
    const auto index = uint64_t(entry.index);
    if (!entries.emplace(index, std::move(entry)).second)
      fail(Exit::data, "{}: index {} is there twice, so records cannot be told apart by it",
           list.string(), index);
  }
  return entries;
}

}  // namespace

ImageRecord parse_image_record(std::span<const std::byte> payload, const std::string& name) {
  Header header;
  if (payload.size() < sizeof header)
    fail(Exit::data, "{}: has {} bytes where an image record has at least {}; make the file again",
         name, payload.size(), sizeof header);
  std::memcpy(&header, payload.data(), sizeof header);
  payload = payload.subspan(sizeof header);
  if (header.flag > payload.size() / sizeof(float))
    fail(Exit::data, "{}: claims {} labels in {} bytes; make the file again", name, header.flag,
         payload.size());
  ImageRecord record{.id = header.id, .labels = {header.label}};
  if (header.flag > 0) {
    record.labels.resize(header.flag);
    std::memcpy(record.labels.data(), payload.data(), header.flag * sizeof(float));
  }
  record.image = payload.subspan(header.flag * sizeof(float));
  return record;
}

std::string record_name(const RecordFile& file, size_t number, uint64_t id) {
  return fmt::format("{} record {} (id {})", file.path().filename().string(), number, id);
}

Image ImageRecords::image(size_t i, const std::string& name, std::string* warning) const {
  const Record record = file.read(offsets[i]);
  return decode_image(parse_image_record(record.payload, name).image, name, warning);
}

Dataset dataset_of_records(const fs::path& path, const fs::path& list, int num_classes,
                           bool multi_label) {
  const auto records = std::make_shared<ImageRecords>(path);
  const RecordFile& file = records->file;
  size_t width = multi_label ? size_t(num_classes) : 1;  // 0: as many as the first record
  std::unordered_map<uint64_t, ListEntry> entries;
  if (!list.empty()) entries = entries_by_index(list, width);
  Dataset dataset{.root = path.parent_path()};
  for (uint64_t offset = 0; offset < file.size();) {
    const Record record = file.at(offset);
    const std::string where =
        fmt::format("{} record {} at offset {}", path.string(), records->offsets.size(), offset);
    ImageRecord image = parse_image_record(record.payload, where);
    Sample sample{.path = record_name(file, records->offsets.size(), image.id)};
    sample.patient = sample.path;
    if (!list.empty()) {
      const auto entry = entries.find(image.id);
      if (entry == entries.end())
        fail(Exit::data, "{}: its id {} is no index of {}; give the list it was made from", where,
             image.id, list.string());
      image.labels = entry->second.labels;
      if (const auto patient = patient_of_name(entry->second.path))
        sample.patient = std::to_string(*patient);
    }
    if (width == 0) width = image.labels.size();
    if (image.labels.size() != width)
      fail(Exit::data, "{}: labels: {} where {} are needed; {}", where, image.labels.size(), width,
           width == 1 && !multi_label
               ? "give --multi_label 1, or records with one class an image"
               : "check --num_classes, pack all labels into the records, or give their .lst");
    check_labels(image.labels, multi_label ? int(width) : num_classes, multi_label, where);
    sample.labels = std::move(image.labels);
    dataset.samples.push_back(std::move(sample));
    records->offsets.push_back(offset);
    offset = record.end;
  }
  if (dataset.samples.empty()) fail(Exit::data, "{}: has no records; make it again", path.string());
  const fs::path index = index_of(path);
  if (std::error_code error; fs::exists(index, error)) {
    const std::vector<std::string> faults = index_faults(index, records->offsets, 1);
    if (!faults.empty())
      fail(Exit::data, "{}; remove the index (none is needed) or make both files again", faults[0]);
  }
  name_classes(dataset, multi_label ? int(width) : num_classes);
  dataset.records = records;
  return dataset;
}

std::string hash_of_records(const Dataset& dataset) {
  XXH3_state_t state;
  XXH3_128bits_reset(&state);
  const auto add = [&](const void* bytes, size_t size) {
    XXH3_128bits_update(&state, bytes, size);
  };
  const uint64_t size = dataset.records->file.size();
  add(&size, sizeof size);
  for (size_t i = 0; i < dataset.samples.size(); ++i) {
    const Sample& sample = dataset.samples[i];
    add(&dataset.records->offsets[i], sizeof(uint64_t));
    add(sample.path.data(), sample.path.size());  // number and id
    add(sample.patient.data(), sample.patient.size());
    add(sample.labels.data(), sample.labels.size() * sizeof(float));
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(&state);
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::optional<fs::path> find_records(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return path;
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(path, error))
    if (lower(entry.path().extension().string()) == ".rec") found.push_back(entry.path());
  if (found.size() > 1)
    fail(Exit::data, "{}: holds {} .rec files; name the one that is meant", path.string(),
         found.size());
  return found.empty() ? std::nullopt : std::optional(found[0]);
}

}  // namespace pneuma
