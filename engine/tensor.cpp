#include "engine/tensor.h"

#include <fmt/ranges.h>

#include <atomic>

#include "engine/arena.h"
#include "engine/error.h"

namespace pneuma {

Shape::Shape(std::initializer_list<int64_t> list) {
  if (list.size() > size_t(kMaxRank))
    fail(Exit::usage, "a tensor has at most {} dimensions", kMaxRank);
  for (const int64_t d : list) {
    if (d < 0) fail(Exit::usage, "a dimension cannot be negative ({})", d);
    dims[rank++] = d;
  }
}

int64_t Shape::count() const {
  int64_t n = rank ? 1 : 0;
  for (int i = 0; i < rank; ++i) n *= dims[i];
  return n;
}

std::string Shape::text() const { return fmt::format("[{}]", fmt::join(dims, dims + rank, ",")); }

Storage::~Storage() {
  if (arena)
    arena->release(*this);
  else if (device && data)
    device->release(data);
}

Tensor::Tensor(std::shared_ptr<Storage> storage, Shape shape, Dtype dtype)
    : storage_(std::move(storage)), shape_(shape), dtype_(dtype) {
  static std::atomic<uint64_t> last{0};
  id_ = ++last;
}

View Tensor::view() const {
  View v;
  if (!storage_) return v;
  v.data = storage_->data;
  v.dtype = dtype_;
  v.rank = shape_.rank;
  for (int i = 0; i < shape_.rank; ++i) v.dims[i] = shape_[i];
  return v;
}

Tensor Tensor::reshaped(Shape shape) const {
  if (shape.count() != shape_.count())
    fail(Exit::usage, "{} cannot be seen as {}", shape_.text(), shape.text());
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::rows(int64_t n) const {
  if (n > shape_[0]) fail(Exit::usage, "{} has no {} rows", shape_.text(), n);
  Tensor t = *this;
  t.shape_.dims[0] = n;
  return t;
}

}  // namespace pneuma
