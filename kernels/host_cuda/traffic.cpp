#include "kernels/host_cuda/traffic.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <deque>

#include "kernels/host_cuda/host_cuda.h"

namespace pneuma::host_cuda {
namespace {

constexpr int kWarpLanes = 32;
constexpr uintptr_t kSector = 32, kBankBytes = 4, kBanks = 32;

std::mutex mutex;
auto& records = *new std::deque<LaunchRecord>;

// How many of `values` differ; sorts them.
size_t distinct(uintptr_t* values, size_t count) {
  std::sort(values, values + count);
  return size_t(std::unique(values, values + count) - values);
}

}  // namespace

LaunchRecord make_record(const std::string& name) {
  LaunchRecord record{};
  snprintf(record.name, sizeof(record.name), "%s", name.c_str());
  return record;
}

void add_record(const LaunchRecord& record) {
  std::lock_guard lock(mutex);
  records.push_back(record);
}

size_t take_launches(LaunchRecord* to, size_t room) {
  std::lock_guard lock(mutex);
  const size_t count = std::min(room, records.size());
  std::copy_n(records.begin(), count, to);
  records.erase(records.begin(), records.begin() + ptrdiff_t(count));
  return count;
}

std::vector<LaunchRecord> take_launches() {
  std::vector<LaunchRecord> all;
  LaunchRecord one;
  while (take_launches(&one, 1)) all.push_back(one);
  return all;
}

void BlockTraffic::start(int threads) {
  threads_ = threads;
  sites_.clear();
  sectors_.clear();
  counted_ = {};
}

void BlockTraffic::access(int thread, const Access& a, bool shared) {
  if (shared) {
    ++counted_.shared_accesses;
  } else {
    ++counted_.accesses[std::min<size_t>(size_t(std::bit_width(a.bytes)) - 1, 4)];
    for (uintptr_t at = a.address, end = at + a.bytes; at < end;) {
      const uintptr_t offset = at % kSector, n = std::min(end - at, kSector - offset);
      Touched& touched = sectors_[at / kSector];
      (a.writes ? touched.written : touched.read) |= uint32_t(((uint64_t(1) << n) - 1) << offset);
      at += n;
    }
  }
  Site& site = sites_[a.site];
  site.times.resize(size_t(threads_));
  site.groups.resize(size_t((threads_ + kWarpLanes - 1) / kWarpLanes));
  auto& groups = site.groups[size_t(thread / kWarpLanes)];
  const size_t n = site.times[size_t(thread)]++, lane = size_t(thread % kWarpLanes);
  if (n >= groups.size()) groups.resize(n + 1);
  groups[n].lanes |= 1u << lane;
  groups[n].bytes = uint8_t(std::min<size_t>(a.bytes, 255));
  groups[n].shared = shared;
  groups[n].addresses[lane] = a.address;
}

void BlockTraffic::count_global(const Group& group, LaunchRecord& record) const {
  uintptr_t sectors[kWarpLanes * 10], starts[kWarpLanes];
  size_t count = 0, lanes = 0;
  for (int l = 0; l < kWarpLanes; ++l) {
    if (!(group.lanes >> l & 1)) continue;
    const uintptr_t a = group.addresses[size_t(l)];
    starts[lanes++] = a;
    for (uintptr_t s = a / kSector; s <= (a + group.bytes - 1) / kSector; ++s) sectors[count++] = s;
  }
  record.sectors += distinct(sectors, count);
  const size_t bytes = distinct(starts, lanes) * group.bytes;
  record.least_sectors += (bytes + kSector - 1) / kSector;
}

// A wavefront serves each bank once: of 8-byte accesses half a warp, of 16-byte ones a quarter.
void BlockTraffic::count_shared(const Group& group, LaunchRecord& record) const {
  const int part = group.bytes >= 16 ? 8 : group.bytes >= 8 ? 16 : 32;
  for (int first = 0; first < kWarpLanes; first += part) {
    uintptr_t words[kWarpLanes * 4];
    size_t count = 0;
    for (int l = first; l < first + part; ++l)
      if (group.lanes >> l & 1)
        for (uintptr_t b = 0; b < std::min<uintptr_t>(group.bytes, 16); b += kBankBytes)
          if (count < std::size(words))
            words[count++] = (group.addresses[size_t(l)] + b) / kBankBytes;
    const size_t different = distinct(words, count);
    size_t of_bank[kBanks] = {}, most = 1;
    for (size_t i = 0; i < different; ++i) most = std::max(most, ++of_bank[words[i] % kBanks]);
    record.bank_conflicts += most - 1;
  }
}

void BlockTraffic::finish(LaunchRecord& record) {
  for (const auto& [address, touched] : sectors_) {
    record.bytes_read += uint64_t(std::popcount(touched.read));
    record.bytes_written += uint64_t(std::popcount(touched.written));
  }
  for (size_t i = 0; i < std::size(record.accesses); ++i)
    record.accesses[i] += counted_.accesses[i];
  record.shared_accesses += counted_.shared_accesses;
  for (const auto& [place, site] : sites_)
    for (size_t warp = 0; warp < site.groups.size(); ++warp)
      for (const Group& group : site.groups[warp]) {
        const int lanes = std::min(kWarpLanes, threads_ - int(warp) * kWarpLanes);
        record.lanes += uint64_t(lanes);
        record.inactive_lanes += uint64_t(lanes - std::popcount(group.lanes));
        group.shared ? count_shared(group, record) : count_global(group, record);
      }
}

}  // namespace pneuma::host_cuda
