// Images a second: decoding on one core the files of a folder (held in memory) or the images of a
// .rec, and decoding with resizing of the shorter side. bench/peers/loader_torchvision.py does the
// same with torchvision. With a folder and a .rec of the same images: what the training's loader
// makes of each, in turn, opening included, with the files' pages dropped from memory and without.
// The last line is one JSON object.
// usage: bench_loader FOLDER|F.rec [repeats], or bench_loader FOLDER F.rec [repeats]
#include "data/loader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include "data/image.h"
#include "data/open_below.h"
#include "data/record/image_records.h"
#include "data/resize.h"
#include "engine/error.h"

namespace {

using namespace pneuma;
namespace fs = std::filesystem;

class Clock {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

bool is_records(const fs::path& path) { return path.extension() == ".rec"; }

std::vector<fs::path> files_of(const fs::path& path) {
  std::vector<fs::path> names;
  if (is_records(path)) return {path};
  for (const auto& entry : fs::directory_iterator(path))
    if (entry.is_regular_file()) names.push_back(entry.path());
  if (names.empty()) fail(Exit::data, "{}: has no files", path.string());
  std::sort(names.begin(), names.end());
  return names;
}

// Asks the kernel to forget what it holds of the file. It may not, on some file systems.
void drop_pages(const fs::path& file) {
  const int f = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  fsync(f);
  posix_fadvise(f, 0, 0, POSIX_FADV_DONTNEED);
  close(f);
}

Dataset open_dataset(const fs::path& path) {
  if (is_records(path)) return dataset_of_records(path, {}, 0);
  Dataset dataset{.root = path, .num_classes = 1, .findings = {"class_0"}};
  for (const fs::path& file : files_of(path))
    dataset.samples.push_back({file.filename(), {0}, file.filename()});
  return dataset;
}

double cpu_seconds() {  // of this process's threads
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  return double(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
         1e-6 * double(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

struct Epoch {
  double seconds, cpu_seconds;
  size_t images;
};

// An epoch in shuffled order, from opening the files to the last batch.
Epoch run_epoch(const fs::path& path, bool cold) {
  if (cold) std::ranges::for_each(files_of(path), drop_pages);
  const Clock clock;
  const double cpu = cpu_seconds();
  const Dataset dataset = open_dataset(path);
  const Sampler sampler(int64_t(dataset.samples.size()), 16, 1, true, LastBatch::keep);
  const LoaderSettings settings{
      .height = 1, .width = 1, .threads = int(std::max(1u, std::thread::hardware_concurrency()))};
  Loader loader(dataset, sampler, settings, 0, 0, 1);
  size_t images = 0;
  while (const auto batch = loader.next()) images += batch->samples.size();
  return {clock.seconds(), cpu_seconds() - cpu, images};
}

void compare(const fs::path& folder, const fs::path& records, int repeats) {
  std::string figures;
  for (const bool cold : {true, false}) {
    std::vector<double> files, recs, ratios, cpu_ratios;
    for (int r = 0; r < repeats; ++r) {
      const Epoch a = run_epoch(folder, cold), b = run_epoch(records, cold);
      if (a.images != b.images)
        fail(Exit::data, "{} has {} images and {} has {}; give the same ones", folder.string(),
             a.images, records.string(), b.images);
      files.push_back(double(a.images) / a.seconds);
      recs.push_back(double(b.images) / b.seconds);
      ratios.push_back(a.seconds / b.seconds);
      cpu_ratios.push_back(a.cpu_seconds / b.cpu_seconds);
    }
    const char* what = cold ? "cold" : "warm";
    fmt::print(
        "{}: files {:.1f} images/s, records {:.1f} images/s, records/files {:.2f} ({:.2f}); by "
        "time "
        "of the processor, which other work disturbs less, {:.2f} ({:.2f})\n",
        what, median(files), median(recs), median(ratios), fmt::join(ratios, " "),
        median(cpu_ratios), fmt::join(cpu_ratios, " "));
    figures += fmt::format(
        ", \"{0}_files_images_per_second\": {1:.2f}, \"{0}_records_images_per_second\": {2:.2f}",
        what, median(files), median(recs));
  }
  fmt::print("{{\"what\": \"the loader, an epoch of files and of records in turn\"{}}}\n", figures);
}

void decode(const fs::path& path, int repeats) {
  std::vector<std::string> names;
  std::vector<std::vector<std::byte>> files;
  std::vector<std::span<const std::byte>> images;
  std::vector<Record> records;
  std::optional<ImageRecords> set;
  if (is_records(path)) {
    set.emplace(path);
    for (const uint64_t offset : scan_records(set->file, 0, set->file.size())) {
      names.push_back(fmt::format("{} offset {}", path.string(), offset));
      records.push_back(set->file.read(offset));
      images.push_back(parse_image_record(records.back().payload, names.back()).image);
    }
  } else {
    for (const fs::path& name : files_of(path)) {
      names.push_back(name.string());
      files.push_back(read_image_file(name, kMaxImageFile));
      images.push_back(files.back());
    }
  }
  std::string figures;
  for (const int size : {0, 256, 896}) {  // 0: decode only
    std::vector<double> seconds;
    uint64_t sum = 0;  // keeps the work from being optimised away
    for (int r = 0; r < repeats; ++r) {
      const Clock clock;
      for (size_t i = 0; i < images.size(); ++i) {
        Image image = decode_image(images[i], names[i]);
        if (size > 0) image = resize_shorter_side(image, size, ResizeFilter::antialias);
        sum += image.pixels.back();
      }
      seconds.push_back(clock.seconds());
    }
    const std::string what = size == 0 ? "decode" : fmt::format("decode_resize_{}", size);
    const double rate = static_cast<double>(images.size()) / median(seconds);
    fmt::print("pneuma {} {:.1f} images/s a core (median of {}, {} files, checksum {})\n", what,
               rate, repeats, images.size(), sum);
    figures += fmt::format(", \"{}_images_per_second\": {:.2f}", what, rate);
  }
  fmt::print("{{\"what\": \"{} files, one core\"{}}}\n", images.size(), figures);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2)
    fail(Exit::usage,
         "usage: bench_loader FOLDER|F.rec [repeats] or bench_loader FOLDER F.rec [repeats], where "
         "FOLDER holds images, for example the NIH's");
  const bool pair = argc > 2 && is_records(argv[2]);
  const int given = pair ? 3 : 2;
  const int repeats = argc > given ? std::max(1, std::atoi(argv[given])) : 3;
  if (pair)
    compare(argv[1], argv[2], repeats);
  else
    decode(argv[1], repeats);
} catch (const pneuma::Error& error) {
  fmt::print(stderr, "loader: {}\n", error.what());
  return static_cast<int>(error.exit());
}
