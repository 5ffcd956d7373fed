#include "data/verify.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "data/image.h"
#include "data/open_below.h"
#include "data/text.h"
#include "engine/error.h"

namespace pneuma {
namespace {

namespace fs = std::filesystem;

bool has_image_extension(const fs::path& path) {
  static const std::set<std::string> known = {".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm",
                                              ".pnm", ".tif", ".tiff", ".dcm", ".gif"};
  return known.contains(lower(path.extension().string()));
}

// Adds the images below `folder`; links to folders are not followed, so there is no circle.
void collect(const fs::path& folder, std::set<fs::path>& files, std::vector<Fault>& faults) {
  std::error_code error;
  const auto note = [&] {
    const std::string name = printable(folder.string(), 4096);
    faults.push_back(
        {name, fmt::format("{}: cannot be listed ({})", name, error.message()), false});
  };
  fs::directory_iterator it(folder, error);
  if (error) return note();
  for (; it != fs::directory_iterator(); it.increment(error)) {
    if (error) return note();
    std::error_code ignored;
    if (it->is_directory(ignored) && !it->is_symlink(ignored))
      collect(it->path(), files, faults);
    else if (has_image_extension(it->path()))
      files.insert(it->path());
  }
}

void try_decode(const fs::path& path, std::vector<Fault>& faults) {
  const std::string name = printable(path.string(), 4096);
  try {
    std::string warning;
    decode_image(read_image_file(path, kMaxImageFile), name, &warning);
    if (!warning.empty()) faults.push_back({name, name + ": " + warning, true});
  } catch (const Error& error) {
    faults.push_back({name, error.what(), false});
  } catch (const std::bad_alloc&) {
    faults.push_back({name, name + ": not enough memory to decode it; use fewer threads", false});
  }
}

}  // namespace

std::vector<Fault> verify_images(const std::vector<fs::path>& files_or_folders, int threads,
                                 const std::function<void(int64_t, int64_t)>& progress) {
  std::vector<Fault> faults;
  std::set<fs::path> found;
  for (const fs::path& path : files_or_folders) {
    std::error_code error;
    if (!fs::is_directory(path, error)) {
      found.insert(path);
      continue;
    }
    std::set<fs::path> below;
    const size_t before = faults.size();
    collect(path, below, faults);
    if (below.empty() && faults.size() == before) {
      const std::string name = printable(path.string(), 4096);
      faults.push_back({name, name + ": has no images; check the folder", false});
    }
    found.merge(below);
  }
  const std::vector<fs::path> files(found.begin(), found.end());
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  int64_t done = 0;
  const auto work = [&] {
    for (size_t i; (i = next.fetch_add(1)) < files.size();) {
      std::vector<Fault> own;
      try_decode(files[i], own);
      const std::lock_guard lock(mutex);
      faults.insert(faults.end(), own.begin(), own.end());
      if (progress) progress(++done, static_cast<int64_t>(files.size()));
    }
  };
  {
    std::vector<std::jthread> pool;
    for (int t = 1; t < threads; ++t) pool.emplace_back(work);
    work();
  }
  std::sort(faults.begin(), faults.end(),
            [](const Fault& a, const Fault& b) { return a.path < b.path; });
  return faults;
}

}  // namespace pneuma
