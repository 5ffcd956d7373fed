// What happens before what. Each stream numbers its operations; an operation's clock says, for each
// stream, up to which number everything was over before this one could start: through the order of
// a stream, through events, or because the host waited. Two operations that touch the same memory,
// one of them writing, must be ordered so, whatever their timing happened to be.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/host_cuda/host_cuda.h"
#include "kernels/host_cuda/memory.h"

namespace pneuma::host_cuda {

using Clock = std::vector<uint64_t>;  // [stream]: number of its last operation known to be over
inline constexpr int kSequenceBits = 40;
constexpr size_t stream_of(uint64_t number) { return size_t(number >> kSequenceBits); }
constexpr uint64_t place_of(uint64_t number) {
  return number & ((uint64_t(1) << kSequenceBits) - 1);
}

inline void join(Clock& clock, const Clock& other) {
  if (clock.size() < other.size()) clock.resize(other.size());
  for (size_t i = 0; i < other.size(); ++i) clock[i] = std::max(clock[i], other[i]);
}
inline bool is_before(uint64_t number, const Clock& clock) {
  const size_t stream = stream_of(number);
  return number == 0 || (stream < clock.size() && clock[stream] >= place_of(number));
}

struct Moment {  // when an operation is over
  bool done = false;
  double time = 0;  // seconds
  Clock clock;
};

struct Operation {
  std::string name;
  uint64_t number = 0;  // stream and place; unique
  Clock clock;          // itself included
  std::function<void(const Operation&)> work;
  std::vector<std::shared_ptr<Moment>> after;
  std::shared_ptr<Moment> moment;
};

// Puts work into a stream's queue. null: that was no stream.
std::shared_ptr<Moment> enqueue(cudaStream_t stream, std::string name,
                                std::function<void(const Operation&)> work);
std::string name_of_operation(uint64_t number);
cudaError_t wait_for(cudaStream_t stream);  // the host waits, and knows then

// `operation` reads or writes this granule: who it must come after and does not, or 0.
uint64_t touch(Granule& granule, const Operation& operation, bool writes);

// The checks of an operation that is not a kernel, before it touches `range`. false: it must not.
bool check_range(const Operation& operation, const Range& range, bool writes, bool must_be_written);

}  // namespace pneuma::host_cuda
