// .tar.gz of a few files: read and written beside tar itself, cut off, damaged, and with claims.
#include "models/mxnet/archive.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <cstring>

#include "engine/io/atomic_file.h"
#include "engine/random.h"
#include "tests/temporary.h"

namespace pneuma {
namespace {

using testing::message_of;
using testing::Temporary;

bool every(std::string_view) { return true; }

std::string noise(size_t bytes) {
  Random random(3, Purpose::test);
  std::string text(bytes, '\0');
  for (char& c : text) c = char(random.bits());
  return text;
}

void shell(const std::string& command) { REQUIRE(std::system(command.c_str()) == 0); }

}  // namespace

TEST_CASE("what is written is what is read, by tar too, and the same bytes every time") {
  const Temporary folder;
  const std::vector<ArchivedFile> files{{"image-classification-symbol.json", "{}\n"},
                                        {"empty", ""},
                                        {"block", noise(512)},
                                        {"image-classification-0000.params", noise(3 << 20)}};
  write_archive(folder / "model.tar.gz", files);
  const std::vector<ArchivedFile> read = read_archive(folder / "model.tar.gz", every);
  REQUIRE(read.size() == files.size());
  for (size_t k = 0; k < files.size(); ++k) {
    CHECK(read[k].name == files[k].name);
    CHECK(read[k].bytes == files[k].bytes);
  }
  shell("cd '" + folder.path.string() + "' && tar xzf model.tar.gz");
  for (const ArchivedFile& file : files) CHECK(folder.read(file.name) == file.bytes);
  const std::string bytes = folder.read("model.tar.gz");
  write_archive(folder / "model.tar.gz", files);
  CHECK(folder.read("model.tar.gz") == bytes);
}

TEST_CASE("an archive of tar is read, folders and links passed over") {
  const Temporary folder;
  for (const char* format : {"ustar", "gnu", "pax"}) {
    CAPTURE(format);
    folder.write("model/weights.params", "numbers");
    if (format != std::string("ustar"))
      folder.write("model/" + std::string(130, 'n'), "of a long name");
    folder.write("model/other", noise(100'000));
    shell("cd '" + folder.path.string() + "' && ln -sf other model/link && tar czf model.tar.gz " +
          "--format=" + format + " ./model");
    const std::vector<ArchivedFile> read = read_archive(
        folder / "model.tar.gz", [](std::string_view name) { return name.ends_with("params"); });
    REQUIRE(read.size() == 1);
    CHECK(read[0].name == "weights.params");
    CHECK(read[0].bytes == "numbers");
  }
}

TEST_CASE("damage is said, and a claim costs no memory") {
  const Temporary folder;
  const auto refused = [&](const std::string& bytes) {
    folder.write("broken", bytes);
    return message_of(Exit::data, [&] { read_archive(folder / "broken", every); });
  };
  write_archive(folder / "good", std::vector<ArchivedFile>{{"a", noise(3000)}, {"b", "text"}});
  const std::string good = folder.read("good");
  for (size_t size = 0; size < good.size(); size += size < 30 || size > good.size() - 20 ? 1 : 97) {
    CAPTURE(size);
    CHECK(refused(good.substr(0, size)).find("not a whole .tar.gz: ") != std::string::npos);
  }
  const auto packed = [](const std::string& tar) {
    z_stream stream = {};
    deflateInit2(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
    std::string out(tar.size() + 100, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(tar.data()));
    stream.avail_in = uInt(tar.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = uInt(out.size());
    REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    out.resize(out.size() - stream.avail_out);
    deflateEnd(&stream);
    return out;
  };
  const auto header = [](const char* size, int off = 0) {
    std::string block(512, '\0');
    std::strcpy(block.data(), "a");
    std::memcpy(block.data() + 124, size, std::strlen(size));
    std::memset(block.data() + 148, ' ', 8);
    unsigned sum = 0;
    for (const unsigned char c : block) sum += c;
    std::snprintf(block.data() + 148, 8, "%06o", sum + unsigned(off));
    return block;
  };
  CHECK(refused(packed(header("77777777777"))).find("claim more than it can hold") !=
        std::string::npos);
  std::string many;  // 4 KB each is little; not so all of them
  for (int k = 0; k < 400; ++k) many += header("10000") + std::string(4096, '\0');
  CHECK(refused(packed(many)).find("claim more than it can hold") != std::string::npos);
  CHECK(refused(packed(header("00000009"))).find("no octal number") != std::string::npos);
  CHECK(refused(packed(header("0", 1))).find("a header is damaged") != std::string::npos);
  CHECK(refused(packed(header("0"))).find("it is cut off or damaged") != std::string::npos);
  CHECK(refused(packed(noise(5000))).find(": ") != std::string::npos);
  std::string bytes = good;
  bytes[bytes.size() - 6] ^= 1;  // gzip's checksum
  CHECK(refused(bytes).find("it is cut off or damaged") != std::string::npos);
  for (size_t k = 10; k < bytes.size(); k += 61) {
    bytes = good;
    bytes[k] = char(bytes[k] ^ 0x55);
    folder.write("broken", bytes);
    try {
      read_archive(folder / "broken", every);
    } catch (const Error& error) {
      CHECK(error.exit() == Exit::data);
    }
  }
}

}  // namespace pneuma
