#include "bench/kernels/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>

#include "engine/error.h"
#include "kernels/open_backend.h"

namespace pneuma::bench {
namespace {

constexpr int kWarmUp = 20;
constexpr size_t kMegabyte = size_t{1} << 20;
constexpr size_t kLeastCopy = kMegabyte;  // a smaller one is all start, and so is what it stands by

// The host's last-level cache as the kernel tells it; a device's own is smaller than 128 MiB.
size_t last_level_cache(bool host) {
  if (!host) return 128 * kMegabyte;
  size_t kilobytes = 0, largest = 0;
  for (int i = 0; i < 8; ++i) {
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/size");
    if (file >> kilobytes) largest = std::max(largest, kilobytes * 1024);
  }
  return largest ? largest : 32 * kMegabyte;
}

Quantiles quantiles(std::vector<double> v) {
  std::ranges::sort(v);
  const auto at = [&](double q) { return v[size_t(std::lround(q * double(v.size() - 1)))]; };
  return {at(0.1), v.size() % 2 ? at(0.5) : (v[v.size() / 2 - 1] + v[v.size() / 2]) / 2, at(0.9)};
}

// Largest difference over the truth's largest magnitude, in eps; NaN and infinity must stand in the
// same places.
double error(const std::vector<double>& got, const std::vector<double>& truth, double eps,
             bool integers) {
  double magnitude = 0, worst = 0;
  for (const double t : truth)
    if (std::isfinite(t)) magnitude = std::max(magnitude, std::fabs(t));
  if (magnitude == 0 || integers) magnitude = 1;
  for (size_t i = 0; i < truth.size(); ++i) {
    const double g = got[i], t = truth[i];
    if (std::isnan(t) ? std::isnan(g) : g == t) continue;
    const double e = std::fabs(g - t) / magnitude / eps;
    worst = std::max(worst, std::isfinite(e) ? e : INFINITY);
  }
  return worst;
}

bool is_integer(Dtype d) { return d == Dtype::u8 || d == Dtype::i32 || d == Dtype::i64; }
View in_f64(View v) {
  if (!is_integer(v.dtype)) v.dtype = Dtype::f64;
  return v;
}

// Brings one operand to its beginning: a result to bytes that are NaN in every dtype.
void reset(Memory& memory, const Operand& o, const View& v, uint32_t stream) {
  const std::byte nan[] = {std::byte{0xFF}};
  if (o.role == Role::result)
    memory.upload(v, nan);
  else if (!o.raw.empty())
    memory.upload(v, o.raw);
  else
    memory.fill(v, o.draw, stream, o.view.dtype);
}

// Memory that has been written: fresh pages of the host would all be one page of zeros.
std::byte* touched(Memory& memory, size_t bytes) {
  const std::byte any[] = {std::byte{1}};
  const View v{memory.allocate(bytes), {int64_t(bytes)}, 1, Dtype::u8};
  memory.upload(v, any);
  return v.as<std::byte>();
}

void copy_by_threads(void* to, const void* from, size_t bytes, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int i = 0; i < threads; ++i) {
    const size_t begin = bytes / size_t(threads) * size_t(i);
    const size_t end = i + 1 == threads ? bytes : bytes / size_t(threads) * size_t(i + 1);
    std::memcpy(static_cast<std::byte*>(to) + begin, static_cast<const std::byte*>(from) + begin,
                end - begin);
  }
}

}  // namespace

std::vector<View> place(Memory& memory, const Case& c, bool oracle) {
  std::vector<View> views;
  for (const Operand& o : c.operands) {
    View v = oracle ? in_f64(o.view) : o.view;
    v.data = memory.allocate(v.bytes());
    reset(memory, o, v, uint32_t(views.size()));
    views.push_back(v);
  }
  return views;
}

Meter::Meter(const Backend& backend, Dtype dtype, int runs)
    : backend_(backend), memory_(backend, nullptr), runs_(runs), warm_up_(std::min(kWarmUp, runs)) {
  check("properties", backend.device.properties(&properties_));
  check("create_stream", backend.device.create_stream(&stream_));
  if (by_events()) {
    check("create_event", backend.device.create_event(&start_));
    check("create_event", backend.device.create_event(&end_));
  }
  flushed_bytes_ = 3 * last_level_cache(properties_.host_readable);
  flush_ = touched(memory_, flushed_bytes_);
  measure_peak(dtype);
}

Meter::~Meter() {
  if (by_events()) {
    backend_.device.destroy_event(start_);
    backend_.device.destroy_event(end_);
  }
  backend_.device.destroy_stream(stream_);
}

void Meter::check(const char* what, const Status& status) const {
  bench::check(backend_, what, status);
}

double Meter::seconds_of(const Call& call) {
  const Device& device = backend_.device;
  const auto start = std::chrono::steady_clock::now();
  if (by_events()) check("record", device.record(start_, stream_));
  check("kernel", call(stream_));
  if (by_events()) check("record", device.record(end_, stream_));
  check("synchronize", device.synchronize(stream_));
  if (!by_events())
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  float milliseconds = 0;
  check("elapsed", device.elapsed(start_, end_, &milliseconds));
  return milliseconds * 1e-3;
}

// The fastest copy that the device has: by all threads where its memory is the host's.
void Meter::copy(void* to, const void* from, size_t bytes) {
  if (properties_.host_readable)
    copy_by_threads(to, from, bytes, properties_.threads);
  else
    check("copy", backend_.device.copy(stream_, to, from, bytes));
}

void Meter::flush() { copy(flush_ + flushed_bytes_ / 2, flush_, flushed_bytes_ / 2); }

// Grows the product until a call takes long enough for its start not to count.
void Meter::measure_peak(Dtype dtype) {
  constexpr double kLongEnough = 20e-3;
  constexpr int64_t kLargest = 8192;
  for (int64_t n = 128; n <= kLargest; n *= 2) {
    const Case c = matrix_product(n, dtype);
    Memory memory(backend_, stream_);
    const Call call = c.bind(memory, place(memory, c, false));
    if (!call || !call(stream_)) return;
    check(c.kernel.c_str(), backend_.device.synchronize(stream_));
    double best = INFINITY;
    for (int i = 0; i < std::min(runs_, kWarmUp); ++i) best = std::min(best, seconds_of(call));
    if (c.flops / best > peak_) peak_ = c.flops / best, peak_side_ = n;
    if (best > kLongEnough) return;
  }
}

bool Meter::equal_runs(Memory& memory, const Case& c, const std::vector<View>& views,
                       const Call& call) {
  std::vector<std::vector<std::byte>> first;
  for (const bool again : {false, true}) {
    for (uint32_t k = 0; k < views.size(); ++k)
      if (c.operands[k].role != Role::input) reset(memory, c.operands[k], views[k], k);
    check(c.kernel.c_str(), call(stream_));
    check(c.kernel.c_str(), backend_.device.synchronize(stream_));
    size_t at = 0;
    for (size_t k = 0; k < views.size(); ++k) {
      if (c.operands[k].role == Role::input) continue;
      const std::vector<std::byte> bytes = memory.download(views[k]);
      if (again && bytes != first[at++]) return false;
      if (!again) first.push_back(bytes);
    }
  }
  return true;
}

// Against the reference in f64, from the same numbers.
double Meter::error_of(const Case& small) {
  if (const auto known = errors_.find(small.name); known != errors_.end()) return known->second;
  std::string why;
  const Backend& reference = *open_backend("reference", &why);
  Memory memory(backend_, stream_), oracle(reference, nullptr);
  const std::vector<View> got = place(memory, small, false), truth = place(oracle, small, true);
  check(small.name.c_str(), small.bind(memory, got)(stream_));
  check(small.name.c_str(), backend_.device.synchronize(stream_));
  bench::check(reference, small.name.c_str(), small.bind(oracle, truth)(nullptr));
  double worst = 0;
  for (size_t k = 0; k < got.size(); ++k) {
    const Operand& o = small.operands[k];
    if (o.role == Role::input || !o.compared) continue;
    const Dtype dtype = got[k].dtype;
    worst = std::max(worst, error(numbers(memory.download(got[k]), dtype),
                                  numbers(oracle.download(truth[k]), truth[k].dtype),
                                  o.eps > 0 ? o.eps : eps_of(dtype), is_integer(dtype)));
  }
  return errors_[small.name] = worst;
}

Row Meter::measure(const Case& c) {
  Row row;
  Memory memory(backend_, stream_);
  const std::vector<View> views = place(memory, c, false);
  const Call call = c.bind(memory, views);
  if (!call) {
    row.skipped = "the device has no such kernel";
    return row;
  }
  if (const Status status = call(stream_); status.code == StatusCode::unsupported) {
    row.skipped = status.message;
    return row;
  }
  row.equal = equal_runs(memory, c, views, call);
  row.error = error_of(*c.small);

  const bool by_copy = c.flops == 0 && c.bytes >= double(kLeastCopy);
  const auto half = by_copy ? size_t(c.bytes / 2) : 0;
  std::byte* copied_bytes = touched(memory, 2 * half);
  const Call copy_as_much = [&](Stream) {
    return copy(copied_bytes + half, copied_bytes, half), Status{};
  };
  std::vector<double> seconds, copied;
  if (backend_.device.push_range) backend_.device.push_range(c.name.c_str());
  for (int i = -warm_up_; i < runs_; ++i) {
    flush();
    const double s = seconds_of(call);
    if (i >= 0) seconds.push_back(s);
    if (!by_copy) continue;
    flush();
    const double as_much = seconds_of(copy_as_much);
    if (i >= 0) copied.push_back(as_much);
  }
  if (backend_.device.pop_range) backend_.device.pop_range();

  row.seconds = quantiles(seconds);
  row.bytes_per_second = c.bytes / row.seconds.median;
  if (by_copy) row.of_copy = quantiles(copied).median / row.seconds.median;
  if (c.flops > 0) {
    row.flop_per_second = c.flops / row.seconds.median;
    if (peak_ > 0) row.of_peak = *row.flop_per_second / peak_;
  }
  return row;
}

}  // namespace pneuma::bench
