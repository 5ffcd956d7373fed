// RecordIO streams made byte by byte, good and bad, for the tests of their reader.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace pneuma::testing {

inline std::string word(uint32_t value) { return {reinterpret_cast<const char*>(&value), 4}; }

inline const std::string kRecordMagic = "\x0A\x23\xD7\xCE";

inline std::string record_part(uint32_t cflag, const std::string& bytes) {
  return kRecordMagic + word(cflag << 29 | uint32_t(bytes.size())) + bytes +
         std::string((4 - bytes.size() % 4) % 4, '\0');
}

// One record, split wherever its payload holds the magic number at a multiple of 4.
inline std::string record(const std::string& payload) {
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < payload.size();) {
    const size_t size = std::min<size_t>(4, payload.size() - i);
    if (payload.compare(i, size, kRecordMagic) == 0)
      parts.emplace_back();
    else
      parts.back() += payload.substr(i, size);
    i += size;
  }
  if (parts.size() == 1) return record_part(0, payload);
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i)
    out += record_part(i == 0 ? 1 : i + 1 < parts.size() ? 2 : 3, parts[i]);
  return out;
}

// The payload of an image record; `pack`: labels behind the header, else the first one in it.
inline std::string image_payload(uint64_t id, const std::vector<float>& labels,
                                 const std::string& image, bool pack = true) {
  const float header_label = pack ? 0 : labels.at(0);
  std::string out = word(pack ? uint32_t(labels.size()) : 0);
  out.append(reinterpret_cast<const char*>(&header_label), 4);
  out.append(reinterpret_cast<const char*>(&id), 8).append(8, '\0');
  if (pack) out.append(reinterpret_cast<const char*>(labels.data()), labels.size() * sizeof(float));
  return out + image;
}

// A stream of records, and its index with keys from 0.
inline std::pair<std::string, std::string> record_stream(const std::vector<std::string>& payloads) {
  std::string stream, index;
  for (size_t i = 0; i < payloads.size(); ++i) {
    index += std::to_string(i) + "\t" + std::to_string(stream.size()) + "\n";
    stream += record(payloads[i]);
  }
  return {stream, index};
}

}  // namespace pneuma::testing
