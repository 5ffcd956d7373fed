// Work that falls into independent pieces, on several threads.
#pragma once

#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

namespace pneuma {

// Calls work(i) for each i of [begin, end), in any order, on `threads` threads of which this is
// one; returns when all are done. REQUIRES that work does not throw.
template <class Work>
void for_each_on_threads(size_t begin, size_t end, int threads, const Work& work) {
  std::atomic<size_t> next = begin;
  const auto take = [&] {
    for (size_t i; (i = next.fetch_add(1)) < end;) work(i);
  };
  std::vector<std::jthread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(take);
  take();
}

}  // namespace pneuma
