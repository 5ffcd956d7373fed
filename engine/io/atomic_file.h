// Files that are either the old one or the complete new one, whenever the machine stops.
//
// A save writes a temporary file `NAME.tmp-PID-N` beside the target, fsyncs and closes it, renames
// it over the target, and fsyncs the folder. Until the rename the old file is not touched. A
// temporary that a killed process left behind is removed by the next save of the same name. Two
// processes that save one name at once never tear it: one of them gets an error.
//
// Errors are Error(Exit::environment) with the path, the reason and a remedy. If only the last step
// (the folder's fsync) fails, the new file stands complete, and the message says that a power loss
// could still undo it.
#pragma once

#include <sys/statvfs.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace pneuma {

class AtomicFile {
 public:
  // Opens the temporary. `expected_bytes`, where known, is checked first against the free space of
  // the disk, with a tenth to spare. Missing folders are not made.
  explicit AtomicFile(std::filesystem::path path, uint64_t expected_bytes = 0);
  ~AtomicFile();  // without commit() removes the temporary
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);  // unbuffered: hand over large pieces
  void write(std::string_view bytes) { write(std::as_bytes(std::span(bytes))); }
  void commit();  // ENSURES the target is the new file, on the disk; REQUIRES to be called once

 private:
  void close_and_remove() noexcept;
  [[noreturn]] void fail_with(const char* verb, int error);

  std::filesystem::path path_, temporary_;
  int file_ = -1;
};

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

// A plain file, read from its start on. Missing, unreadable, not a plain file, or shorter than
// asked: Error(Exit::data); a fault of the disk: Exit::environment.
class InputFile {
 public:
  explicit InputFile(std::filesystem::path path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  uint64_t size() const { return size_; }  // bytes, when it was opened
  void read(std::span<std::byte> bytes);   // the next bytes.size() bytes, all of them

 private:
  [[noreturn]] void fail_with(int error);

  std::filesystem::path path_;
  int file_;
  uint64_t size_;
};

// The whole file; over `cap` bytes (checked before anything is allocated) is Error(Exit::data).
std::string read_file(const std::filesystem::path& path, size_t cap);

// The system calls that a save makes. Tests replace entries to inject faults.
struct FileSystem {
  int (*open)(const char* path, int flags, mode_t mode);
  ssize_t (*write)(int file, const void* bytes, size_t count);
  int (*fsync)(int file);
  int (*close)(int file);
  int (*rename)(const char* from, const char* to);
  int (*unlink)(const char* path);
  int (*statvfs)(const char* path, struct statvfs* result);
};
extern FileSystem file_system;

}  // namespace pneuma
