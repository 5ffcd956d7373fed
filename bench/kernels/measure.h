// Measures one case after the other on one device: time, error, equality of two runs, and beside
// them what the device can do at best: a copy of as many bytes in turn with the case, or a large
// matrix product.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/kernels/cases.h"

namespace pneuma::bench {

// Memory for all operands of a case, at their beginning; numbers in f64 for the `oracle`.
std::vector<View> place(Memory& memory, const Case& c, bool oracle);

struct Quantiles {
  double p10 = 0, median = 0, p90 = 0;
};

struct Row {
  std::string skipped;  // why; nothing else stands then
  Quantiles seconds;
  double bytes_per_second = 0;    // the floor's bytes
  std::optional<double> of_copy;  // that, over the copy's in the same run
  std::optional<double> flop_per_second, of_peak;
  double error = 0;    // in ulp of the result's dtype, at its largest magnitude
  bool equal = false;  // two runs gave the same bits
};

class Meter {
 public:
  Meter(const Backend& backend, Dtype dtype, int runs);
  ~Meter();
  Meter(const Meter&) = delete;

  Row measure(const Case&);

  int warm_up() const { return warm_up_; }
  size_t flushed_bytes() const { return flushed_bytes_; }  // written and read between two runs
  bool by_events() const { return backend_.device.elapsed; }
  // FLOP/s of the best matrix product, and its side; 0 where the device has none.
  double peak() const { return peak_; }
  int64_t peak_side() const { return peak_side_; }

 private:
  using Call = std::function<Status(Stream)>;
  double seconds_of(const Call&);
  void copy(void* to, const void* from, size_t bytes);
  void flush();
  bool equal_runs(Memory&, const Case&, const std::vector<View>&, const Call&);
  double error_of(const Case& small);
  void measure_peak(Dtype);
  void check(const char* what, const Status&) const;

  const Backend& backend_;
  Memory memory_;
  DeviceProperties properties_{};
  Stream stream_ = nullptr;
  Event start_ = nullptr, end_ = nullptr;
  int runs_, warm_up_;
  size_t flushed_bytes_;
  std::byte* flush_ = nullptr;
  double peak_ = 0;
  int64_t peak_side_ = 0;
  std::map<std::string, double> errors_;  // by the name of the small case
};

}  // namespace pneuma::bench
