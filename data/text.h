// Reading text that comes from outside: whole files under a cap, lines, fields, numbers, and the
// nearest known word for a mistyped one.
#pragma once

#include <charconv>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pneuma {

inline constexpr uint64_t kMaxTextBytes = uint64_t{256} << 20;  // the NIH's label file: 8 MB

inline constexpr size_t kMaxLineBytes = 65536;  // of a label file, a list, an index: far above any

// The file's text, unpacked if it is gzip (whatever its name), without a byte order mark. Throws
// Exit::data when it cannot be read, is damaged, holds a zero byte, or passes `cap` bytes or 64
// times the file's size unpacked.
std::string read_text(const std::filesystem::path& file, uint64_t cap = kMaxTextBytes);

// Calls back with (line number from 1, line without its end). Ends are \n or \r\n; blank lines are
// passed over, but counted.
void for_each_line(std::string_view text, const std::function<void(int64_t, std::string_view)>& f);

std::vector<std::string_view> split_fields(std::string_view line, char separator);
std::string_view trim(std::string_view text);  // without blanks and tabs at both ends
std::string lower(std::string_view text);      // ASCII

// The whole of `text` as a number, or nothing.
template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The candidate with the smallest edit distance (Levenshtein) to `word`, ignoring case; the first
// of equals; empty when there is none, or none within a third of the longer word's length.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

// A word from outside, fit for a one-line message: at most `most` bytes, control characters as '?'.
std::string printable(std::string_view text, size_t most = 60);

// Why `path` cannot be a path below a root folder ("is absolute", "leaves the root"...), or null.
const char* path_fault(std::string_view path);

}  // namespace pneuma
