// RecordIO as MXNet and dmlc-core write it: a stream of records, each in one part or in several.
//
//   part := magic 0xCED7230A | cflag << 29 | length | bytes | zeros up to a multiple of 4
//
// cflag 0 is a whole record, 1 the first, 2 a middle and 3 the last part of a split one. Where a
// payload holds the magic number at a multiple of 4, the writer cuts there and leaves it out, so no
// part's bytes hold it at such a place, and a reader finds its way from anywhere (resync).
// The file is hostile until proven otherwise: every length is checked against the file's size, and
// errors are Error(Exit::data) with file and offset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace pneuma {

inline constexpr uint32_t kPartMagic = 0xCED7230A;
inline constexpr int kRecordLengthBits = 29;                            // of lengths, below...
inline constexpr size_t kRecordLimit = size_t{1} << kRecordLengthBits;  // ...this many bytes
enum RecordPartKind : uint32_t { kWholeRecord, kFirstPart, kMiddlePart, kLastPart };  // cflag

struct Record {
  uint64_t offset = 0, end = 0;         // [offset, end) of the file: parts and padding
  std::span<const std::byte> payload;   // into the map where whole, else into `joined`
  std::shared_ptr<std::byte[]> joined;  // of a split record
};

// A file in the address space; nothing of it is copied but the payloads of split records. Const
// functions may be called from several threads.
class RecordFile {
 public:
  explicit RecordFile(std::filesystem::path path);  // maps it and reads nothing
  ~RecordFile();
  RecordFile(const RecordFile&) = delete;
  RecordFile& operator=(const RecordFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  uint64_t size() const { return size_; }  // bytes

  // The record that begins at `offset`. Touches the pages of its headers alone, unless it is split.
  Record at(uint64_t offset) const;
  // The same for one whose bytes are wanted now: asks the disk for all of them at once, and throws
  // where the file has become shorter, since touching what is gone would end the program.
  Record read(uint64_t offset) const;
  // The first offset from `offset` on, a multiple of 4, with the magic number and cflag 0 or 1;
  // size() where there is none.
  uint64_t resync(uint64_t offset) const;

 private:
  uint32_t word(uint64_t offset) const;
  [[noreturn]] void fail_at(uint64_t offset, const std::string& what) const;

  std::filesystem::path path_;
  int file_ = -1;
  uint64_t size_ = 0;
  const std::byte* bytes_ = nullptr;  // null where the file is empty
};

// Where the records of [begin, end) begin, ascending: 8 bytes a record.
std::vector<uint64_t> scan_records(const RecordFile& file, uint64_t begin, uint64_t end);

// Part `part` of `parts` of the stream without an index, as dmlc-core cuts it: an equal range of
// bytes, both ends moved forward to the next record. Each record is in one part; a part may be
// empty.
struct ByteRange {
  uint64_t begin, end;
};
ByteRange shard_of_bytes(const RecordFile& file, uint64_t part, uint64_t parts);

// The same with an index: ceil(count / parts) records in a row, [begin, end); the last parts may
// have fewer.
ByteRange shard_of_records(uint64_t count, uint64_t part, uint64_t parts);

// Every way in which the index (text, `key \t offset of the magic` a line) is damaged or disagrees
// with the records' offsets, ascending: one sentence each with file:line, at most `most` of them.
// Keys are unique and every record is named once; the order is free. Throws Exit::data where it
// cannot be read.
std::vector<std::string> index_faults(const std::filesystem::path& index,
                                      std::span<const uint64_t> offsets, size_t most);

// F.idx of F.rec.
std::filesystem::path index_of(std::filesystem::path records);

}  // namespace pneuma
