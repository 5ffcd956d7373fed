#include <cmath>

#include "data/record/image_records.h"
#include "data/text.h"
#include "data/verify.h"
#include "engine/error.h"

namespace pneuma {
namespace {

constexpr size_t kMostFaults = 1000;  // of the stream, and as many of its index

}  // namespace

// After damage goes on at the next place where a record begins.
void collect_records(const std::filesystem::path& path, std::vector<Picture>& pictures,
                     std::vector<Fault>& faults) {
  const std::string name = printable(path.string(), 4096);
  size_t found = 0;
  const auto note = [&](const std::string& reason, size_t number) {
    if (++found > kMostFaults)
      fail(Exit::data, "{}: has more than {} faults; the others are not listed", name, kMostFaults);
    faults.push_back({name, reason, false, int64_t(number)});
  };
  try {
    const auto records = std::make_shared<ImageRecords>(path);
    const RecordFile& file = records->file;
    size_t width = 0;
    for (uint64_t offset = 0; offset < file.size();) {
      const size_t number = records->offsets.size();
      Record record;
      try {
        record = file.at(offset);
      } catch (const Error& error) {
        note(error.what(), number);
        offset = file.resync(offset + 4);
        continue;
      }
      const std::string where = fmt::format("{} record {} at offset {}", name, number, offset);
      records->offsets.push_back(offset);
      offset = record.end;
      try {
        const ImageRecord image = parse_image_record(record.payload, where);
        if (width == 0) width = image.labels.size();
        if (image.labels.size() != width)
          note(fmt::format("{}: labels: {} where the records before have {}", where,
                           image.labels.size(), width),
               number);
        for (const float label : image.labels)
          if (!std::isfinite(label))
            note(fmt::format("{}: label {} is not finite", where, label), number);
      } catch (const Error& error) {
        note(error.what(), number);
        continue;
      }
      pictures.push_back({name, int64_t(number), [records, number, where](std::string* warning) {
                            records->image(number, where, warning);
                            if (!warning->empty()) *warning = where + ": " + *warning;
                          }});
    }
    if (records->offsets.empty()) note(name + ": has no records; make it again", 0);
    if (std::error_code error; std::filesystem::exists(index_of(path), error))
      for (std::string& fault : index_faults(index_of(path), records->offsets, kMostFaults))
        faults.push_back({name, std::move(fault), false, int64_t(records->offsets.size())});
  } catch (const Error& error) {
    faults.push_back({name, error.what(), false, INT64_MAX});
  }
}

}  // namespace pneuma
