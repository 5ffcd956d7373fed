// Saves that fail or die at every system call: the old or the new file stands, never a torn one.
#include "engine/io/atomic_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "engine/error.h"
#include "tests/temporary_folder.h"

namespace pneuma {
namespace {
namespace fs = std::filesystem;

using testing::TemporaryFolder;

constexpr size_t kCap = size_t{1} << 30;

Exit exit_of(const std::function<void()>& action, std::string* message = nullptr) {
  try {
    action();
  } catch (const Error& error) {
    if (message) *message = error.what();
    return error.exit();
  }
  return Exit::done;
}

size_t files_in(const fs::path& folder) {
  return size_t(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

// --- The faulty machine: every call passes here, and call number `at` meets the fault.
enum class Fault { none, eio, enospc, eintr, short_write, crash };
const FileSystem real = file_system;
struct {
  int calls, at;
  Fault fault;
} machine;

// True when this call shall fail with errno set.
bool faulty() {
  if (machine.calls++ != machine.at) return false;
  switch (machine.fault) {
    case Fault::crash:
      ::_exit(9);
    case Fault::eio:
      errno = EIO;
      return true;
    case Fault::enospc:
      errno = ENOSPC;
      return true;
    case Fault::eintr:
      errno = EINTR;
      return true;
    default:
      return false;
  }
}

struct FaultyMachine {
  FaultyMachine(int at, Fault fault) {
    machine = {0, at, fault};
    file_system.open = [](const char* path, int flags, mode_t mode) {
      return faulty() ? -1 : real.open(path, flags, mode);
    };
    file_system.write = [](int file, const void* bytes, size_t count) -> ssize_t {
      const bool now = machine.calls == machine.at;
      if (now && machine.fault == Fault::crash) count = count / 2;  // dies amid the write
      if (now && machine.fault == Fault::crash) (void)!real.write(file, bytes, count);
      if (faulty()) return -1;
      if (now && machine.fault == Fault::short_write) count = (count + 2) / 3;
      return real.write(file, bytes, count);
    };
    file_system.fsync = [](int file) { return faulty() ? -1 : real.fsync(file); };
    file_system.close = [](int file) {
      const int result = real.close(file);  // as on Linux: closed even when it reports a fault
      return faulty() ? -1 : result;
    };
    file_system.rename = [](const char* a, const char* b) {
      return faulty() ? -1 : real.rename(a, b);
    };
    file_system.unlink = [](const char* path) { return faulty() ? -1 : real.unlink(path); };
    file_system.statvfs = [](const char* path, struct statvfs* result) {
      return faulty() ? -1 : real.statvfs(path, result);
    };
  }
  ~FaultyMachine() { file_system = real; }
};

void save(const fs::path& path, const std::string& bytes) {  // in three pieces, as a checkpoint is
  AtomicFile file(path, bytes.size());
  const size_t third = bytes.size() / 3;
  file.write(std::string_view(bytes).substr(0, third));
  file.write(std::string_view(bytes).substr(third, third));
  file.write(std::string_view(bytes).substr(2 * third));
  file.commit();
}

const std::string kOld(3000, 'o'), kNew(5000, 'n');

}  // namespace

TEST_CASE("what is written is what is read") {
  TemporaryFolder folder;
  const fs::path path = folder.path / "a.json";
  write_file_atomically(path, "first");
  CHECK(read_file(path, kCap) == "first");
  write_file_atomically(path, std::string_view("se\0cond", 7));
  CHECK(read_file(path, 7) == std::string("se\0cond", 7));
  write_file_atomically(path, "");
  CHECK(read_file(path, 0).empty());
  CHECK(files_in(folder.path) == 1);
}

TEST_CASE("without commit the old file stays and the temporary goes") {
  TemporaryFolder folder;
  const fs::path path = folder.path / "a";
  write_file_atomically(path, kOld);
  {
    AtomicFile file(path);
    file.write(kNew);
    CHECK(files_in(folder.path) == 2);
  }
  CHECK(read_file(path, kCap) == kOld);
  CHECK(files_in(folder.path) == 1);
}

TEST_CASE("a leftover of a killed save is removed, other files are not") {
  TemporaryFolder folder;
  const fs::path path = folder.path / "a";
  for (const char* name : {"a.tmp-12-0", "a.tmp-backup", "a.tmp", "b.tmp-12-0"})
    write_file_atomically(folder.path / name, "x");
  write_file_atomically(path, kNew);
  std::set<std::string> left;
  for (const auto& entry : fs::directory_iterator(folder.path))
    left.insert(entry.path().filename().string());
  CHECK(left == std::set<std::string>{"a", "a.tmp-backup", "a.tmp", "b.tmp-12-0"});
}

TEST_CASE("every fault at every system call of a save: an error, the old file, and no leftover") {
  TemporaryFolder folder;
  const fs::path path = folder.path / "last.state";
  int points = 0, errors = 0;
  for (Fault fault : {Fault::eio, Fault::enospc, Fault::eintr, Fault::short_write})
    for (int at = 0;; ++at) {
      fs::remove_all(path);
      write_file_atomically(path, kOld);
      Exit exit;
      std::string message;
      {
        FaultyMachine faulty_machine(at, fault);
        exit = exit_of([&] { save(path, kNew); }, &message);
      }
      if (machine.calls <= at) break;  // past the last call
      CAPTURE(at);
      CAPTURE(int(fault));
      ++points;
      const std::string now = read_file(path, kCap);
      CHECK((now == kOld || now == kNew));
      if (exit == Exit::done) CHECK(now == kNew);
      if (fault == Fault::eintr || fault == Fault::short_write) CHECK(exit == Exit::done);
      if (exit != Exit::done) {
        ++errors;
        CHECK(exit == Exit::environment);
        CHECK((message.find("is complete") != std::string::npos) == (now == kNew));
      }
      CHECK(files_in(folder.path) == 1);
    }
  CHECK(points >= 40);
  CHECK(errors >= 16);
}

TEST_CASE("a crash at every system call of a save: the old or the new file, whole") {
  TemporaryFolder folder;
  const fs::path path = folder.path / "last.state";
  std::map<std::string, int> seen;
  for (int at = 0;; ++at) {
    write_file_atomically(path, kOld);
    const pid_t child = fork();
    if (child == 0) {
      FaultyMachine faulty_machine(at, Fault::crash);
      save(path, kNew);
      ::_exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    const std::string now = read_file(path, kCap);
    CHECK((now == kOld || now == kNew));
    ++seen[now];
    if (status == 0) break;
    CHECK(WEXITSTATUS(status) == 9);
  }
  CHECK(seen[kOld] >= 6);  // statvfs, open, 3 writes, fsync, close, rename
  CHECK(seen[kNew] >= 3);  // open, fsync, close of the folder
  write_file_atomically(path, kOld);
  CHECK(files_in(folder.path) == 1);  // the next save swept the leftovers
}

// --- Power loss. A model of the disk that keeps only what was promised: the content of a file up
// to its last fsync, the names of a folder up to its last fsync. Everything else may or may not
// have reached the disk, so each prefix of the calls is tried with the lazy effects both lost and
// kept, the rename (a name) and the content (bytes) independently.
namespace {
struct Disk {
  std::map<int, int> file_of;             // handle -> file; the folder is file 0
  std::map<std::string, int> names;       // as the process sees them
  std::map<std::string, int> kept_names;  // as the disk has promised them
  std::map<int, std::string> bytes, kept_bytes;
  int next = 1, calls = 0, at = 0;
};
Disk* disk;
struct PowerLoss {};
void tick() {
  if (disk->calls++ == disk->at) throw PowerLoss();
}
}  // namespace

TEST_CASE("power loss at every prefix of the calls, un-fsynced effects lost or kept") {
  int prefixes = 0;
  for (int at = 0;; ++at) {
    Disk model;
    model.at = at;
    model.names = model.kept_names = {{"last.state", 1}};
    model.bytes[1] = model.kept_bytes[1] = kOld;
    model.next = 2;
    disk = &model;
    file_system.open = [](const char* path, int flags, mode_t) {
      tick();
      const std::string name = fs::path(path).filename().string();
      const int handle = 1000 + disk->calls;
      if (flags & O_CREAT) {
        disk->names[name] = disk->next;
        disk->bytes[disk->next] = disk->kept_bytes[disk->next] = "";
        disk->file_of[handle] = disk->next++;
      } else {
        disk->file_of[handle] = 0;
      }
      return handle;
    };
    file_system.write = [](int handle, const void* bytes, size_t count) -> ssize_t {
      tick();
      disk->bytes[disk->file_of.at(handle)].append(static_cast<const char*>(bytes), count);
      return ssize_t(count);
    };
    file_system.fsync = [](int handle) {
      tick();
      const int file = disk->file_of.at(handle);
      if (file == 0)
        disk->kept_names = disk->names;
      else
        disk->kept_bytes[file] = disk->bytes[file];
      return 0;
    };
    file_system.close = [](int) { return tick(), 0; };
    file_system.rename = [](const char* from, const char* to) {
      tick();
      const std::string a = fs::path(from).filename(), b = fs::path(to).filename();
      disk->names[b] = disk->names.at(a);
      disk->names.erase(a);
      return 0;
    };
    file_system.unlink = [](const char*) { return 0; };  // after the power loss nothing runs
    file_system.statvfs = [](const char*, struct statvfs*) { return tick(), -1; };
    bool finished = false;
    try {
      save("last.state", kNew);
      finished = true;
    } catch (PowerLoss) {
    }
    file_system = real;
    CAPTURE(at);
    for (const auto& names : {model.names, model.kept_names})
      for (const auto& bytes : {model.bytes, model.kept_bytes}) {
        const std::string now = bytes.at(names.at("last.state"));
        CHECK((now == kOld || now == kNew));
        if (finished) CHECK(now == kNew);
      }
    ++prefixes;
    if (finished) break;
  }
  CHECK(prefixes >= 10);
}

TEST_CASE("a full disk is refused before a byte is written, in one sentence") {
  TemporaryFolder folder;
  write_file_atomically(folder.path / "a", kOld);
  std::string message;
  file_system.statvfs = [](const char*, struct statvfs* result) {
    *result = {};
    result->f_blocks = 1000;
    result->f_bavail = 5;
    result->f_frsize = 1024;
    return 0;
  };
  CHECK(exit_of([&] { write_file_atomically(folder.path / "a", kNew); }, &message) ==
        Exit::environment);
  CHECK(message.find("free some space") != std::string::npos);
  CHECK(message.find((folder.path / "a").string()) != std::string::npos);
  CHECK(exit_of([&] { write_file_atomically(folder.path / "b", "fits"); }) == Exit::done);
  file_system = real;
  CHECK(read_file(folder.path / "a", kCap) == kOld);
  CHECK(files_in(folder.path) == 2);
}

TEST_CASE("errors name the path and what to do") {
  TemporaryFolder folder;
  std::string message;
  CHECK(exit_of([&] { write_file_atomically(folder.path / "none" / "a", "x"); }, &message) ==
        Exit::environment);
  CHECK(message.find("none/a") != std::string::npos);
  CHECK(message.find("folder exists") != std::string::npos);
  CHECK(exit_of([&] { write_file_atomically(folder.path, "x"); }) == Exit::environment);
  CHECK(exit_of([&] { (void)read_file(folder.path / "missing", kCap); }, &message) == Exit::data);
  CHECK(message.find("missing") != std::string::npos);
  CHECK(exit_of([&] { (void)read_file(folder.path, kCap); }) == Exit::data);
  CHECK(exit_of([&] { (void)read_file("/dev/zero", kCap); }) == Exit::data);
  write_file_atomically(folder.path / "five", "12345");
  CHECK(exit_of([&] { (void)read_file(folder.path / "five", 4); }, &message) == Exit::data);
  CHECK(message.find("5 bytes") != std::string::npos);
}

}  // namespace pneuma
