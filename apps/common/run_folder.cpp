#include "apps/common/run_folder.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/error.h"

namespace pneuma {

namespace fs = std::filesystem;

RunFolder RunFolder::create(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path / "checkpoints", error);
  if (error) {
    fail(Exit::environment, "{}: cannot be made: {}; give another --output", path.string(),
         error.message());
  }
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.path().filename() == "checkpoints" && fs::is_empty(entry.path())) continue;
    fail(Exit::usage, "{} is not empty; give another --output, or go on with it: --resume {}",
         path.string(), path.string());
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

MetricsLog::MetricsLog(const fs::path& file, int64_t keep_bytes) : path_(file), bytes_(keep_bytes) {
  std::error_code error;
  if (keep_bytes > 0) fs::resize_file(file, uintmax_t(keep_bytes), error);
  file_ = error ? nullptr : std::fopen(file.c_str(), keep_bytes > 0 ? "ab" : "wb");
  if (!file_)
    fail(Exit::environment, "{}: cannot be written: {}", file.string(), std::strerror(errno));
}

MetricsLog::~MetricsLog() { std::fclose(file_); }

void MetricsLog::write(const nlohmann::ordered_json& line) {
  const std::string text = line.dump() + "\n";
  if (std::fwrite(text.data(), 1, text.size(), file_) != text.size() || std::fflush(file_) != 0) {
    fail(Exit::environment, "{}: cannot be written: {}; free some space, then go on with --resume",
         path_.string(), std::strerror(errno));
  }
  bytes_ += int64_t(text.size());
}

}  // namespace pneuma
