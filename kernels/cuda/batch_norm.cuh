// What the passes of batch norm share: how blocks lie over x seen as a matrix of N*H*W rows and C
// channels, the numbers of a channel, and the pass that applies them.
//
// A thread owns one vector of channels (16 bytes of x; one channel where C is no multiple of 8) and
// walks rows; up to 32 vectors side by side are a tile, so that a warp reads whole lines of one or
// of adjacent rows. A block has one tile and a chunk of rows. Chunks depend on shapes alone, so
// that sums are the same on every chip: enough blocks to fill the largest (kBlocks), but never so
// few rows that what is kept per channel and block weighs beside them (kLeastRows * 2 bytes and
// more of x against 8 bytes of sums or 16 of parameters).
// 256 threads that need at most 64 registers: 1,024 threads a multiprocessor, half of the most it
// holds. With one vector of x or more on the way each, that is 16 KB and more (see memory.cuh).
#pragma once

#include <algorithm>
#include <bit>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/memory.cuh"
#include "kernels/cuda/reduce.cuh"

namespace pneuma::cuda::batch_norm {

inline constexpr int kThreads = 256, kBlocksOfChip = 4;  // of 65,536 registers: 64 a thread
inline constexpr int64_t kBlocks = 1024, kLeastRows = 80;

// Elements of a vector: whole bytes of the mask must belong to one thread, or to two neighbours.
inline int vector_of(const View& x) { return x.dims[3] % 8 ? 1 : 16 / int(size_of(x.dtype)); }

struct Tiling {
  int64_t rows;
  int channels, rows_per_block;
  int width, tiles;  // vectors across a tile: a power of two

  explicit Tiling(const View& x) : rows(x.count() / x.dims[3]), channels(int(x.dims[3])) {
    const int vectors = channels / vector_of(x);
    width = std::min(kWarp, int(std::bit_ceil(unsigned(vectors))));
    tiles = int(blocks_of(vectors, width));
    const int64_t each = std::max(kLeastRows, blocks_of(rows * tiles, kBlocks));
    rows_per_block = int(blocks_of(each, kThreads / width)) * (kThreads / width);
  }
  int64_t chunks() const { return blocks_of(rows, rows_per_block); }
  int64_t partials() const { return chunks() * channels; }
  dim3 grid() const { return dim3(unsigned(tiles), unsigned(chunks())); }
};

// Where a thread stands: of the block's `rows` rows it has row, row + step, ... , and of these the
// vector that begins at `channel`. Element `first` is where that begins; `stride` elements lie
// between two of its rows.
template <int kN>
struct Place {
  int lane, channel, tile_channel, row, rows, step;
  bool inside;  // of the channels
  int64_t first, stride;

  __device__ explicit Place(const Tiling& t) {
    lane = int(threadIdx.x) & (t.width - 1);
    step = kThreads / t.width;
    tile_channel = int(blockIdx.x) * t.width * kN;
    channel = tile_channel + lane * kN;
    inside = channel < t.channels;
    row = int(threadIdx.x) / t.width;
    const int64_t begin = int64_t{blockIdx.y} * t.rows_per_block, left = t.rows - begin;
    rows = left < t.rows_per_block ? int(left) : t.rows_per_block;
    first = (begin + row) * t.channels + channel;
    stride = int64_t{step} * t.channels;
  }
};

// kV numbers of each channel, read once a block: f(channel, numbers) by one thread, which the
// threads that own the channel then have in v. Called by all threads.
template <int kN, int kV, class F>
__device__ __forceinline__ void per_channel(const Tiling& t, const Place<kN>& at,
                                            float (&v)[kV][kN], F f) {
  constexpr int kPitch = kN | 1;
  __shared__ float shared[kV][kWarp * kPitch];
  const int thread = int(threadIdx.x), channel = at.tile_channel + thread;
  if (thread < t.width * kN && channel < t.channels) {
    float numbers[kV];
    f(channel, numbers);
#pragma unroll
    for (int i = 0; i < kV; ++i) shared[i][thread / kN * kPitch + thread % kN] = numbers[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kV; ++i)
#pragma unroll
    for (int k = 0; k < kN; ++k) v[i][k] = at.inside ? shared[i][at.lane * kPitch + k] : 0.0f;
}

// y = relu?(scale (x - mean) + beta (+ residual)), scale = gamma rstd
template <class T>
struct Apply {
  const T *x, *residual;                    // residual may be null
  const float *gamma, *beta, *mean, *rstd;  // gamma may be null
  const float* variance;                    // where rstd is null
  float eps;
  bool relu;
  T* y;
  uint8_t* mask;  // may be null

  __device__ void channel(int c, float (&v)[3]) const {
    v[0] = mean[c];
    v[1] = (gamma ? gamma[c] : 1.0f) * (rstd ? rstd[c] : 1.0f / sqrtf(variance[c] + eps));
    v[2] = beta[c];
  }
  __device__ float value(float x, float residual, float mean, float scale, float beta) const {
    const float y = scale * (x - mean) + beta + residual;
    return relu && y < 0.0f ? 0.0f : y;
  }
};

template <class T, int kN>
__global__ void __launch_bounds__(kThreads, kBlocksOfChip)
    batch_norm_apply_kernel(Apply<T> a, Tiling t) {
  const Place<kN> at(t);
  float channel[3][kN];
  per_channel(t, at, channel, [&](int c, float(&v)[3]) { a.channel(c, v); });
  int64_t i = at.first;
  // All threads of a warp go around alike: two of them may share a byte of the mask.
  for (int row = at.row; row - at.row < at.rows; row += at.step, i += at.stride) {
    const bool here = at.inside && row < at.rows;
    unsigned bits = 0;
    if (here) {
      float y[kN], residual[kN] = {};
      load<kN>(a.x + i, y);
      if (a.residual) load<kN>(a.residual + i, residual);
#pragma unroll
      for (int k = 0; k < kN; ++k) {
        y[k] = a.value(y[k], residual[k], channel[0][k], channel[1][k], channel[2][k]);
        bits |= unsigned(y[k] > 0.0f) << k;
      }
      store<kN>(a.y + i, y);
    }
    if constexpr (kN == 4) bits |= __shfl_down_sync(kAllLanes, bits, 1) << 4;
    if (a.mask && here && i % 8 == 0) a.mask[i / 8] = uint8_t(bits);
  }
}

// Where C is no multiple of 8, rows begin inside bytes of the mask: a thread owns one of these,
// whatever channels its 8 elements have.
template <class T>
__global__ void __launch_bounds__(kThreads)
    batch_norm_apply_flat_kernel(Apply<T> a, int channels, int64_t count) {
  const int64_t begin = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * 8;
  int c = int(begin % channels);
  unsigned bits = 0;
  for (int k = 0; k < 8 && begin + k < count; ++k, c = c + 1 == channels ? 0 : c + 1) {
    const int64_t i = begin + k;
    float x[1], residual[1] = {}, channel[3];
    load<1>(a.x + i, x);
    if (a.residual) load<1>(a.residual + i, residual);
    a.channel(c, channel);
    x[0] = a.value(x[0], residual[0], channel[0], channel[1], channel[2]);
    store<1>(a.y + i, x);
    bits |= unsigned(x[0] > 0.0f) << k;
  }
  if (a.mask && begin < count) a.mask[begin / 8] = uint8_t(bits);
}

template <class T>
Status apply(Stream stream, const View& x, const Apply<T>& a) {
  const Tiling t(x);
  if (vector_of(x) == 1)
    return launch(batch_norm_apply_flat_kernel<T>,
                  dim3(unsigned(blocks_of(x.count(), 8 * kThreads))), kThreads, 0, stream, a,
                  t.channels, x.count());
  return launch(batch_norm_apply_kernel<T, kLanes<T>>, t.grid(), kThreads, 0, stream, a, t);
}

// x is [N,H,W,C] with memory, `like_x` are like it, and `per_channel` are f32 [C].
inline Status check(const View& x, std::initializer_list<View> like_x,
                    std::initializer_list<View> per_channel) {
  PN_REQUIRE(x.data && x.rank == 4 && x.count() > 0, "batch norm: x is not [N,H,W,C], or is empty");
  PN_REQUIRE(are_like(x, like_x), "batch norm: y, residual or a gradient of them is not like x");
  for (const View& v : per_channel)
    PN_REQUIRE(is(v, Dtype::f32, {x.dims[3]}),
               "batch norm: gamma, beta, a statistic or a gradient of them is not f32 [C]");
  return {};
}
inline bool masks(const View& mask, const View& x) {
  return mask.data && mask.dtype == Dtype::u8 && mask.count() >= (x.count() + 7) / 8;
}

}  // namespace pneuma::cuda::batch_norm
