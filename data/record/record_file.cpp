#include "data/record/record_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <unordered_set>

#include "data/text.h"
#include "engine/error.h"

namespace pneuma {
namespace {

static_assert(std::endian::native == std::endian::little, "the format's words are little-endian");

constexpr uint32_t kLengthMask = kRecordLimit - 1;
constexpr uint64_t kHeader = 8;

uint64_t padded(uint64_t length) { return (length + 3) & ~uint64_t{3}; }

uint64_t divided_up(uint64_t n, uint64_t by) { return n / by + (n % by != 0); }

}  // namespace

RecordFile::RecordFile(std::filesystem::path path) : path_(std::move(path)) {
  const std::string name = printable(path_.string(), 4096);
  file_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe must not hang us
  if (file_ < 0)
    fail(Exit::data, "{}: cannot be opened ({}); check the path", name, std::strerror(errno));
  struct stat status {};
  const char* why = ::fstat(file_, &status) != 0 ? std::strerror(errno)
                    : S_ISREG(status.st_mode)    ? nullptr
                                                 : "it is not a plain file";
  if (!why && status.st_size > 0) {
    size_ = uint64_t(status.st_size);
    void* map = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file_, 0);
    if (map == MAP_FAILED)
      why = std::strerror(errno);
    else
      bytes_ = static_cast<const std::byte*>(map);
  }
  if (!why) return;
  ::close(file_);
  fail(Exit::data, "{}: cannot be read as a file of records ({})", name, why);
}

RecordFile::~RecordFile() {
  if (bytes_) ::munmap(const_cast<std::byte*>(bytes_), size_);
  ::close(file_);
}

void RecordFile::fail_at(uint64_t offset, const std::string& what) const {
  fail(Exit::data, "{}: offset {}: {}; the file is damaged or no RecordIO file: make it again",
       printable(path_.string(), 4096), offset, what);
}

uint32_t RecordFile::word(uint64_t offset) const {
  uint32_t value;
  std::memcpy(&value, bytes_ + offset, sizeof value);
  return value;
}

Record RecordFile::at(uint64_t offset) const {
  Record record{.offset = offset, .end = offset};
  uint64_t total = 0, parts = 0;
  for (bool more = true; more; ++parts) {
    const uint64_t here = record.end, left = here < size_ ? size_ - here : 0;
    if (left < kHeader)
      fail_at(here, fmt::format("{} bytes are left where a record's header has {}", left, kHeader));
    if (const uint32_t magic = word(here); magic != kPartMagic)
      fail_at(here, fmt::format("0x{:08x} stands where the magic number 0x{:08x} is needed", magic,
                                kPartMagic));
    const uint32_t cflag = word(here + 4) >> kRecordLengthBits;
    const uint64_t length = word(here + 4) & kLengthMask;
    if (parts > 0 ? cflag != kMiddlePart && cflag != kLastPart
                  : cflag != kWholeRecord && cflag != kFirstPart)
      fail_at(here, fmt::format("the flag of the part is {} where {} is needed", cflag,
                                parts > 0 ? "2 or 3 (inside a record)" : "0 or 1 (at its start)"));
    if (padded(length) > left - kHeader)
      fail_at(here, fmt::format("{} bytes are claimed, padding apart, and {} are left", length,
                                left - kHeader));
    record.payload = {bytes_ + here + kHeader, length};
    record.end = here + kHeader + padded(length);
    more = cflag == kFirstPart || cflag == kMiddlePart;
    total += length + (more ? sizeof kPartMagic : 0);
  }
  if (parts == 1) return record;
  // Smaller than the file: 4 bytes come in for a header of 8.
  record.joined = std::make_shared_for_overwrite<std::byte[]>(total);
  record.payload = {record.joined.get(), total};
  std::byte* to = record.joined.get();
  for (uint64_t here = offset; here < record.end;) {
    const uint64_t length = word(here + 4) & kLengthMask;
    if (here != offset)
      to = std::copy_n(reinterpret_cast<const std::byte*>(&kPartMagic), sizeof kPartMagic, to);
    to = std::copy_n(bytes_ + here + kHeader, length, to);
    here += kHeader + padded(length);
  }
  return record;
}

Record RecordFile::read(uint64_t offset) const {
  struct stat status {};
  if (::fstat(file_, &status) != 0 || uint64_t(status.st_size) < size_)
    fail_at(offset, "the file became shorter while it was in use");
  Record record = at(offset);
  const auto page = uint64_t(::sysconf(_SC_PAGESIZE));
  const uint64_t begin = record.offset / page * page;
  ::madvise(const_cast<std::byte*>(bytes_) + begin, record.end - begin, MADV_WILLNEED);
  return record;
}

uint64_t RecordFile::resync(uint64_t offset) const {
  for (offset = padded(offset); offset < size_ && size_ - offset >= kHeader; offset += 4)
    if (word(offset) == kPartMagic && word(offset + 4) >> kRecordLengthBits <= kFirstPart)
      return offset;
  return size_;
}

std::vector<uint64_t> scan_records(const RecordFile& file, uint64_t begin, uint64_t end) {
  std::vector<uint64_t> offsets;
  for (uint64_t offset = begin; offset < end; offset = file.at(offset).end)
    offsets.push_back(offset);
  return offsets;
}

ByteRange shard_of_bytes(const RecordFile& file, uint64_t part, uint64_t parts) {
  const uint64_t step = padded(divided_up(file.size(), parts));
  const auto cut = [&](uint64_t i) {
    return i == 0 ? 0 : file.resync(std::min(step * i, file.size()));
  };
  return {cut(part), cut(part + 1)};
}

ByteRange shard_of_records(uint64_t count, uint64_t part, uint64_t parts) {
  const uint64_t step = divided_up(count, parts);
  return {std::min(step * part, count), std::min(step * (part + 1), count)};
}

std::vector<std::string> index_faults(const std::filesystem::path& index,
                                      std::span<const uint64_t> offsets, size_t most) {
  std::vector<std::string> faults;
  const std::string name = printable(index.string(), 4096);
  std::vector<bool> named(offsets.size());
  std::unordered_set<int64_t> keys;
  for_each_line(read_text(index), [&](int64_t number, std::string_view line) {
    if (faults.size() >= most) return;
    const auto note = [&](const std::string& what) {
      faults.push_back(fmt::format("{}:{}: {}", name, number, what));
    };
    const auto fields = split_fields(line.substr(0, kMaxLineBytes), '\t');
    const auto key = parse_number<int64_t>(trim(fields.front()));
    const auto offset = parse_number<uint64_t>(trim(fields.back()));
    if (fields.size() != 2 || !key || !offset)
      return note(fmt::format("'{}' is not a key, a tab and an offset", printable(line)));
    const auto found = std::ranges::lower_bound(offsets, *offset);
    if (found == offsets.end() || *found != *offset)
      return note(fmt::format("no record begins at offset {}", *offset));
    std::vector<bool>::reference seen = named[size_t(found - offsets.begin())];
    if (seen) return note(fmt::format("the record at offset {} was named before", *offset));
    seen = true;
    if (!keys.insert(*key).second) note(fmt::format("key {} was there before", *key));
  });
  for (size_t i = 0; i < offsets.size() && faults.size() < most; ++i)
    if (!named[i])
      faults.push_back(fmt::format("{}: record {} at offset {} is not in it", name, i, offsets[i]));
  return faults;
}

std::filesystem::path index_of(std::filesystem::path records) {
  return records.replace_extension(".idx");
}

}  // namespace pneuma
