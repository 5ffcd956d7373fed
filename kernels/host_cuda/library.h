// What the stand-ins for cuBLAS and cuDNN share: how stored elements become floats and back.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/reference/dispatch.h"

namespace pneuma::host_cuda {

inline std::vector<float> floats_of(Dtype dtype, const void* p, int64_t count) {
  std::vector<float> values(size_t(count), 0);
  reference::dispatch(dtype, [&]<class T>(T) {
    for (int64_t i = 0; i < count; ++i) values[size_t(i)] = float(static_cast<const T*>(p)[i]);
  });
  return values;
}
inline void store_floats(Dtype dtype, void* p, const std::vector<float>& values) {
  reference::dispatch(dtype, [&]<class T>(T) {
    for (size_t i = 0; i < values.size(); ++i) static_cast<T*>(p)[i] = T(values[i]);
  });
}

}  // namespace pneuma::host_cuda
