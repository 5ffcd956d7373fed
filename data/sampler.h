// The order of the samples: which of them make up step s of epoch e. A pure function of the
// settings below, so a position in a run is one integer and any rank count sees the same batches.
#pragma once

#include <cstdint>
#include <vector>

namespace pneuma {

enum class LastBatch {
  drop,  // floor(N/B) steps; the N mod B samples left out are others each epoch
  keep,  // ceil(N/B) steps; the last batch may be smaller
};

class Sampler {
 public:
  // `count` samples in global batches of `batch`; this rank takes its contiguous slice of each.
  // Without shuffle samples come in their own order; with drop, each epoch then goes on where the
  // one before stopped, around the end. Throws Exit::usage where count < batch with drop, or batch
  // < ranks; Exit::data where count is 0.
  Sampler(int64_t count, int64_t batch, uint64_t seed, bool shuffle, LastBatch last_batch,
          int rank = 0, int ranks = 1);

  int64_t steps() const { return steps_; }  // in an epoch, the same on every rank
  int64_t left_out() const;                 // samples of an epoch in no batch, < batch

  // Indices of this rank's part of the batch, in [0, count). 0 <= step < steps(). The epoch's order
  // is kept between calls: one thread at a time.
  std::vector<int64_t> batch(int64_t epoch, int64_t step);

 private:
  int64_t count_, batch_, steps_;
  uint64_t seed_;
  bool shuffle_;
  int rank_, ranks_;
  int64_t epoch_ = -1;
  std::vector<uint32_t> order_;  // of epoch_
};

}  // namespace pneuma
