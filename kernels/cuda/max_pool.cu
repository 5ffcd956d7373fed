// Maximum over a square window, and its gradient: y = max x, dx = sum of dy over the windows that x
// has won. argmax is the place in the window, kernel * row + column, of the first maximum; a NaN
// wins and stays. Backward gathers: each element of dx asks the windows that hold it whether it won
// there, so that nothing is added from two sides.
//
// Windows overlap, so a block has a tile of kTileRows x kTileColumns pixels: what it reads more
// than once comes from the cache, and of the rows and columns around the tile, which its neighbours
// read too, there are few (3x3 / 2: 10 % of x forward, 13 % of dy and argmax backward). A thread
// has one vector of channels of one pixel at a time; 8 of them side by side make a line of 128
// bytes. It needs up to 64 registers, so 1,024 threads share a multiprocessor, each with a load of
// 16 bytes or more on the way: 16 KB, more than memory asks for (memory.cuh).
#include <algorithm>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/memory.cuh"

namespace pneuma::cuda {
namespace {

constexpr int kThreads = 256, kWidth = 8;  // vectors across; 256 threads: 32 pixels at a time
constexpr int kTileRows[] = {8, 16}, kTileColumns = 16;  // of y forward, of dx backward

struct Window {
  int height, width, channels;  // of x
  int out_height, out_width;    // of y
  int kernel, stride, padding;
};

// The pixels of an image of height x width that a block walks.
template <int kRows, int kN>
struct Tile {
  int image, top, left, channel;

  __device__ Tile(int height, int width) {
    const int across = int(blocks_of(width, kTileColumns)), down = int(blocks_of(height, kRows));
    left = int(blockIdx.x) % across * kTileColumns;
    top = int(blockIdx.x) / across % down * kRows;
    image = int(blockIdx.x) / across / down;
    channel = (int(blockIdx.y) * kWidth + int(threadIdx.x) % kWidth) * kN;
  }
  template <class F>
  __device__ __forceinline__ void for_pixels(int height, int width, F f) const {
    for (int i = int(threadIdx.x) / kWidth; i < kRows * kTileColumns; i += kThreads / kWidth) {
      const int row = top + i / kTileColumns, column = left + i % kTileColumns;
      if (row < height && column < width) f(row, column);
    }
  }
};
template <int kRows, int kN>
dim3 grid_of(int64_t images, int height, int width, int channels) {
  return dim3(unsigned(images * blocks_of(height, kRows) * blocks_of(width, kTileColumns)),
              unsigned(blocks_of(channels, kWidth * kN)));
}

// kKernel is w.kernel where that is known to the compiler, else 0.
template <class T, int kN, int kKernel>
__global__ void __launch_bounds__(kThreads)
    max_pool_forward_kernel(const T* x, T* y, uint8_t* argmax, Window w) {
  const int kernel = kKernel ? kKernel : w.kernel;
  const Tile<kTileRows[0], kN> tile(w.out_height, w.out_width);
  if (tile.channel >= w.channels) return;
  tile.for_pixels(w.out_height, w.out_width, [&](int p, int q) {
    const int top = p * w.stride - w.padding, left = q * w.stride - w.padding;
    float best[kN] = {}, winner[kN];
#pragma unroll
    for (int k = 0; k < kN; ++k) winner[k] = -1.0f;
#pragma unroll(kKernel ? kKernel : 1)
    for (int r = 0; r < kernel; ++r)
#pragma unroll(kKernel ? kKernel : 1)
      for (int s = 0; s < kernel; ++s) {
        const int row = top + r, column = left + s;
        if (row < 0 || row >= w.height || column < 0 || column >= w.width) continue;
        float v[kN];
        load<kN>(x + ((int64_t{tile.image} * w.height + row) * w.width + column) * w.channels +
                     tile.channel,
                 v);
#pragma unroll
        for (int k = 0; k < kN; ++k)
          if (winner[k] < 0.0f || (best[k] == best[k] && !(v[k] <= best[k]))) {
            best[k] = v[k];
            winner[k] = float(r * kernel + s);
          }
      }
    const int64_t i =
        ((int64_t{tile.image} * w.out_height + p) * w.out_width + q) * w.channels + tile.channel;
    store<kN>(y + i, best);
    store<kN>(argmax + i, winner);
  });
}

template <class T, int kN>
__global__ void __launch_bounds__(kThreads)
    max_pool_backward_kernel(const T* dy, const uint8_t* argmax, T* dx, bool add, Window w) {
  const Tile<kTileRows[1], kN> tile(w.height, w.width);
  if (tile.channel >= w.channels) return;
  tile.for_pixels(w.height, w.width, [&](int row, int column) {
    const int below = row + w.padding, right = column + w.padding;  // of the windows' first corner
    const int first_p = max(0, (below - w.kernel + w.stride) / w.stride);
    const int first_q = max(0, (right - w.kernel + w.stride) / w.stride);
    const int last_p = min(w.out_height - 1, below / w.stride);
    const int last_q = min(w.out_width - 1, right / w.stride);
    float sum[kN] = {};
#pragma unroll 1
    for (int p = first_p; p <= last_p; ++p)
#pragma unroll 1
      for (int q = first_q; q <= last_q; ++q) {
        const int64_t i =
            ((int64_t{tile.image} * w.out_height + p) * w.out_width + q) * w.channels +
            tile.channel;
        const float place = float((below - p * w.stride) * w.kernel + right - q * w.stride);
        float g[kN], winner[kN];
        load<kN>(argmax + i, winner);
        load<kN>(dy + i, g);
#pragma unroll
        for (int k = 0; k < kN; ++k) sum[k] += winner[k] == place ? g[k] : 0.0f;
      }
    put<kN>(dx + ((int64_t{tile.image} * w.height + row) * w.width + column) * w.channels +
                tile.channel,
            sum, add);
  });
}

Status check(const View& x, const View& y, const View& argmax, int kernel, int stride, int padding,
             Window* w) {
  PN_REQUIRE(kernel >= 1 && kernel <= 16 && stride >= 1 && padding >= 0 && 2 * padding <= kernel,
             "max pool: needs 1 <= kernel <= 16, stride >= 1, 0 <= padding <= kernel / 2");
  const int64_t N = x.dims[0], H = x.dims[1], W = x.dims[2], C = x.dims[3];
  PN_REQUIRE(is(x, x.dtype, {N, H, W, C}) && H + 2 * padding >= kernel && W + 2 * padding >= kernel,
             "max pool: x is not [N,H,W,C], or smaller than the window");
  const int64_t P = (H + 2 * padding - kernel) / stride + 1;
  const int64_t Q = (W + 2 * padding - kernel) / stride + 1;
  PN_REQUIRE(is(y, x.dtype, {N, P, Q, C}) && is(argmax, Dtype::u8, {N, P, Q, C}),
             "max pool: y and argmax are not [N,P,Q,C] of x, kernel, stride and padding");
  *w = {int(H), int(W), int(C), int(P), int(Q), kernel, stride, padding};
  return {};
}

// Calls f.template operator()<T, kN>(): vectors where C has whole ones.
template <class F>
Status dispatch_vector(const View& x, F f) {
  return dispatch(x.dtype, [&]<class T>(T) -> Status {
    return x.dims[3] % kLanes<T> ? f.template operator()<T, 1>()
                                 : f.template operator()<T, kLanes<T>>();
  });
}

}  // namespace

Status max_pool_forward(Stream stream, const MaxPoolForward& a) {
  Window w;
  if (const Status s = check(a.x, a.y, a.argmax, a.kernel, a.stride, a.padding, &w); !s) return s;
  return dispatch_vector(a.x, [&]<class T, int kN>() -> Status {
    const auto kernel =
        w.kernel == 3 ? max_pool_forward_kernel<T, kN, 3> : max_pool_forward_kernel<T, kN, 0>;
    return launch(kernel,
                  grid_of<kTileRows[0], kN>(a.x.dims[0], w.out_height, w.out_width, w.channels),
                  kThreads, 0, stream, a.x.as<const T>(), a.y.as<T>(), a.argmax.as<uint8_t>(), w);
  });
}

Status max_pool_backward(Stream stream, const MaxPoolBackward& a) {
  Window w;
  if (const Status s = check(a.dx, a.dy, a.argmax, a.kernel, a.stride, a.padding, &w); !s) return s;
  return dispatch_vector(a.dx, [&]<class T, int kN>() -> Status {
    return launch(max_pool_backward_kernel<T, kN>,
                  grid_of<kTileRows[1], kN>(a.dx.dims[0], w.height, w.width, w.channels), kThreads,
                  0, stream, a.dy.as<const T>(), a.argmax.as<const uint8_t>(), a.dx.as<T>(),
                  a.dx.add, w);
  });
}

}  // namespace pneuma::cuda
