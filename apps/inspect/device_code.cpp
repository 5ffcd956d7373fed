#include "apps/inspect/device_code.h"

#include <algorithm>
#include <regex>
#include <set>
#include <sstream>

#include "data/text.h"
#include "engine/error.h"

namespace pneuma::inspect {
namespace {

std::string without_blanks(std::string text) {
  std::erase(text, ' ');
  return text;
}

std::vector<std::string> lines_of(const std::filesystem::path& file) {
  std::istringstream text(read_text(file));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

}  // namespace

std::string plain_name(std::string name) {
  static const std::pair<std::regex, const char*> rules[] = {
      {std::regex(R"(\(anonymous namespace\)::|\bpneuma::|\bcuda::)"), ""},
      {std::regex(" >"), ">"},
      {std::regex("host_cuda::Sixteen<host_cuda::HalfFormat>"), "__half"},
      {std::regex("host_cuda::Sixteen<host_cuda::Bfloat16Format>"), "__nv_bfloat16"}};
  for (const auto& [what, by] : rules) name = std::regex_replace(name, what, by);
  return name;
}

std::filesystem::path build_folder() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path().parent_path();
}

std::filesystem::path source_root() {
  for (const std::filesystem::path& root :
       {std::filesystem::path(PNEUMA_SOURCE_DIR), build_folder().parent_path()})
    if (std::filesystem::is_directory(root / "kernels/cuda")) return root;
  return {};
}

std::optional<KernelSource> find_kernel_source(const std::filesystem::path& root,
                                               const std::string& name) {
  const std::string plain = plain_name(name), base = plain.substr(0, plain.find('<'));
  const std::string head = base.substr(base.rfind(':') + 1) + "(";
  std::error_code error;
  std::set<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(root / "kernels/cuda", error))
    if (entry.path().extension().string().starts_with(".cu")) files.insert(entry.path());
  for (const std::filesystem::path& file : files) {
    const std::vector<std::string> lines = lines_of(file);
    size_t first = 0;  // of the paragraph
    bool global = false;
    for (size_t i = 0; i < lines.size(); ++i) {
      if (lines[i].empty() || lines[i] == "}") first = i + 1, global = false;
      global |= lines[i].find("__global__") != std::string::npos;
      const size_t at = lines[i].find(head);
      if (!global || at == std::string::npos || (at && lines[i][at - 1] != ' ')) continue;
      const auto from = lines.begin() + ptrdiff_t(first);
      auto to = std::find(from, lines.end(), "}");
      if (to != lines.end()) ++to;
      return KernelSource{file.lexically_relative(root).string(), int(first) + 1, {from, to}};
    }
  }
  return std::nullopt;
}

std::map<std::string, PtxasFigures> read_ptxas_report(const std::filesystem::path& file) {
  std::map<std::string, PtxasFigures> report;
  if (!std::filesystem::exists(file)) return report;
  int number = 0;
  for (const std::string& line : lines_of(file)) {
    std::istringstream fields(line);
    PtxasFigures figures;
    std::string name;
    ++number;
    if (!(fields >> figures.registers >> figures.stack >> figures.spills >> figures.shared) ||
        !std::getline(fields >> std::ws, name))
      fail(Exit::data, "{}:{}: not a line of a ptxas report; ./pneuma test device_code makes one",
           file.string(), number);
    report[without_blanks(plain_name(name))] = figures;
  }
  return report;
}

std::optional<PtxasFigures> figures_of(const std::map<std::string, PtxasFigures>& report,
                                       const std::string& name) {
  const auto found = report.find(without_blanks(plain_name(name)));
  return found == report.end() ? std::nullopt : std::optional(found->second);
}

int Occupancy::blocks() const { return std::min({kBlocks, by_threads, by_registers, by_shared}); }

std::string Occupancy::limits() const {
  const char* const names[] = {"registers", "shared memory", "threads", "blocks"};
  const int counts[] = {by_registers, by_shared, by_threads, kBlocks};
  std::string text;
  for (int i = 0; i < 4; ++i)
    if (counts[i] == blocks()) text += (text.empty() ? "" : " and ") + std::string(names[i]);
  return text;
}

Occupancy occupancy_v100(int threads, int registers, uint64_t shared_bytes) {
  constexpr int kUnlimited = 1 << 30, kWarp = 32, kFiles = 4, kUnit = 256;
  const auto rounded = [](int64_t n, int64_t to) { return (n + to - 1) / to * to; };
  const int64_t warps = (threads + kWarp - 1) / kWarp;
  const int64_t of_warp = rounded(int64_t{registers} * kWarp, kUnit);
  const int64_t held = of_warp ? Occupancy::kRegisters / kFiles / of_warp * kFiles : 0;
  const int64_t shared = rounded(int64_t(shared_bytes), kUnit);
  return {int(Occupancy::kThreads / (warps * kWarp)),
          of_warp ? int(held / rounded(warps, kFiles)) : kUnlimited,
          shared ? int(Occupancy::kShared / shared) : kUnlimited};
}

}  // namespace pneuma::inspect
