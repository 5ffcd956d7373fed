#include "data/record/record_writer.h"

#include <bit>
#include <cstring>

#include "engine/error.h"

namespace pneuma {
namespace {

constexpr size_t kBuffer = size_t{1} << 20;  // bytes that are handed over at once

template <class Number>
void append_little(std::string& to, Number value) {
  for (size_t i = 0; i < sizeof value; ++i) to += char(value >> (8 * i) & 255);
}

void append_part(std::string& stream, uint32_t kind, std::string_view bytes) {
  append_little(stream, kPartMagic);
  append_little(stream, kind << kRecordLengthBits | uint32_t(bytes.size()));
  stream += bytes;
}

}  // namespace

void append_record(std::string& stream, std::string_view record) {
  std::string magic;
  append_little(magic, kPartMagic);
  size_t begin = 0;  // of the part that is not written yet
  for (size_t at = 0; (at = record.find(magic, at)) != record.npos;) {
    if (at % 4 != 0) {
      ++at;
      continue;
    }
    append_part(stream, begin == 0 ? kFirstPart : kMiddlePart, record.substr(begin, at - begin));
    begin = at += 4;
  }
  append_part(stream, begin == 0 ? kWholeRecord : kLastPart, record.substr(begin));
  stream.append(-record.size() % 4, '\0');
}

std::string image_header(int64_t id, std::span<const float> labels, bool pack) {
  pack = pack && labels.size() > 1;
  std::string header;
  append_little(header, pack ? uint32_t(labels.size()) : 0u);
  append_little(header, std::bit_cast<uint32_t>(pack ? 0.f : labels[0]));
  append_little(header, uint64_t(id));
  append_little(header, uint64_t{0});
  if (pack)
    for (const float label : labels) append_little(header, std::bit_cast<uint32_t>(label));
  return header;
}

RecordWriter::RecordWriter(const std::filesystem::path& rec) : path_(rec), file_(rec) {}

void RecordWriter::add(int64_t key, std::string_view record) {
  if (record.size() >= kRecordLimit)
    fail(Exit::data, "index {}: {} bytes are too many for one record; it holds fewer than {}", key,
         record.size(), kRecordLimit);
  index_ += fmt::format("{}\t{}\n", key, bytes());
  append_record(buffer_, record);
  ++records_;
  if (buffer_.size() < kBuffer) return;
  file_.write(buffer_);
  written_ += buffer_.size();
  buffer_.clear();
}

void RecordWriter::commit() {
  file_.write(buffer_);
  written_ += buffer_.size();
  buffer_.clear();
  const std::filesystem::path index = index_of(path_);
  AtomicFile index_file(index, index_.size());
  index_file.write(index_);
  // Should the machine stop between the two, no index stands beside records it does not belong to.
  std::error_code none_there;
  std::filesystem::remove(index, none_there);
  file_.commit();
  index_file.commit();
}

}  // namespace pneuma
