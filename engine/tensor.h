// A tensor: a counted handle on memory of a device, with a shape and a dtype. Copies share the
// memory; the last handle gives it back. An arena tensor's release is what the memory plan sees, so
// handles are dropped early.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

#include "kernels/kernels.h"

namespace pneuma {

// A shape by value, at most kMaxRank long.
struct Shape {
  int64_t dims[kMaxRank] = {};
  int rank = 0;

  Shape() = default;
  Shape(std::initializer_list<int64_t>
            list);  // throws where it is too long or a dimension is negative
  int64_t operator[](int i) const { return dims[i]; }
  int64_t count() const;
  bool operator==(const Shape&) const = default;
  std::string text() const;  // "[8,56,56,64]"
};

class Arena;

// Memory with its owner. In a dry run there is no memory.
struct Storage {
  void* data = nullptr;
  size_t bytes = 0;
  const Device* device = nullptr;  // owner of persistent memory...
  Arena* arena = nullptr;          // ...or the arena and the place in it
  size_t slot = 0;
  Storage() = default;
  Storage(const Storage&) = delete;
  ~Storage();
};

class Tensor {
 public:
  Tensor() = default;
  Tensor(std::shared_ptr<Storage> storage, Shape shape, Dtype dtype);

  explicit operator bool() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const { return shape_[i]; }
  Dtype dtype() const { return dtype_; }
  size_t bytes() const { return storage_ ? size_t(shape_.count()) * size_of(dtype_) : 0; }
  View view() const;  // absent where the tensor is empty
  // Equal for handles on the same tensor, 0 for an empty one; never used again in a process.
  uint64_t id() const { return id_; }
  bool shared() const { return storage_.use_count() > 1; }  // other handles have the same memory
  // The same memory under another shape of the same count.
  Tensor reshaped(Shape shape) const;
  // The first n of its first dimension.
  Tensor rows(int64_t n) const;
  template <class T>
  T* data() const {
    return static_cast<T*>(storage_ ? storage_->data : nullptr);
  }

 private:
  std::shared_ptr<Storage> storage_;
  Shape shape_;
  Dtype dtype_ = Dtype::f32;
  uint64_t id_ = 0;
};

}  // namespace pneuma
