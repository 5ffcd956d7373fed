#include "apps/common/run_folder.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "data/text.h"
#include "engine/error.h"

namespace pneuma {

namespace fs = std::filesystem;

RunFolder RunFolder::create(const fs::path& path, bool shared) {
  std::error_code error;
  if (!shared && fs::exists(path, error) && !fs::is_empty(path, error)) {
    fail(Exit::usage, "{0} is not empty; give another --output, or go on with it: --resume {0}",
         path.string());
  }
  fs::create_directories(path / "checkpoints", error);
  if (error) {
    fail(Exit::environment, "{}: cannot be made: {}; give another --output", path.string(),
         error.message());
  }
  return RunFolder(path);
}

RunFolder RunFolder::open(const fs::path& path) {
  if (!fs::exists(path / "settings.json")) {
    fail(Exit::usage, "{} is no run: it has no settings.json; give the --output folder of a run",
         path.string());
  }
  return RunFolder(path);
}

fs::path RunFolder::checkpoint(int64_t epoch) const {
  return path_ / "checkpoints" / fmt::format("epoch-{:04}.safetensors", epoch);
}

std::map<int64_t, fs::path> RunFolder::checkpoints() const {
  std::map<int64_t, fs::path> found;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(path_ / "checkpoints", error)) {
    const std::string name = entry.path().stem().string();
    const auto epoch = parse_number<int64_t>(name.substr(std::min(name.size(), size_t{6})));
    if (epoch && checkpoint(*epoch) == entry.path()) found[*epoch] = entry.path();
  }
  return found;
}

MetricsLog::MetricsLog(const fs::path& file, int64_t keep_bytes) : path_(file), bytes_(keep_bytes) {
  std::error_code error;
  if (keep_bytes > 0) {
    if (int64_t(fs::file_size(file, error)) < keep_bytes || error) {
      fail(Exit::data,
           "{}: is missing or shorter than the saved state says; the run cannot be resumed",
           file.string());
    }
    fs::resize_file(file, uintmax_t(keep_bytes), error);
  }
  file_ = error ? nullptr : std::fopen(file.c_str(), keep_bytes > 0 ? "ab" : "wb");
  if (!file_) {
    fail(Exit::environment, "{}: cannot be written: {}", file.string(),
         error ? error.message() : std::strerror(errno));
  }
}

MetricsLog::~MetricsLog() { std::fclose(file_); }

void MetricsLog::sync() { fsync(fileno(file_)); }

void MetricsLog::write(const nlohmann::ordered_json& line) {
  const std::string text = line.dump() + "\n";
  if (std::fwrite(text.data(), 1, text.size(), file_) != text.size() || std::fflush(file_) != 0) {
    fail(Exit::environment, "{}: cannot be written: {}; free some space, then go on with --resume",
         path_.string(), std::strerror(errno));
  }
  bytes_ += int64_t(text.size());
}

}  // namespace pneuma
