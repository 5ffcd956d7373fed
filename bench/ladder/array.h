// Memory of the device for as long as a ladder lives, and numbers to fill it with.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/view.h"

namespace pneuma::ladder {

inline void require(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

template <class T>
class Array {
 public:
  explicit Array(int64_t count) : count_(count) {
    require(cudaMalloc(reinterpret_cast<void**>(&data_), size_t(count) * sizeof(T)));
  }
  explicit Array(const std::vector<T>& values) : Array(int64_t(values.size())) { set(values); }
  ~Array() { cudaFree(data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  void set(const std::vector<T>& values) {
    require(cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  void fill(const T& value) { set(std::vector<T>(size_t(count_), value)); }
  std::vector<T> values() const {
    std::vector<T> to(static_cast<size_t>(count_));
    require(cudaMemcpy(to.data(), data_, to.size() * sizeof(T), cudaMemcpyDeviceToHost));
    return to;
  }
  T* data() const { return data_; }
  int64_t count() const { return count_; }
  View view(std::initializer_list<int64_t> dims, Dtype dtype) const {
    View v{data_, {}, int32_t(dims.size()), dtype};
    int64_t* to = v.dims;
    for (const int64_t d : dims) *to++ = d;
    return v;
  }

 private:
  T* data_ = nullptr;
  int64_t count_;
};

// Number i of a fixed sequence, spread evenly over -1 to 1 (the finaliser of MurmurHash3).
inline float number(uint64_t i, uint64_t seed) {
  uint64_t h = i * 0x9e3779b97f4a7c15u + seed;
  h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
  h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
  return float(double(h >> 40) * 0x1p-23 - 1);
}
template <class T>
std::vector<T> numbers(int64_t count, uint64_t seed, double middle = 0, double spread = 1) {
  std::vector<T> v(static_cast<size_t>(count));
  for (size_t i = 0; i < v.size(); ++i) v[i] = T(float(middle + spread * number(i, seed)));
  return v;
}

}  // namespace pneuma::ladder
