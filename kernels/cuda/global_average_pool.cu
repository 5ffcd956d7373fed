// Mean over H and W, and its gradient: y = sum x / (H W), dx = dy / (H W). A block has one image
// and 8 vectors of channels (a line of 128 bytes); its 32 rows of threads share the pixels. 32
// registers a thread: every chip is as full as it can be.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/memory.cuh"
#include "kernels/cuda/reduce.cuh"

namespace pneuma::cuda {
namespace {

constexpr int kThreads = 256, kWidth = 8, kRows = kThreads / kWidth;

template <int kN>
__device__ int own_channel() {
  return (int(blockIdx.y) * kWidth + int(threadIdx.x) % kWidth) * kN;
}

template <class T, int kN>
__global__ void __launch_bounds__(kThreads)
    global_average_pool_forward_kernel(const T* x, T* y, int64_t pixels, int channels) {
  const int channel = own_channel<kN>();
  float sum[kN][1] = {};
  if (channel < channels) {
    const T* image = x + int64_t{blockIdx.x} * pixels * channels + channel;
#pragma unroll 4
    for (int64_t i = int(threadIdx.x) / kWidth; i < pixels; i += kRows) {
      float v[kN];
      load<kN>(image + i * channels, v);
#pragma unroll
      for (int k = 0; k < kN; ++k) sum[k][0] += v[k];
    }
  }
  merge_rows<kThreads>(sum, 0.0f, kWidth, Add{}, [&](int of_tile, const float(&total)[1]) {
    const int c = int(blockIdx.y) * kWidth * kN + of_tile;
    if (c < channels)
      y[int64_t{blockIdx.x} * channels + c] = from_float<T>(total[0] / float(pixels));
  });
}

template <class T, int kN>
__global__ void __launch_bounds__(kThreads)
    global_average_pool_backward_kernel(const T* dy, T* dx, bool add, int64_t pixels,
                                        int channels) {
  const int channel = own_channel<kN>();
  if (channel >= channels) return;
  float g[kN];
  load<kN>(dy + int64_t{blockIdx.x} * channels + channel, g);
#pragma unroll
  for (int k = 0; k < kN; ++k) g[k] /= float(pixels);
  T* image = dx + int64_t{blockIdx.x} * pixels * channels + channel;
  for (int64_t i = int(threadIdx.x) / kWidth; i < pixels; i += kRows) {
    float v[kN];
#pragma unroll
    for (int k = 0; k < kN; ++k) v[k] = g[k];
    put<kN>(image + i * channels, v, add);
  }
}

bool averages(const View& x, const View& y) {
  return is(x, x.dtype, {x.dims[0], x.dims[1], x.dims[2], x.dims[3]}) &&
         x.dims[1] * x.dims[2] > 0 && is(y, x.dtype, {x.dims[0], x.dims[3]});
}

// Calls f.template operator()<T, kN>(grid): vectors where C has whole ones.
template <class F>
Status dispatch_vector(const View& x, F f) {
  const auto grid = [&](int vector) {
    return dim3(unsigned(x.dims[0]), unsigned(blocks_of(x.dims[3], kWidth * vector)));
  };
  return dispatch(x.dtype, [&]<class T>(T) -> Status {
    return x.dims[3] % kLanes<T> ? f.template operator()<T, 1>(grid(1))
                                 : f.template operator()<T, kLanes<T>>(grid(kLanes<T>));
  });
}

}  // namespace

Status global_average_pool_forward(Stream stream, const GlobalAveragePoolForward& a) {
  PN_REQUIRE(averages(a.x, a.y), "global average pool: x is not [N,H,W,C] or y not [N,C]");
  return dispatch_vector(a.x, [&]<class T, int kN>(dim3 grid) -> Status {
    return launch(global_average_pool_forward_kernel<T, kN>, grid, kThreads, 0, stream,
                  a.x.as<const T>(), a.y.as<T>(), a.x.dims[1] * a.x.dims[2], int(a.x.dims[3]));
  });
}

Status global_average_pool_backward(Stream stream, const GlobalAveragePoolBackward& a) {
  PN_REQUIRE(averages(a.dx, a.dy), "global average pool: dx is not [N,H,W,C] or dy not [N,C]");
  return dispatch_vector(a.dx, [&]<class T, int kN>(dim3 grid) -> Status {
    return launch(global_average_pool_backward_kernel<T, kN>, grid, kThreads, 0, stream,
                  a.dy.as<const T>(), a.dx.as<T>(), a.dx.add, a.dx.dims[1] * a.dx.dims[2],
                  int(a.dx.dims[3]));
  });
}

}  // namespace pneuma::cuda
