// Writes records as dmlc-core's RecordIO and MXNet's indexed form do, byte for byte: F.rec, and
// F.idx beside it with one line `key \t offset` a record.
//
// A record stands in F.rec as one part or several: magic, kind << 29 | length, both 32 bits little-
// endian, the bytes, zeros up to a multiple of 4. Where the bytes hold the magic themselves, at a
// multiple of 4 from their start, the record is cut and those 4 bytes are left out: who looks for
// the magic finds starts of parts and nothing else. Kinds: 0 whole, 1 first, 2 middle, 3 last.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "data/record/record_file.h"
#include "engine/io/atomic_file.h"

namespace pneuma {

// Appends the parts of `record` to `stream`. REQUIRES: record.size() < kRecordLimit.
void append_record(std::string& stream, std::string_view record);

// What stands before the image in its record: flag (u32), label (f32), id (u64), 0 (u64), labels.
// One label stands in the header (flag 0); of several `pack` keeps all behind it (flag = how many,
// label 0), else the first alone is kept. REQUIRES: at least one label.
std::string image_header(int64_t id, std::span<const float> labels, bool pack);

// Both files appear at commit(), complete; without it neither is touched.
class RecordWriter {
 public:
  explicit RecordWriter(const std::filesystem::path& rec);
  void add(int64_t key, std::string_view record);  // Exit::data when it is too long
  void commit();                                   // REQUIRES to be called once
  const std::filesystem::path& path() const { return path_; }
  int64_t records() const { return records_; }
  uint64_t bytes() const { return written_ + buffer_.size(); }  // of F.rec

 private:
  std::filesystem::path path_;
  AtomicFile file_;
  std::string buffer_, index_;
  int64_t records_ = 0;
  uint64_t written_ = 0;
};

}  // namespace pneuma
