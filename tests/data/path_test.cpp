// Names from lists never lead out of the data folder.
#include <doctest/doctest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <vector>

#include "data/image.h"
#include "data/open_below.h"
#include "data/text.h"
#include "data/write_png.h"
#include "engine/error.h"

using namespace pneuma;
namespace fs = std::filesystem;

namespace {

struct Folder {  // root/ with a picture, and a secret beside it
  fs::path base = fs::temp_directory_path() / ("pneuma_path_test_" + std::to_string(getpid()));
  fs::path root = base / "root";
  Folder() {
    fs::create_directories(root / "images");
    write_png(root / "images" / "a b.png", {2, 2, 1, {1, 2, 3, 4}});
    write_png(base / "secret.png", {1, 1, 1, {9}});
    fs::create_directories(base / "root2");
    write_png(base / "root2" / "secret.png", {1, 1, 1, {9}});
    fs::create_symlink("../../secret.png", root / "images" / "link.png");
    fs::create_symlink(base / "secret.png", root / "images" / "absolute_link.png");
    fs::create_symlink("..", root / "up");
    fs::create_symlink("/", root / "slash");
    fs::create_symlink("/proc/self/root", root / "magic");
    fs::create_symlink("../root2", root / "sibling");
    fs::create_symlink("circle", root / "circle");
    fs::create_symlink("images/a b.png", root / "inside.png");
    mkfifo((root / "pipe.png").c_str(), 0600);
  }
  ~Folder() { fs::remove_all(base); }
};

std::string refusal(const fs::path& root, const std::string& name) {
  try {
    read_image(root, name);
  } catch (const Error& error) {
    CHECK(error.exit() == Exit::data);
    return error.what();
  }
  return "";
}

TEST_CASE("good names are read, also through a link that stays inside") {
  const Folder folder;
  CHECK(read_image(folder.root, "images/a b.png").pixels == std::vector<uint8_t>{1, 2, 3, 4});
  CHECK(read_image(folder.root, "./images//a b.png").width == 2);
  CHECK(read_image(folder.root, "inside.png").width == 2);
  fs::create_symlink(folder.root, folder.base / "root_link");
  CHECK(read_image(folder.base / "root_link", "inside.png").width == 2);
}

std::vector<std::string> escapes(const Folder& folder) {
  const std::string secret = (folder.base / "secret.png").string();
  return {
      "../secret.png",
      "images/../../secret.png",
      "./../secret.png",
      ".//..//secret.png",
      "images/../a b.png/../../secret.png",
      "../root2/secret.png",
      "..",
      "../",
      "images/..",
      "../../../../../../../../etc/passwd",
      secret,
      "/" + secret,
      "//etc/passwd",
      "/",
      "/proc/self/environ",
      "/dev/stdin",
      "images/link.png",
      "images/absolute_link.png",
      "up/secret.png",
      "up/root2/secret.png",
      "slash/etc/passwd",
      "slash" + secret,
      "magic" + secret,
      "sibling/secret.png",
      "circle",
      "circle/secret.png",
      std::string("images/a b.png\0/../../secret.png", 32),
      std::string("\0", 1),
      std::string("../secret.png\0.png", 18),
      "\u2025/secret.png",
      "\uFF0E\uFF0E/secret.png",
      "..\\secret.png",
      "%2e%2e/secret.png",
      "\xC0\xAE\xC0\xAE/secret.png",
      "~/secret.png",
      "",
  };
}

TEST_CASE("no name leads out of the root") {
  const Folder folder;
  const auto names = escapes(folder);
  CHECK(names.size() >= 30);
  for (const std::string& name : names) {
    CAPTURE(printable(name));
    const std::string message = refusal(folder.root, name);
    CHECK_FALSE(message.empty());
    CHECK(message.find('\0') == std::string::npos);
  }
}

// From here on openat2 does not exist for this process. False where that cannot be arranged.
bool forbid_openat2() {
  sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
                        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program{static_cast<unsigned short>(std::size(code)), code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST_CASE("nor where the kernel lacks openat2") {
  const Folder folder;
  const auto names = escapes(folder);
  const pid_t child = fork();
  if (child == 0) {  // its exit code: 0 good, 1 bad, 77 could not be tried
    if (!forbid_openat2() || syscall(SYS_openat2, -1, "", nullptr, 0) != -1 || errno != ENOSYS)
      _exit(77);
    bool good = refusal(folder.root, "inside.png").empty() &&
                refusal(folder.root, "images/a b.png").empty() &&
                refusal(folder.root, "images/link.png").find("leads out") != std::string::npos &&
                refusal(folder.root, "pipe.png").find("not a regular") != std::string::npos;
    for (const std::string& name : names) good = good && !refusal(folder.root, name).empty();
    _exit(good ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77)
    MESSAGE("SKIPPED: this machine allows no seccomp filter");
  else
    CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("each refusal says what is wrong") {
  const Folder folder;
  const auto says = [&](const std::string& name, const char* part) {
    const std::string message = refusal(folder.root, name);
    CAPTURE(message);
    CHECK(message.find(part) != std::string::npos);
  };
  says("images/none.png", "no such file");
  says("images", "is a folder");
  says("pipe.png", "not a regular file");
  says("images/link.png", "leads out of the data folder");
  says("circle", "circle");
  says("../secret.png", "'..'");
  says("/etc/passwd", "absolute");
  says(std::string("a\0b", 3), "control character");
  says("", "empty");
  says(std::string(300, 'x'), "cannot be opened");
  if (geteuid() != 0) {  // root may read everything
    fs::permissions(folder.root / "images" / "a b.png", fs::perms::none);
    says("images/a b.png", "no permission");
  }
  CHECK(refusal(folder.base / "nowhere", "a.png").find("data folder cannot be opened") !=
        std::string::npos);
}

TEST_CASE("a file over the limit is not read") {
  const Folder folder;
  std::ofstream(folder.root / "big.png") << "x";
  fs::resize_file(folder.root / "big.png", kMaxImageFile + 1);  // sparse
  CHECK(refusal(folder.root, "big.png").find("at most") != std::string::npos);
  CHECK_THROWS_AS(read_image_file(folder.root / "images" / "a b.png", 3), Error);
}

}  // namespace
