// Decoded bytes to normalised pixels: affine map, crop, mirror, shift of colour (one formula for
// every device: kernels/augment.h), then (level - mean) / std. A thread makes 16 bytes of the
// output, which may be parts of several pixels; bytes of the picture come through the cache.
#include "kernels/augment.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/memory.cuh"

namespace pneuma::cuda {
namespace {

constexpr int kThreads = 256;  // of 32 to 48 registers: five blocks and more a multiprocessor

struct Normalization {
  float mean0, mean1, mean2, std0, std1, std2;  // not an array: those are indexed in memory only
  __device__ float operator()(int channel, float level0, float level1, float level2) const {
    if (channel == 0) return (level0 - mean0) / std0;
    return channel == 1 ? (level1 - mean1) / std1 : (level2 - mean2) / std2;
  }
};

template <int kChannels, class T>
__global__ void __launch_bounds__(kThreads)
    augment_kernel(const uint8_t* pixels, const AugmentItem* items, T* y, Normalization normalized,
                   unsigned height, unsigned width, int64_t count) {
  const int64_t first = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kLanes<T>;
  for_vector<kLanes<T>>(first, count, [&]<int kN>(int64_t i) {
    float v[kN], levels[3] = {};
    unsigned place = unsigned(i / kChannels);
    int channel = int(i % kChannels);
#pragma unroll
    for (int k = 0; k < kN; ++k) {
      if (k == 0 || channel == 0)
        augmentation::pixel(pixels, items[place / width / height], place / width % height,
                            place % width, width, kChannels, levels);
      v[k] = normalized(channel, levels[0], levels[1], levels[2]);
      if (++channel == kChannels) channel = 0, ++place;
    }
    store<kN>(y + i, v);
  });
}

}  // namespace

Status augment(Stream stream, const Augment& a) {
  const int64_t N = a.y.dims[0], H = a.y.dims[1], W = a.y.dims[2], C = a.y.dims[3];
  PN_REQUIRE(is(a.y, a.y.dtype, {N, H, W, C}) && C >= 1 && C <= 3 && N * H * W < INT32_MAX,
             "augment: y is not [N,h,w,c] with 1 to 3 channels");
  PN_REQUIRE(a.pixels.data && a.pixels.dtype == Dtype::u8 && a.items.data && a.host_items &&
                 a.items.bytes() == size_t(N) * sizeof(AugmentItem),
             "augment: pixels are not u8, or there is not one item per image of y");
  for (int64_t n = 0; n < N; ++n) {
    const char* why = augmentation::fault(a.host_items[n], H, W, C, a.pixels.count());
    PN_REQUIRE(!why, why);
  }
  const Normalization n{a.mean[0], a.mean[1], a.mean[2], a.std[0], a.std[1], a.std[2]};
  return dispatch(a.y.dtype, [&]<class T>(T) -> Status {
    const auto start = [&](auto kernel) {
      return launch(kernel, dim3(unsigned(blocks_of(a.y.count(), kThreads * kLanes<T>))), kThreads,
                    0, stream, a.pixels.as<const uint8_t>(), a.items.as<const AugmentItem>(),
                    a.y.as<T>(), n, unsigned(H), unsigned(W), a.y.count());
    };
    return C == 1   ? start(augment_kernel<1, T>)
           : C == 2 ? start(augment_kernel<2, T>)
                    : start(augment_kernel<3, T>);
  });
}

}  // namespace pneuma::cuda
