#include "data/phantom/phantom.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <exception>
#include <mutex>
#include <string>
#include <vector>

#include "data/parallel.h"
#include "data/phantom/findings.h"
#include "data/write_png.h"
#include "engine/error.h"
#include "engine/io/atomic_file.h"

namespace pneuma {
using namespace phantom;
namespace {

// Streams of a patient's random numbers; findings and their history have 1 .. 15.
enum : uint32_t { kPatientStream = 0, kImageStream = 100 };

constexpr const char* kHeader =
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n";

// The exposed film: the tube's settings, scattered light, the detector's noise.
Image expose(const Film& film, Random& r) {
  const double level = r.uniform(0.4, 0.75), contrast = r.uniform(3, 6.5), noise = r.uniform(1, 5);
  const double uneven = r.uniform(0, 0.3);
  const Texture scatter(r);
  const auto response = [&](double seen) { return 1 / (1 + std::exp(contrast * (level - seen))); };
  const double low = response(0), high = response(1.25);
  Image image{film.size(), film.size(), 1, std::vector<uint8_t>(film.tissue.size())};
  film.each([&](int i, Point p) {
    const double haze = std::fmin(film.haze[i], 1.3);  // above 1: denser than soft tissue
    const double seen = film.tissue[i] + film.air[i] * (film.marks[i] - 0.58 * (1 - haze)) +
                        uneven * (scatter.at(1.3 * p.x, 1.3 * p.y) - 0.5);
    const double light = (response(seen) - low) / (high - low);
    image.pixels[i] = uint8_t(std::clamp(240 * light + noise * r.normal() + 6.5, 0.0, 255.0));
  });
  return image;
}

// One patient: his images are written, his rows of the CSV returned.
std::string write_patient(const std::filesystem::path& images, int patient, int size,
                          uint64_t seed) {
  Random r(seed, Purpose::phantom, uint32_t(patient), kPatientStream);
  const Chest chest = draw_chest(r);
  const std::vector<FindingSet> history = draw_history(seed, uint32_t(patient));
  const int age = 20 + int(r.below(66));
  const char gender = r.below(2) ? 'M' : 'F';
  std::string rows;
  for (size_t follow_up = 0; follow_up < history.size(); ++follow_up) {
    const FindingSet present = history[follow_up];
    Random shot(seed, Purpose::phantom, uint32_t(patient), kImageStream + uint32_t(follow_up));
    Chest breathing = chest;
    const double breath = 0.04 * shot.normal();
    for (double& dome : breathing.dome) dome += breath;
    breathing.heart.y += 0.7 * breath;
    const double scale = shot.uniform(0.9, 1.2), angle = 0.06 * shot.normal();
    const double x = shot.uniform(-0.12, 0.12), y = shot.uniform(-0.1, 0.14);
    Film film(size, scale, angle, {x, y});
    draw_phantom(film, breathing, present, seed, uint32_t(patient));
    const std::string name = fmt::format("{:08}_{:03}.png", patient, follow_up);
    write_png(images / name, expose(film, shot));
    std::vector<std::string_view> names;
    for (size_t f = 0; f < kFindingCount; ++f)
      if (present[f]) names.push_back(kFindings[f]);
    if (names.empty()) names.push_back(kNoFinding);
    std::sort(names.begin(), names.end());  // as the NIH has them
    std::string labels(names[0]);
    for (size_t i = 1; i < names.size(); ++i) labels.append("|").append(names[i]);
    const double spacing = 380.0 / size;  // mm
    rows +=
        fmt::format("{},{},{},{},{},{},{},{},{},{:.3f},{:.3f}\n", name, labels, follow_up, patient,
                    age, gender, shot.below(3) ? "PA" : "AP", size, size, spacing, spacing);
  }
  return rows;
}

}  // namespace

void write_phantoms(const std::filesystem::path& output, int patients, int size, uint64_t seed,
                    int threads, const std::function<void(int, int)>& progress) {
  if (patients < 1 || patients > 99'999'999)
    fail(Exit::usage, "cannot draw {} patients; give 1 to 99999999", patients);
  if (size < 16 || size > 4096)
    fail(Exit::usage, "cannot draw images of {0}x{0} pixels; give a size of 16 to 4096", size);
  std::error_code error;
  if (std::filesystem::exists(output, error) && !std::filesystem::is_empty(output, error))
    fail(Exit::usage, "{} exists and is not an empty folder; choose another, or remove it",
         output.string());
  const std::filesystem::path images = output / "images";
  std::filesystem::create_directories(images, error);
  if (error)
    fail(Exit::environment, "cannot make the folder {}: {}", images.string(), error.message());

  std::vector<std::string> rows(patients);
  std::atomic<bool> failed = false;
  std::mutex mutex;
  std::exception_ptr failure;
  int done = 0;
  for_each_on_threads(0, size_t(patients), std::min(threads, patients), [&](size_t i) {
    if (failed) return;
    try {
      rows[i] = write_patient(images, int(i) + 1, size, seed);
      const std::lock_guard lock(mutex);
      if (progress) progress(++done, patients);
    } catch (...) {
      failed = true;
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
  std::string csv = kHeader;
  for (const std::string& row : rows) csv += row;
  write_file_atomically(output / "Data_Entry_2017.csv", csv);
}

}  // namespace pneuma
