#include "data/open_below.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "data/text.h"
#include "engine/error.h"

namespace pneuma {
namespace {

constexpr size_t kMaxName = 4096;  // bytes of a path in a message

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  int get() const { return value_; }

 private:
  int value_;
};

// O_NONBLOCK: a named pipe must not hang the program.
constexpr int kReadFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;

[[noreturn]] void fail_open(const std::string& name, int code) {
  switch (code) {
    case ENOENT:
    case ENOTDIR:
      fail(Exit::data, "{}: no such file; check the list and the folder it is read from", name);
    case EACCES:
    case EPERM:
      fail(Exit::data, "{}: no permission to read it; change its mode or owner", name);
    case EXDEV:
      fail(Exit::data, "{}: leads out of the data folder through a link; copy the file into it",
           name);
    case ELOOP:
      fail(Exit::data, "{}: its links form a circle; replace them by the file", name);
    default:
      fail(Exit::data, "{}: cannot be opened ({})", name, std::strerror(code));
  }
}

// For kernels before 5.6, and sandboxes that forbid openat2. What it checks could be changed
// between the check and the open by somebody who may write into root.
Descriptor open_by_real_path(const std::filesystem::path& root, const std::string& relative,
                             const std::string& name) {
  std::error_code error;
  const auto real_root = std::filesystem::canonical(root, error);
  if (error) fail_open(name, error.value());
  const auto real = std::filesystem::canonical(root / relative, error);
  if (error) fail_open(name, error.value());
  const auto beyond = real.lexically_relative(real_root);
  if (beyond.empty() || *beyond.begin() == "..") fail_open(name, EXDEV);
  return Descriptor(::open(real.c_str(), kReadFlags | O_NOFOLLOW));
}

Descriptor open_below(const std::filesystem::path& root, const std::string& relative,
                      const std::string& name) {
  const Descriptor folder(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0)
    fail(Exit::data, "{}: the data folder cannot be opened ({})",
         printable(root.string(), kMaxName), std::strerror(errno));
  open_how how{};
  how.flags = kReadFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  const long file = ::syscall(SYS_openat2, folder.get(), relative.c_str(), &how, sizeof how);
  if (file < 0 && (errno == ENOSYS || errno == EPERM || errno == EINVAL))
    return open_by_real_path(root, relative, name);
  return Descriptor(static_cast<int>(file));
}

std::vector<std::byte> read_all(const Descriptor& file, const std::string& name, size_t max_bytes) {
  if (file.get() < 0) fail_open(name, errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_open(name, errno);
  if (S_ISDIR(status.st_mode)) fail(Exit::data, "{}: is a folder, not a file", name);
  if (!S_ISREG(status.st_mode))
    fail(Exit::data, "{}: is not a regular file (a pipe, socket or device)", name);
  if (static_cast<uint64_t>(status.st_size) > max_bytes)
    fail(Exit::data, "{}: has {} bytes; at most {} are read", name, status.st_size, max_bytes);
  std::vector<std::byte> bytes(static_cast<size_t>(status.st_size));
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(Exit::data, "{}: cannot be read ({})", name, std::strerror(errno));
    if (got == 0) fail(Exit::data, "{}: became shorter while it was read", name);
    done += static_cast<size_t>(got);
  }
  return bytes;
}

}  // namespace

std::vector<std::byte> read_file_below(const std::filesystem::path& root,
                                       const std::string& relative, size_t max_bytes) {
  const std::string name = printable(root.string() + "/" + relative, kMaxName);
  if (const char* fault = path_fault(relative))
    fail(Exit::data, "{}: the name {}; names must stay inside the data folder", name, fault);
  return read_all(open_below(root, relative, name), name, max_bytes);
}

std::vector<std::byte> read_image_file(const std::filesystem::path& path, size_t max_bytes) {
  return read_all(Descriptor(::open(path.c_str(), kReadFlags)), printable(path.string(), kMaxName),
                  max_bytes);
}

}  // namespace pneuma
