// Memory of a device for one case, filled and read back through Device.copy alone, so that it may
// be a device whose memory the host cannot touch. Given back when it is destroyed.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "engine/random.h"
#include "kernels/kernels.h"

namespace pneuma::bench {

using Draw = std::function<double(Random&)>;

class Memory {
 public:
  Memory(const Backend& backend, Stream stream) : backend_(backend), stream_(stream) {}
  ~Memory();
  Memory(const Memory&) = delete;

  const Backend& backend() const { return backend_; }
  void* allocate(size_t bytes);

  // The host's bytes, then themselves again and again to the end of `to`.
  void upload(const View& to, std::span<const std::byte> from);
  // Numbers as `draw` gives them, rounded to `rounded_to` and then to the view's own dtype: a view
  // in f64 can hold what one in f16 does. `stream` tells the draws of one case apart.
  void fill(const View& to, const Draw& draw, uint32_t stream, Dtype rounded_to);
  std::vector<std::byte> download(const View& from);

 private:
  const Backend& backend_;
  Stream stream_;
  std::vector<void*> blocks_;
};

// Throws what a failed status says.
void check(const Backend& backend, const char* what, const Status& status);

// The elements as numbers.
std::vector<double> numbers(std::span<const std::byte> bytes, Dtype dtype);
double eps_of(Dtype dtype);  // from 1 to the next number; 1 for integers

}  // namespace pneuma::bench
