// The seam for collectives: how the ranks of a run exchange tensors. One rank needs nothing else
// than kLocalComm.
#pragma once

#include "kernels/view.h"

namespace pneuma {

// A typed run of elements: never bytes where elements are meant.
struct Span {
  void* data;
  Dtype dtype;
  int64_t count;
};

// Every function is called by all ranks in the same order. `self` is the implementation's own.
struct Comm {
  const char* name = "local";
  void* self = nullptr;
  int rank = 0, size = 1;
  Status (*all_reduce_sum)(void* self, Stream, Span) = nullptr;
  Status (*broadcast)(void* self, Stream, Span, int root) = nullptr;
  Status (*barrier)(void* self) = nullptr;
  Status (*send)(void* self, Stream, Span, int to) = nullptr;
  Status (*receive)(void* self, Stream, Span, int from) = nullptr;
};

}  // namespace pneuma
