#include "data/verify.h"

#include <algorithm>
#include <mutex>
#include <set>
#include <tuple>

#include "data/image.h"
#include "data/lst.h"
#include "data/open_below.h"
#include "data/parallel.h"
#include "data/text.h"
#include "engine/error.h"

namespace pneuma {
namespace {

namespace fs = std::filesystem;

bool has_extension(const fs::path& path, const char* extension) {
  return lower(path.extension().string()) == extension;
}

bool is_wanted(const fs::path& path) {
  static const std::set<std::string> known = {".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm",
                                              ".pnm", ".tif", ".tiff", ".dcm", ".gif", ".rec"};
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
    else if (is_wanted(it->path()))
      files.insert(it->path());
  }
}

void try_decode(const Picture& picture, std::vector<Fault>& faults) {
  const std::string& path = picture.path;
  try {
    std::string warning;
    picture.decode(&warning);
    if (!warning.empty()) faults.push_back({path, warning, true, picture.place});
  } catch (const Error& error) {
    faults.push_back({path, error.what(), false, picture.place});
  } catch (const std::bad_alloc&) {
    faults.push_back({path, path + ": not enough memory to decode a picture; use fewer threads",
                      false, picture.place});
  }
}

void collect_file(const fs::path& path, std::vector<Picture>& pictures) {
  const std::string name = printable(path.string(), 4096);
  pictures.push_back({name, 0, [path, name](std::string* warning) {
                        decode_image(read_image_file(path, kMaxImageFile), name, warning);
                        if (!warning->empty()) *warning = name + ": " + *warning;
                      }});
}

}  // namespace

void collect_list(const fs::path& list, const fs::path& root, std::vector<Picture>& pictures,
                  std::vector<Fault>& faults) {
  const std::string name = printable(list.string(), 4096);
  size_t labels = 0, lines = 0;
  std::set<int64_t> indices;
  const auto add = [&](int64_t number, std::string_view line) {
    ++lines;
    const std::string where = fmt::format("{}:{}", name, number);
    try {
      const ListEntry entry = parse_list_line(line, where, labels);
      labels = entry.labels.size();
      if (!indices.insert(entry.index).second)
        faults.push_back(
            {name, fmt::format("{}: index {} was there before", where, entry.index), true, number});
      const fs::path folder = root.empty() ? list.parent_path() : root;
      pictures.push_back({name, number, [folder, path = entry.path, where](std::string* warning) {
                            try {
                              const auto bytes = read_file_below(folder, path, kMaxImageFile);
                              decode_image(bytes, (folder / path).string(), warning);
                            } catch (const Error& error) {
                              fail(error.exit(), "{}: {}", where, error.what());
                            }
                            if (!warning->empty())
                              *warning = fmt::format("{}: {}: {}", where, path, *warning);
                          }});
    } catch (const Error& error) {
      faults.push_back({name, error.what(), false, number});
    }
  };
  try {
    for_each_line(read_text(list), add);
    if (lines == 0) faults.push_back({name, name + ": the list is empty; make it again"});
  } catch (const Error& error) {
    faults.push_back({name, error.what()});
  }
}

std::vector<Fault> verify_images(const std::vector<fs::path>& files_or_folders, int threads,
                                 const std::function<void(int64_t, int64_t)>& progress,
                                 const fs::path& root) {
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
  std::vector<Picture> pictures;
  for (const fs::path& path : found) {
    if (has_extension(path, ".lst"))
      collect_list(path, root, pictures, faults);
    else if (has_extension(path, ".rec"))
      collect_records(path, pictures, faults);
    else
      collect_file(path, pictures);
  }
  std::mutex mutex;
  int64_t done = 0;
  for_each_on_threads(0, pictures.size(), threads, [&](size_t i) {
    std::vector<Fault> own;
    try_decode(pictures[i], own);
    const std::lock_guard lock(mutex);
    faults.insert(faults.end(), own.begin(), own.end());
    if (progress) progress(++done, static_cast<int64_t>(pictures.size()));
  });
  // Of one place there are faults of the text before those of the picture.
  std::ranges::stable_sort(faults, {}, [](const Fault& f) { return std::tie(f.path, f.place); });
  return faults;
}

}  // namespace pneuma
