// Separable resize of bytes (kernels/resize.h), the rows first. Weights are worked out in double,
// so each block does that once and keeps them in shared memory, then uses them for many rows.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/resize.h"

namespace pneuma::cuda {
namespace {

// A few taps of 4 bytes a thread: 128 threads and their weights leave room for eight blocks and
// more a multiprocessor. Sums in integers, bytes from the cache: this is bound by instructions.
constexpr int kThreads = 128;
constexpr int kRows = 16;                          // that one block of the first pass treats
constexpr size_t kSharedBytes = size_t{48} << 10;  // what every chip gives without asking

// A thread has one output column, all channels and kRows rows of it. Shared: [taps][kThreads].
template <int kChannels>
__global__ void __launch_bounds__(kThreads)
    resize_rows_kernel(const uint8_t* x, uint8_t* y, resizing::Triangle t, int64_t rows) {
  int32_t* weights = dynamic_shared<int32_t>();
  const int column = int(blockIdx.y * blockDim.x + threadIdx.x);
  if (column >= t.out) return;
  const int first = t.first(column), end = t.end(column);
  const double area = t.area(column);
  for (int k = first; k < end; ++k)
    weights[(k - first) * int(blockDim.x) + int(threadIdx.x)] = t.weight(column, k, area);
  const int64_t begin = int64_t{blockIdx.x} * kRows;
  for (int64_t row = begin; row < rows && row < begin + kRows; ++row) {
    int32_t sum[kChannels] = {};
    for (int k = first; k < end; ++k) {
      const int32_t weight = weights[(k - first) * int(blockDim.x) + int(threadIdx.x)];
#pragma unroll
      for (int c = 0; c < kChannels; ++c) sum[c] += weight * x[(row * t.in + k) * kChannels + c];
    }
#pragma unroll
    for (int c = 0; c < kChannels; ++c)
      y[(row * t.out + column) * kChannels + c] = resizing::rounded(sum[c]);
  }
}

// A block has one output row. Shared: [taps].
__global__ void __launch_bounds__(kThreads)
    resize_columns_kernel(const uint8_t* x, uint8_t* y, resizing::Triangle t, int64_t width) {
  int32_t* weights = dynamic_shared<int32_t>();
  const int row = int(blockIdx.x);
  const int first = t.first(row), end = t.end(row);
  const double area = t.area(row);
  for (int k = first + int(threadIdx.x); k < end; k += int(blockDim.x))
    weights[k - first] = t.weight(row, k, area);
  __syncthreads();
  const uint8_t* from = x + int64_t{blockIdx.y} * t.in * width;
  uint8_t* to = y + (int64_t{blockIdx.y} * t.out + row) * width;
  for (int64_t column = threadIdx.x; column < width; column += blockDim.x) {
    int32_t sum = 0;
    for (int k = first; k < end; ++k) sum += weights[k - first] * from[k * width + column];
    to[column] = resizing::rounded(sum);
  }
}

}  // namespace

size_t resize_workspace(const Resize& a) {  // the rows, resized
  return size_t(a.x.dims[0] * a.x.dims[1] * a.y.dims[2] * a.x.dims[3]);
}

Status resize(Stream stream, const Resize& a) {
  const int64_t N = a.x.dims[0], H = a.x.dims[1], W = a.x.dims[2], C = a.x.dims[3];
  const int64_t h = a.y.dims[1], w = a.y.dims[2];
  constexpr int64_t kMostSide = 65535;
  PN_REQUIRE(is(a.x, Dtype::u8, {N, H, W, C}) && is(a.y, Dtype::u8, {N, h, w, C}) && C >= 1 &&
                 C <= 4 && N >= 1 && N <= kMostSide && H >= 1 && W >= 1 && h >= 1 && w >= 1 &&
                 H <= kMostSide && W <= kMostSide && h <= kMostSide && w <= kMostSide,
             "resize: x and y are not u8 [N,H,W,C] and [N,h,w,C] with 1 to 4 channels and none of "
             "N, H, W, h, w over 65,535");
  PN_REQUIRE(a.workspace.bytes() >= resize_workspace(a), "resize: the workspace is too small");
  const resizing::Triangle across(int(W), int(w), a.antialias), down(int(H), int(h), a.antialias);
  int threads = kThreads;  // fewer where many taps fill the shared memory
  const auto shared = [&] { return size_t(across.most_taps()) * size_t(threads) * 4; };
  while (threads > 32 && shared() > kSharedBytes) threads /= 2;
  if (shared() > kSharedBytes || size_t(down.most_taps()) * 4 > kSharedBytes)
    return {StatusCode::unsupported, "resize: a reduction of more than 190 times"};
  uint8_t* rows = a.workspace.as<uint8_t>();
  const auto start = [&](auto kernel) {
    return launch(kernel, dim3(unsigned(blocks_of(N * H, kRows)), unsigned(blocks_of(w, threads))),
                  threads, shared(), stream, a.x.as<const uint8_t>(), rows, across, N * H);
  };
  const Status s = C == 1   ? start(resize_rows_kernel<1>)
                   : C == 2 ? start(resize_rows_kernel<2>)
                   : C == 3 ? start(resize_rows_kernel<3>)
                            : start(resize_rows_kernel<4>);
  if (!s) return s;
  return launch(resize_columns_kernel, dim3(unsigned(h), unsigned(N)), kThreads,
                size_t(down.most_taps()) * 4, stream, rows, a.y.as<uint8_t>(), down, w * C);
}

}  // namespace pneuma::cuda
