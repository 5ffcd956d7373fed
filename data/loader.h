// Batches of decoded pictures, in the order of a Sampler, a few ahead of their use. Worker threads
// decode and resize; what they make depends on (seed, epoch, sample) alone, never on their number.
// Pixels stay bytes: the augment kernel cuts, mirrors and normalises them on the device.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "data/augmentation.h"
#include "data/dataset.h"
#include "data/resize.h"
#include "data/sampler.h"

namespace pneuma {

enum class OnBadImage { fail, skip, replace };

struct LoaderSettings {
  int height = 224, width = 224;  // of the window that is cut
  int resize = 0;                 // shorter side before the cut; 0: as decoded
  ResizeFilter filter = ResizeFilter::antialias;
  AugmentationSettings augmentation;
  uint64_t seed = 0;
  int threads = 2;
  int prefetch = 3;        // batches ahead
  size_t cache_bytes = 0;  // cap on pictures kept decoded and resized
  bool synthetic = false;  // every sample has the first one's picture, read once
  OnBadImage on_bad_image = OnBadImage::fail;
};

struct Batch {
  int64_t epoch = 0, step = 0;
  std::vector<int64_t>
      samples;  // indices of the dataset, in order; fewer than asked where some were skipped
  std::vector<uint8_t> pixels;     // the pictures one after the other
  std::vector<AugmentItem> items;  // [samples]
  std::vector<float> labels;       // [samples, classes]
};

struct BadImage {
  int64_t sample;
  std::string reason;
};

class Loader {
 public:
  // Batches follow from (epoch, step) on, epoch after epoch, until (last_epoch, 0). The dataset
  // must outlive the loader. A picture smaller than the window is a bad image.
  Loader(const Dataset& dataset, const Sampler& sampler, const LoaderSettings& settings,
         int64_t epoch, int64_t step, int64_t last_epoch);
  ~Loader();

  // The next batch, without images where all of them were skipped; nothing after the last one.
  // Throws Exit::data for a bad image with OnBadImage::fail: the first of its batch, whatever the
  // threads did.
  std::optional<Batch> next();

  // Every bad image met up to the last batch handed out, each once, by sample.
  std::vector<BadImage> bad_images() const;
  double seconds_waited() const { return seconds_waited_; }  // that next() stood still for pictures

 private:
  struct Loaded {
    std::shared_ptr<const Image> image;  // null: bad
    int64_t sample = 0;                  // which it is, after replacement
    std::vector<BadImage> bad;
    std::exception_ptr error;
  };
  struct Pending {
    Batch batch;
    std::vector<Loaded> loaded;
    size_t started = 0, done = 0;
  };

  void work();
  void stop();
  bool plan_one();  // appends the next batch to `pending_`; false at the end
  Loaded load(int64_t sample);
  std::shared_ptr<const Image> load_image(int64_t sample);
  void fill(Batch& batch, const std::vector<Loaded>& loaded) const;

  const Dataset& dataset_;
  Sampler sampler_;
  const LoaderSettings settings_;
  int64_t epoch_, step_, last_epoch_;  // of the next batch to plan

  mutable std::mutex mutex_;
  std::condition_variable work_left_, batch_done_;
  std::deque<std::unique_ptr<Pending>> pending_;
  std::map<int64_t, std::shared_ptr<const Image>> cache_;
  size_t cached_bytes_ = 0;
  std::map<int64_t, std::string> bad_;
  bool stop_ = false;
  double seconds_waited_ = 0;
  std::vector<std::thread> workers_;
};

}  // namespace pneuma
