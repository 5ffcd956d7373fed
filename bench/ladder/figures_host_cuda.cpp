// The ladder on host_cuda: what every launch asks of memory, counted access by access.
#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "bench/ladder/ladder.h"
#include "kernels/host_cuda/host_cuda.h"

namespace pneuma::ladder {
namespace {

using namespace host_cuda;

void open() {}

Figures measure(const Ladder& ladder, const Rung& rung) {
  ladder.reset();
  clear_faults();
  take_launches();
  const Settings before = settings();
  Settings counting = before;
  counting.count_traffic = true;
  set_settings(counting);
  const int64_t waits = counters().host_synchronizations;
  run(ladder, rung);
  Figures f;
  f.waits = uint64_t(counters().host_synchronizations - waits);
  cudaDeviceSynchronize();
  set_settings(before);
  for (const Fault& fault : faults())
    throw std::runtime_error(std::string(rung.name) + ": " + fault.sentence);
  f.check = ladder.check(rung);
  for (const LaunchRecord& r : take_launches()) {
    if (r.block[0] == 0) continue;  // a copy
    ++f.launches;
    f.bytes_read += r.bytes_read;
    f.bytes_written += r.bytes_written;
    f.sectors += r.sectors;
    f.least_sectors += r.least_sectors;
    f.accesses += std::accumulate(std::begin(r.accesses), std::end(r.accesses), uint64_t{0});
    f.wide_accesses += r.accesses[4];
    f.bank_conflicts += r.bank_conflicts;
    f.barriers += r.barriers;
    f.lanes += r.lanes;
    f.idle_lanes += r.inactive_lanes;
  }
  return f;
}

}  // namespace

const Machine machine{"host_cuda", true, open, measure};

}  // namespace pneuma::ladder
