// Batch norm in training (Ioffe, Szegedy 2015): y = relu?(gamma (x - mean) rstd + beta), a residual
// added before the ReLU, with the statistics of this batch, in two readings of x.
//
// E[x^2] - mean^2 cancels where |mean| is much larger than the deviation, so each thread sums
// differences d = x - s from one of the numbers that it sums itself, s:
//   mean = s + sum d / n,  sum (x - mean)^2 = sum d^2 - (sum d)^2 / n.
// Since s is one of the n, (mean - s)^2 is at most n times the variance: what cancels is a factor
// of n, a few dozen, whatever the mean. Sums of different threads are joined pairwise by the
// formula of Chan, Golub, LeVeque 1979 (Chan, below), their means as differences from the first row
// of x, the origin, since a mean near 1000 would be rounded by 3e-5. The sums of a block go to the
// workspace, and another kernel joins those in the order of the blocks.
#include "kernels/cuda/batch_norm.cuh"
#include "kernels/cuda/cuda.h"

namespace pneuma::cuda {
namespace {

using namespace batch_norm;

// {mean, sum of squares about it} of n numbers and of other_n others, as those of all.
struct Chan {
  __device__ void operator()(float (&v)[2], float n, const float (&other)[2], float other_n) const {
    const float all = n + other_n, d = other[0] - v[0];
    const float share = all > 0.0f ? other_n / all : 0.0f;
    v[0] += d * share;
    v[1] += other[1] + d * d * (n * share);
  }
};
// The same two from the sums of n differences from s; 0 for n = 0. Rounding alone makes squares
// negative; a NaN stays.
__device__ void moments(float s, float sum, float squares, float n, float (&v)[2]) {
  const float mean = n > 0.0f ? sum / n : 0.0f;
  v[0] = s + mean;
  v[1] = squares - sum * mean;
  if (v[1] < 0.0f) v[1] = 0.0f;
}

template <class T, int kN>
__global__ void __launch_bounds__(kThreads, kBlocksOfChip)
    batch_norm_statistics_kernel(const T* x, float* means, float* squares, float* origins,
                                 Tiling t) {
  constexpr int kRows = 4;  // in flight
  const Place<kN> at(t);
  const T* const first_row = x;
  float shift[kN] = {}, sum[kN] = {}, square[kN] = {}, n = 0;
  if (at.inside && at.row < at.rows) {
    x += at.first;
    load<kN>(x, shift);
    n = 1;
    for (int row = at.row + at.step; row < at.rows; row += kRows * at.step) {
      Packed<T, kN> packed[kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r)
        if (row + r * at.step < at.rows) packed[r] = fetch<kN>(x += at.stride);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        if (row + r * at.step >= at.rows) break;
        float v[kN];
        unpack(packed[r], v);
        n += 1;
#pragma unroll
        for (int k = 0; k < kN; ++k) {
          const float d = v[k] - shift[k];
          sum[k] += d;
          square[k] += d * d;
        }
      }
    }
  }
  float origin[kN] = {}, v[kN][2];
  if (at.inside) load<kN>(first_row + at.channel, origin);
#pragma unroll
  for (int k = 0; k < kN; ++k) moments(shift[k] - origin[k], sum[k], square[k], n, v[k]);
  merge_rows<kThreads>(v, n, t.width, Chan{}, [&](int of_tile, const float(&total)[2]) {
    const int channel = at.tile_channel + of_tile;
    if (channel >= t.channels) return;
    means[int64_t{blockIdx.y} * t.channels + channel] = total[0];
    squares[int64_t{blockIdx.y} * t.channels + channel] = total[1];
    if (blockIdx.y == 0) origins[channel] = to_float(first_row[channel]);
  });
}

struct Statistics {
  float *mean, *rstd, *running_mean, *running_var;
  float eps, momentum;
};

// A block joins the chunks of kFinishChannels channels, by the same two steps.
constexpr int kFinishChannels = 8;
__global__ void __launch_bounds__(kThreads)
    batch_norm_statistics_finish_kernel(const float* means, const float* squares,
                                        const float* origins, Statistics s, Tiling t, int chunks) {
  const int lane = int(threadIdx.x) % kFinishChannels, first = int(threadIdx.x) / kFinishChannels;
  const int tile_channel = int(blockIdx.x) * kFinishChannels, channel = tile_channel + lane;
  float shift = 0, sum = 0, square = 0, n = 0;
  if (channel < t.channels && first < chunks) {
    shift = means[int64_t{first} * t.channels + channel];
#pragma unroll 4
    for (int chunk = first; chunk < chunks; chunk += kThreads / kFinishChannels) {
      const int64_t left = t.rows - int64_t{chunk} * t.rows_per_block;
      const float rows = float(left < t.rows_per_block ? left : t.rows_per_block);
      const float d = means[int64_t{chunk} * t.channels + channel] - shift;
      sum += rows * d;
      square += squares[int64_t{chunk} * t.channels + channel] + rows * d * d;
      n += rows;
    }
  }
  float v[1][2];
  moments(shift, sum, square, n, v[0]);
  merge_rows<kThreads>(v, n, kFinishChannels, Chan{}, [&](int of_tile, const float(&total)[2]) {
    const int c = tile_channel + of_tile;
    if (c >= t.channels) return;
    const float mean = origins[c] + total[0], rows = float(t.rows);
    const float unbiased = t.rows > 1 ? total[1] / float(t.rows - 1) : 0.0f;
    s.mean[c] = mean;
    s.rstd[c] = 1.0f / sqrtf(total[1] / rows + s.eps);
    if (mean - mean != 0.0f || unbiased - unbiased != 0.0f) return;  // inf or nan
    s.running_mean[c] += s.momentum * (mean - s.running_mean[c]);
    s.running_var[c] += s.momentum * (unbiased - s.running_var[c]);
  });
}

}  // namespace

// Means and sums of squares, [chunks,C] each, and the origin, [C].
size_t batch_norm_forward_workspace(const BatchNormForward& a) {
  if (a.x.count() == 0) return 0;
  const Tiling t(a.x);
  return size_t(2 * t.partials() + t.channels) * sizeof(float);
}

Status batch_norm_forward(Stream stream, const BatchNormForward& a) {
  if (const Status s =
          check(a.x, {a.y, either(a.residual, a.x)},
                {either(a.gamma, a.beta), a.beta, a.mean, a.rstd, a.running_mean, a.running_var});
      !s)
    return s;
  PN_REQUIRE(!a.relu || masks(a.relu_mask, a.x), "batch norm: relu_mask has too few bits for x");
  PN_REQUIRE(a.workspace.data && a.workspace.bytes() >= batch_norm_forward_workspace(a),
             "batch norm: the workspace is too small");
  return dispatch_vector(a.x.dtype, vector_of(a.x) > 1, [&]<class T, int kN>() -> Status {
    const Tiling t(a.x);
    float* means = a.workspace.as<float>();
    float *squares = means + t.partials(), *origins = squares + t.partials();
    if (const Status s = launch(batch_norm_statistics_kernel<T, kN>, t.grid(), kThreads, 0, stream,
                                a.x.as<const T>(), means, squares, origins, t);
        !s)
      return s;
    const Statistics statistics{
        a.mean.as<float>(),        a.rstd.as<float>(), a.running_mean.as<float>(),
        a.running_var.as<float>(), float(a.eps),       float(a.momentum)};
    if (const Status s = launch(batch_norm_statistics_finish_kernel,
                                dim3(unsigned(blocks_of(t.channels, kFinishChannels))), kThreads, 0,
                                stream, means, squares, origins, statistics, t, int(t.chunks()));
        !s)
      return s;
    return apply<T>(
        stream, a.x,
        {a.x.as<const T>(), a.residual.as<const T>(), a.gamma.as<const float>(),
         a.beta.as<const float>(), a.mean.as<const float>(), a.rstd.as<const float>(), nullptr,
         float(a.eps), a.relu, a.y.as<T>(), a.relu ? a.relu_mask.as<uint8_t>() : nullptr});
  });
}

}  // namespace pneuma::cuda
