#include "data/sampler.h"

#include <algorithm>
#include <numeric>

#include "engine/error.h"
#include "engine/random.h"

namespace pneuma {

Sampler::Sampler(int64_t count, int64_t batch, uint64_t seed, bool shuffle, LastBatch last_batch,
                 int rank, int ranks)
    : count_(count), batch_(batch), seed_(seed), shuffle_(shuffle), rank_(rank), ranks_(ranks) {
  if (count < 1 || count > UINT32_MAX) fail(Exit::data, "{} samples cannot be trained on", count);
  if (batch < 1 || ranks < 1 || rank < 0 || rank >= ranks || batch < ranks)
    fail(Exit::usage, "a batch of {} cannot be shared by {} ranks; raise --mini_batch_size", batch,
         ranks);
  const bool drop = last_batch == LastBatch::drop;
  if (drop && count < batch)
    fail(
        Exit::usage,
        "{} samples do not fill one batch of {}; lower --mini_batch_size or give --last_batch keep",
        count, batch);
  steps_ = drop ? count / batch : (count + batch - 1) / batch;
}

int64_t Sampler::left_out() const { return count_ - std::min(count_, steps_ * batch_); }

std::vector<int64_t> Sampler::batch(int64_t epoch, int64_t step) {
  if (epoch != epoch_) {
    order_.resize(size_t(count_));
    // Where a file's order is kept, start after the samples that earlier epochs used.
    const int64_t used = count_ - left_out();
    const int64_t start =
        shuffle_ ? 0 : int64_t(uint64_t(epoch) * uint64_t(used) % uint64_t(count_));
    for (int64_t i = 0; i < count_; ++i) order_[i] = uint32_t((start + i) % count_);
    if (shuffle_) pneuma::shuffle(order_, Random(seed_, Purpose::shuffle, uint32_t(epoch)));
    epoch_ = epoch;
  }
  const int64_t begin = step * batch_, size = std::min(batch_, count_ - begin);
  return {order_.begin() + begin + size * rank_ / ranks_,
          order_.begin() + begin + size * (rank_ + 1) / ranks_};
}

}  // namespace pneuma
