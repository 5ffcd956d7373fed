// The readers of files from outside, as fuzzing asks them: whatever the bytes are, they are read,
// or refused by an Error(Exit::data) of one line that names the file; in memory that goes by the
// file's size, with no file left open. Inputs that once were refused otherwise, or are near to
// that, stand in corpus/<name>/.
//
// To add one: <name>.cpp beside this file, its name here, in kReaders and in CMakeLists.txt.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace pneuma::fuzz {

struct Reader {
  const char* name;
  // Bytes of memory that a byte of the file (unpacked) may take: its rows or records as the program
  // holds them, and as much again and more where a vector grows.
  int64_t growth;
  void (*read)(const std::filesystem::path& file);
};

extern const Reader record, list, params, safetensors, labels;
inline constexpr const Reader* kReaders[] = {&record, &list, &params, &safetensors, &labels};

// Ends the program, with a sentence, where the promise above is broken. Returns what the reader
// said; "" where it took the file.
std::string check(const Reader& reader, std::span<const uint8_t> bytes);

// For a reader: ends the program where what must hold of every file that was taken does not.
void require(bool holds, const char* what);

}  // namespace pneuma::fuzz
