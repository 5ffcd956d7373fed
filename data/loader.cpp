#include "data/loader.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "engine/error.h"

namespace pneuma {

Loader::Loader(const Dataset& dataset, const Sampler& sampler, const LoaderSettings& settings,
               int64_t epoch, int64_t step, int64_t last_epoch)
    : dataset_(dataset),
      sampler_(sampler),
      settings_(settings),
      epoch_(epoch),
      step_(step),
      last_epoch_(last_epoch) {
  try {
    for (int i = 0; i < settings_.threads; ++i) workers_.emplace_back([this] { work(); });
  } catch (...) {
    stop();
    throw;
  }
}

Loader::~Loader() { stop(); }

void Loader::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_left_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

bool Loader::plan_one() {
  if (step_ == sampler_.steps()) {
    ++epoch_;
    step_ = 0;
  }
  if (epoch_ >= last_epoch_) return false;
  auto pending = std::make_unique<Pending>();
  pending->batch.epoch = epoch_;
  pending->batch.step = step_;
  pending->batch.samples = sampler_.batch(epoch_, step_++);
  pending->loaded.resize(pending->batch.samples.size());
  pending_.push_back(std::move(pending));
  return true;
}

void Loader::work() {
  setpriority(PRIO_PROCESS, id_t(gettid()), 10);  // of this thread alone: computing goes first
  std::unique_lock lock(mutex_);
  while (!stop_) {
    Pending* task = nullptr;
    for (const auto& p : pending_) {
      if (p->started < p->loaded.size()) {
        task = p.get();
        break;
      }
    }
    if (!task) {
      if (int(pending_.size()) >= settings_.prefetch || !plan_one()) work_left_.wait(lock);
      continue;
    }
    const size_t i = task->started++;
    const int64_t sample = task->batch.samples[i];
    lock.unlock();
    Loaded loaded = load(sample);
    lock.lock();
    task->loaded[i] = std::move(loaded);
    if (++task->done == task->loaded.size()) batch_done_.notify_all();
  }
}

std::shared_ptr<const Image> Loader::load_image(int64_t sample) {
  if (settings_.synthetic) sample = 0;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = cache_.find(sample); found != cache_.end()) return found->second;
  }
  const std::string& path = dataset_.samples[size_t(sample)].path;
  Image image = read_image(dataset_, size_t(sample));
  if (settings_.resize) image = resize_shorter_side(image, settings_.resize, settings_.filter);
  if (image.height < settings_.height || image.width < settings_.width) {
    fail(Exit::data,
         "{}: the image is {}x{}{}, smaller than the crop {}x{}; give a larger --resize or a "
         "smaller --image_shape",
         path, image.height, image.width, settings_.resize ? " after --resize" : "",
         settings_.height, settings_.width);
  }
  auto shared = std::make_shared<const Image>(std::move(image));
  const std::lock_guard lock(mutex_);
  if ((settings_.synthetic || cached_bytes_ + shared->pixels.size() <= settings_.cache_bytes) &&
      cache_.emplace(sample, shared).second) {
    cached_bytes_ += shared->pixels.size();
  }
  return shared;
}

// Never throws. A bad image is replaced by the next good one of the dataset, around the end: no
// thread count matters.
Loader::Loaded Loader::load(int64_t sample) {
  const auto count = int64_t(dataset_.samples.size());
  const int64_t tries = settings_.on_bad_image == OnBadImage::replace ? count : 1;
  Loaded loaded;
  try {
    for (int64_t i = 0; i < tries && !loaded.image; ++i) {
      loaded.sample = (sample + i) % count;
      try {
        loaded.image = load_image(loaded.sample);
      } catch (const Error& error) {
        if (settings_.on_bad_image == OnBadImage::fail || error.exit() != Exit::data) throw;
        loaded.bad.push_back({loaded.sample, error.what()});
      }
    }
  } catch (...) {
    loaded.error = std::current_exception();
  }
  return loaded;
}

void Loader::fill(Batch& batch, const std::vector<Loaded>& all) const {
  batch.samples.clear();
  size_t bytes = 0;
  for (const Loaded& l : all) bytes += l.image ? l.image->pixels.size() : 0;
  batch.pixels.reserve(bytes);
  for (const Loaded& l : all) {
    if (!l.image) continue;
    const Image& image = *l.image;
    const Augmentation drawn =
        draw(settings_.augmentation, image, settings_.height, settings_.width,
             Random(settings_.seed, Purpose::augment, uint32_t(batch.epoch), uint32_t(l.sample)));
    batch.items.push_back(
        item_of(drawn, settings_.augmentation, image, int64_t(batch.pixels.size())));
    batch.pixels.insert(batch.pixels.end(), image.pixels.begin(), image.pixels.end());
    batch.samples.push_back(l.sample);
    const auto& labels = dataset_.samples[size_t(l.sample)].labels;
    batch.labels.insert(batch.labels.end(), labels.begin(), labels.end());
  }
}

std::optional<Batch> Loader::next() {
  std::unique_lock lock(mutex_);
  if (pending_.empty() && !plan_one()) return std::nullopt;
  work_left_.notify_all();
  Pending& first = *pending_.front();
  const auto start = std::chrono::steady_clock::now();
  batch_done_.wait(lock, [&] { return first.done == first.loaded.size(); });
  seconds_waited_ +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const std::unique_ptr<Pending> ready = std::move(pending_.front());
  pending_.pop_front();
  work_left_.notify_all();
  for (const Loaded& l : ready->loaded) {
    if (l.error) std::rethrow_exception(l.error);
    for (const BadImage& b : l.bad) bad_.emplace(b.sample, b.reason);
  }
  lock.unlock();
  fill(ready->batch, ready->loaded);
  return std::move(ready->batch);
}

std::vector<BadImage> Loader::bad_images() const {
  const std::lock_guard lock(mutex_);
  std::vector<BadImage> bad;
  for (const auto& [sample, reason] : bad_) bad.push_back({sample, reason});
  return bad;
}

}  // namespace pneuma
