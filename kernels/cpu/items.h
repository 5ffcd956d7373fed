// Walks all parameters of a step in fixed chunks, on all threads.
#pragma once

#include "kernels/cpu/simd.h"

namespace pneuma::PN_ISA {

PN_INLINE int64_t chunks_of(const ParameterUpdate& p) { return (p.count + kChunk - 1) / kChunk; }
PN_INLINE int64_t chunks_of(const ParameterUpdate* items, int64_t count) {
  int64_t chunks = 0;
  for (int64_t i = 0; i < count; ++i) chunks += chunks_of(items[i]);
  return chunks;
}

// f(item, range of elements, index of the item, index of the chunk over all items)
template <class F>
PN_INLINE void for_items(const ParameterUpdate* items, int64_t count, F f) {
  const int64_t chunks = chunks_of(items, count);
  parallel(chunks, [&](int thread, int threads) {
    const Range mine = share(chunks, thread, threads);
    int64_t chunk = 0;
    for (int64_t i = 0; i < count; ++i)
      for (int64_t begin = 0; begin < items[i].count; begin += kChunk, ++chunk)
        if (chunk >= mine.begin && chunk < mine.end)
          f(items[i], Range{begin, least(begin + kChunk, items[i].count)}, i, chunk);
  });
}

}  // namespace pneuma::PN_ISA
