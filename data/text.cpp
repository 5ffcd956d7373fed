#include "data/text.h"

#include <zlib.h>

#include <algorithm>
#include <memory>
#include <numeric>

#include "engine/error.h"

namespace pneuma {

constexpr uint64_t kMostGrowth = 64;  // of gzip; real label files come to 20

std::string read_text(const std::filesystem::path& file, uint64_t cap) {
  std::error_code status;
  if (std::filesystem::is_directory(file, status))
    fail(Exit::data, "{}: is a folder, a text file is needed", file.string());
  // gzread hands plain files through as they are.
  std::unique_ptr<gzFile_s, int (*)(gzFile)> in(gzopen(file.c_str(), "rb"), gzclose);
  if (!in)
    fail(Exit::data, "{}: cannot be opened; check the path and its permissions", file.string());
  const uint64_t size = std::filesystem::file_size(file, status);  // unknown of a pipe
  const uint64_t most = status ? cap : std::min(cap, kMostGrowth * (size + 1024));
  std::string text;
  char chunk[1 << 16];
  for (;;) {
    const int got = gzread(in.get(), chunk, sizeof chunk);
    if (got <= 0) break;
    if (text.size() + size_t(got) > cap)
      fail(Exit::data, "{}: holds more than {} MB of text; this is no label file or list",
           file.string(), cap >> 20);
    if (text.size() + size_t(got) > most)
      fail(Exit::data, "{}: unpacks to over {} times its size; if it is sound, unpack it first",
           file.string(), kMostGrowth);
    text.append(chunk, size_t(got));
  }
  int code = Z_OK;
  gzerror(in.get(), &code);
  if (code != Z_OK && code != Z_STREAM_END)
    fail(Exit::data, "{}: cannot be read to its end (damaged or cut short); fetch it again",
         file.string());
  if (text.find('\0') != std::string::npos)
    fail(Exit::data, "{}: holds zero bytes, so it is no text file", file.string());
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  return text;
}

void for_each_line(std::string_view text, const std::function<void(int64_t, std::string_view)>& f) {
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!trim(line).empty()) f(number, line);
  }
}

std::vector<std::string_view> split_fields(std::string_view line, char separator) {
  std::vector<std::string_view> fields;
  for (;;) {
    const size_t end = line.find(separator);
    fields.push_back(line.substr(0, end));
    if (end == std::string_view::npos) return fields;
    line.remove_prefix(end + 1);
  }
}

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  return result;
}

static size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0]++;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string wanted = lower(word.substr(0, 200));
  std::string best;
  size_t best_distance = SIZE_MAX;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(wanted, lower(candidate));
    if (distance >= best_distance || 3 * distance > std::max(wanted.size(), candidate.size()))
      continue;
    best = candidate;
    best_distance = distance;
  }
  return best;
}

std::string printable(std::string_view text, size_t most) {
  std::string result(text.substr(0, most));
  for (char& c : result)
    if (uint8_t(c) < 0x20 || c == 0x7F) c = '?';
  return text.size() > most ? result + "..." : result;
}

const char* path_fault(std::string_view path) {
  if (path.empty()) return "is empty";
  if (path.front() == '/') return "is absolute";
  for (const char c : path)
    if (uint8_t(c) < 0x20) return "holds a control character";
  for (const std::string_view part : split_fields(path, '/'))
    if (part == "..") return "leaves the root with '..'";
  return nullptr;
}

}  // namespace pneuma
