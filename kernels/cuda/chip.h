// What NVIDIA has dropped: a build may be too new for the chip that it finds itself on.
#pragma once

#include <cstddef>

namespace pneuma::cuda {

// Why a build of this CUDA (as CUDART_VERSION counts, 12090) with this cuDNN (as cudnnGetVersion()
// counts, 8907 or 91002) cannot work on a chip of compute capability major.minor; null: it can.
constexpr const char* why_not_on(int major, int minor, int cuda, size_t cudnn) {
  const bool is_volta = major == 7 && minor < 5;
  if (major < 7) return "this GPU is older than sm_70 (V100), the oldest supported";
  if (is_volta && cuda >= 13000)
    return "CUDA 13 has no code for a V100 (sm_70): build with CUDA 12";
  if (is_volta && cudnn > 91002)
    return "this cuDNN has no code for a V100 (sm_70): 9.10.2 is the last that has";
  return nullptr;
}

}  // namespace pneuma::cuda
