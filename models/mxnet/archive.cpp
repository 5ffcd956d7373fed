#include "models/mxnet/archive.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "engine/error.h"
#include "engine/io/atomic_file.h"

namespace pneuma {
namespace {

constexpr size_t kBlock = 512, kPiece = size_t{1} << 20;
constexpr uint64_t kMostGrowth = 64;  // weights hardly shrink; the rest is small
constexpr int kGzip = 15 + 16;        // zlib's window, and gzip's head and tail around it

struct Header {  // of ustar: numbers are octal text
  char name[100], mode[8], owner[8], group[8], size[12], time[12], checksum[8], type, link[100];
  char magic[8], owner_name[32], group_name[32], major[8], minor[8], prefix[155], rest[12];

  unsigned sum() const {  // with the checksum's own field blank
    Header copy = *this;
    std::memset(copy.checksum, ' ', sizeof copy.checksum);
    unsigned total = 0;
    for (size_t i = 0; i < sizeof copy; ++i) total += reinterpret_cast<unsigned char*>(&copy)[i];
    return total;
  }
};
static_assert(sizeof(Header) == kBlock);

// Hands out what the file unpacks to, piece by piece.
class Unpacker {
 public:
  explicit Unpacker(const std::filesystem::path& path)
      : path_(path), packed_size_(InputFile(path).size()), file_(gzopen(path.c_str(), "rb")) {
    if (!file_) fail(Exit::environment, "{}: cannot be opened; try again", path.string());
  }
  ~Unpacker() { gzclose(file_); }
  Unpacker(const Unpacker&) = delete;

  uint64_t packed_size() const { return packed_size_; }
  void read(char* to, size_t bytes) {
    if (gzread(file_, to, unsigned(bytes)) != int(bytes)) refuse("it is cut off or damaged");
  }
  // `bytes` and what fills their last block; kept in `to` where that is not null.
  void content(uint64_t bytes, std::string* to) {
    std::string skipped;
    for (uint64_t rest = (bytes + kBlock - 1) / kBlock * kBlock; rest > 0;) {
      const size_t n = size_t(std::min<uint64_t>(rest, kPiece)), at = to ? to->size() : 0;
      std::string& piece = to ? *to : skipped;
      piece.resize(at + n);
      read(piece.data() + at, n);
      rest -= n;
    }
    if (to) to->resize(bytes);
  }
  // What follows the last file, unread so far: gzip's checksum of everything stands behind it.
  void finish() {
    std::string piece(kPiece, '\0');
    uint64_t rest = kMostGrowth * packed_size_ + kPiece;
    int n;
    while ((n = gzread(file_, piece.data(), unsigned(kPiece))) > 0) {
      if (uint64_t(n) > rest) refuse("it goes on after its end");
      rest -= uint64_t(n);
    }
    int code = Z_OK;
    gzerror(file_, &code);
    if (code != Z_OK && code != Z_STREAM_END) refuse("it is cut off or damaged");
  }
  [[noreturn]] void refuse(const char* problem) const {
    fail(Exit::data, "{}: not a whole .tar.gz: {}; fetch or export it again", path_.string(),
         problem);
  }

 private:
  const std::filesystem::path path_;
  const uint64_t packed_size_;
  gzFile file_;
};

uint64_t octal(std::span<const char> digits, const Unpacker& archive) {
  uint64_t value = 0;
  for (const char c : digits) {
    if (c == ' ' || c == '\0') continue;
    if (c < '0' || c > '7') archive.refuse("a header of it holds no octal number");
    value = value * 8 + uint64_t(c - '0');
  }
  return value;
}

}  // namespace

void write_archive(const std::filesystem::path& path, std::span<const ArchivedFile> files) {
  std::string tar;
  for (const ArchivedFile& file : files) {
    Header header = {};
    std::strncpy(header.name, file.name.c_str(), sizeof header.name - 1);
    std::strcpy(header.mode, "0000644"), std::strcpy(header.owner, "0000000");
    std::strcpy(header.group, "0000000"), std::strcpy(header.time, "00000000000");
    std::snprintf(header.size, sizeof header.size, "%011zo", file.bytes.size());
    header.type = '0';
    std::memcpy(header.magic, "ustar\00000", sizeof header.magic);
    std::snprintf(header.checksum, sizeof header.checksum, "%06o", header.sum());
    header.checksum[7] = ' ';
    tar.append(reinterpret_cast<const char*>(&header), sizeof header).append(file.bytes);
    tar.append((kBlock - file.bytes.size() % kBlock) % kBlock, '\0');
  }
  tar.append(2 * kBlock, '\0');

  z_stream stream = {};
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    fail(Exit::environment, "{}: no memory to pack it; close other programs", path.string());
  std::string packed(deflateBound(&stream, tar.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(tar.data());
  stream.avail_in = uInt(tar.size());  // weights of ours are far below zlib's 4 GB
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = uInt(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  write_file_atomically(path, packed);
}

std::vector<ArchivedFile> read_archive(const std::filesystem::path& path,
                                       const std::function<bool(std::string_view)>& wanted) {
  Unpacker archive(path);
  std::vector<ArchivedFile> files;
  uint64_t left = kMostGrowth * archive.packed_size();
  while (true) {
    Header header;
    archive.read(reinterpret_cast<char*>(&header), sizeof header);
    if (header.sum() == 8 * ' ') {  // a block of zeros is the end
      archive.finish();
      return files;
    }
    if (octal(header.checksum, archive) != header.sum()) archive.refuse("a header is damaged");
    const uint64_t size = octal(header.size, archive);
    std::string name(header.name, strnlen(header.name, sizeof header.name));
    name = name.substr(name.rfind('/') + 1);
    const bool plain = header.type == '0' || header.type == '\0';
    if (!plain || !wanted(name)) {
      archive.content(size, nullptr);
      continue;
    }
    if (size > left) archive.refuse("its files claim more than it can hold");
    left -= size;
    ArchivedFile& file = files.emplace_back(std::move(name), "");
    archive.content(size, &file.bytes);
  }
}

}  // namespace pneuma
