#include "engine/io/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/error.h"

namespace pneuma {
namespace fs = std::filesystem;

FileSystem file_system = {
    [](const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); },
    ::write,
    ::fsync,
    ::close,
    ::rename,
    ::unlink,
    ::statvfs,
};

namespace {

template <class Call>
auto retry(Call call) {  // a signal is no fault
  decltype(call()) result;
  do result = call();
  while (result == -1 && errno == EINTR);
  return result;
}

const char* remedy(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "free some space or choose another disk";
    case EACCES:
    case EPERM:
    case EROFS:
      return "choose a folder that you may write to";
    case ENOENT:
    case ENOTDIR:
      return "check that the folder exists and that no other process writes there";
    case EISDIR:
      return "choose a name that is not a folder";
    default:
      return "check the disk";
  }
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

// Temporaries of earlier saves of this name: NAME.tmp-<digits and dashes>.
void remove_leftovers(const fs::path& path) {
  const std::string prefix = path.filename().string() + ".tmp-";
  std::error_code ignored;
  for (fs::directory_iterator entry(folder_of(path), ignored), end; !ignored && entry != end;
       entry.increment(ignored)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(prefix) &&
        name.find_first_not_of("0123456789-", prefix.size()) == std::string::npos)
      file_system.unlink(entry->path().c_str());
  }
}

void check_free_space(const fs::path& path, uint64_t bytes) {
  struct statvfs disk;
  if (retry([&] { return file_system.statvfs(folder_of(path).c_str(), &disk); }) != 0) return;
  if (disk.f_blocks == 0) return;  // a file system that does not count
  const double free = double(disk.f_bavail) * double(disk.f_frsize), need = 1.1 * double(bytes);
  if (free < need)
    fail(Exit::environment,
         "cannot write {}: it needs {:.1f} MB and the disk has {:.1f} MB free; free some space or "
         "choose another disk",
         path.string(), need / 1e6, free / 1e6);
}

}  // namespace

AtomicFile::AtomicFile(fs::path path, uint64_t expected_bytes) : path_(std::move(path)) {
  remove_leftovers(path_);
  if (expected_bytes > 0) check_free_space(path_, expected_bytes);
  for (int n = 0; n < 100; ++n) {
    temporary_ = path_;
    temporary_ += fmt::format(".tmp-{}-{}", ::getpid(), n);
    file_ = retry([&] {
      return file_system.open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    });
    if (file_ >= 0 || errno != EEXIST) break;
  }
  if (file_ < 0) {
    const int error = errno;
    temporary_.clear();
    fail_with("create", error);
  }
}

AtomicFile::~AtomicFile() { close_and_remove(); }

void AtomicFile::close_and_remove() noexcept {
  if (file_ >= 0) file_system.close(file_);
  if (!temporary_.empty()) file_system.unlink(temporary_.c_str());
  file_ = -1;
  temporary_.clear();
}

void AtomicFile::fail_with(const char* verb, int error) {
  close_and_remove();
  fail(Exit::environment, "cannot {} {}: {}; {}", verb, path_.string(), std::strerror(error),
       remedy(error));
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = retry([&] { return file_system.write(file_, bytes.data(), bytes.size()); });
    if (n <= 0) fail_with("write", n == 0 ? ENOSPC : errno);
    bytes = bytes.subspan(size_t(n));
  }
}

void AtomicFile::commit() {
  // A failed fsync is final: the kernel may have dropped the pages, so it is not tried again.
  if (retry([&] { return file_system.fsync(file_); }) != 0) fail_with("write", errno);
  const int file = std::exchange(file_, -1);
  if (file_system.close(file) != 0 && errno != EINTR)  // Linux has closed it even with EINTR
    fail_with("write", errno);
  if (retry([&] { return file_system.rename(temporary_.c_str(), path_.c_str()); }) != 0)
    fail_with("replace", errno);
  temporary_.clear();

  const fs::path folder = folder_of(path_);
  const int handle = retry(
      [&] { return file_system.open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0); });
  int error = 0;
  if (handle < 0 || retry([&] { return file_system.fsync(handle); }) != 0) error = errno;
  if (handle >= 0) file_system.close(handle);
  if (error != 0 && error != EINVAL)  // EINVAL: this file system knows no fsync of a folder
    fail(Exit::environment,
         "{} is complete, but the disk did not confirm its folder ({}), so a power loss could "
         "bring the old file back; check the disk",
         path_.string(), std::strerror(error));
}

void write_file_atomically(const fs::path& path, std::string_view bytes) {
  AtomicFile file(path, bytes.size());
  file.write(bytes);
  file.commit();
}

InputFile::InputFile(fs::path path) : path_(std::move(path)) {
  file_ = retry([&] { return ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); });
  if (file_ < 0) fail_with(errno);
  struct stat info;
  int error = ::fstat(file_, &info) == 0 ? 0 : errno;
  if (error == 0 && !S_ISREG(info.st_mode)) error = S_ISDIR(info.st_mode) ? EISDIR : ENODEV;
  if (error != 0) {
    ::close(file_);
    fail_with(error);
  }
  size_ = uint64_t(info.st_size);
}

InputFile::~InputFile() { ::close(file_); }

void InputFile::fail_with(int error) {
  if (error == EIO)
    fail(Exit::environment, "cannot read {}: {}; check the disk", path_.string(),
         std::strerror(error));
  fail(Exit::data, "cannot read {}: {}; check the name and the permissions", path_.string(),
       error == ENODEV ? "Not a plain file" : std::strerror(error));
}

void InputFile::read(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = retry([&] { return ::read(file_, bytes.data(), bytes.size()); });
    if (n < 0) fail_with(errno);
    if (n == 0)
      fail(Exit::data, "{} ends {} bytes too early; fetch or make it again", path_.string(),
           bytes.size());
    bytes = bytes.subspan(size_t(n));
  }
}

std::string read_file(const fs::path& path, size_t cap) {
  InputFile file(path);
  if (file.size() > cap)
    fail(Exit::data, "cannot read {}: it has {} bytes and at most {} are expected; check the name",
         path.string(), file.size(), cap);
  std::string bytes(file.size(), '\0');
  file.read(std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

}  // namespace pneuma
