// What the users of cuDNN and cuBLAS share: the library's handle for the calling thread and device.
#pragma once

#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "kernels/cuda/launch.cuh"

namespace pneuma::cuda {

// create(&handle) makes one at first use. It is never destroyed: that would wait for the device,
// and when the process ends the driver may be gone before us.
template <class Handle, class Create>
Status library_handle(Handle* handle, Create create) {
  static std::mutex mutex;
  static auto& handles = *new std::map<std::pair<std::thread::id, int>, Handle>;
  int device = 0;
  PN_CUDA(cudaGetDevice(&device));
  const std::lock_guard lock(mutex);
  const auto place = handles.try_emplace({std::this_thread::get_id(), device}).first;
  if (!place->second) {
    if (const Status s = create(&place->second); !s) return handles.erase(place), s;
  }
  *handle = place->second;
  return {};
}

}  // namespace pneuma::cuda
