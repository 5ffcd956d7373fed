// A file of image records, to train on and to verify, and its shards. Pictures are not decoded.
#include "data/record/image_records.h"
#include "data/verify.h"
#include "engine/error.h"
#include "tests/fuzz/reader.h"

namespace pneuma::fuzz {
namespace {

void read(const std::filesystem::path& path) {
  const RecordFile file(path);
  std::vector<Picture> pictures;
  std::vector<Fault> faults;
  collect_records(path, pictures, faults);
  for (uint64_t part = 0; part < 3; ++part) {
    const ByteRange shard = shard_of_bytes(file, part, 3);
    require(shard.begin <= shard.end && shard.end <= file.size(), "a shard is within the file");
  }
  const Dataset dataset = dataset_of_records(path, {}, 0);  // throws where the file is bad
  require(faults.empty(), "what is trained on has no faults for prepare_cxr verify");
  require(pictures.size() == dataset.samples.size(), "both see the same records");
  hash_of_records(dataset);
  uint64_t end = 0;
  for (const uint64_t offset : dataset.records->offsets) {
    require(offset == end, "no byte of the file is passed over");
    end = file.read(offset).end;
  }
  require(end == file.size(), "no byte of the file is passed over");
}

}  // namespace

// A record takes 32 bytes of the file and, with one label, 350 in a data set or as a Picture.
const Reader record{"record", 48, read};

}  // namespace pneuma::fuzz
