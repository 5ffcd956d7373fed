// The folder of a run and its metrics file: who writes what under which name.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace pneuma {

class RunFolder {
 public:
  // Makes the folder, or takes an empty one; one with files in it is refused (Exit::usage): it may
  // be somebody's.
  // With `shared` it may hold files: a container's folder, where a platform has its own.
  static RunFolder create(const std::filesystem::path& path, bool shared = false);
  // A folder that holds settings.json. Throws Exit::usage.
  static RunFolder open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path file(const std::string& name) const { return path_ / name; }
  std::filesystem::path checkpoint(int64_t epoch) const;  // checkpoints/epoch-0000.safetensors
  std::map<int64_t, std::filesystem::path> checkpoints() const;  // those that there are, by epoch
  std::filesystem::path best() const { return path_ / "best.safetensors"; }

 private:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

// metrics.jsonl: one JSON object a line, flushed as it comes. A resumed run first cuts off what the
// interrupted one wrote after its last saved state.
class MetricsLog {
 public:
  MetricsLog(const std::filesystem::path& file, int64_t keep_bytes);
  ~MetricsLog();
  MetricsLog(const MetricsLog&) = delete;
  void write(const nlohmann::ordered_json& line);
  void sync();  // until the disk has it; a saved state counts on its bytes
  int64_t bytes() const { return bytes_; }

 private:
  std::FILE* file_;
  std::filesystem::path path_;
  int64_t bytes_;
};

}  // namespace pneuma
