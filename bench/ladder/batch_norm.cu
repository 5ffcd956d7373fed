// Batch norm with ReLU in training, x [rows, C] as NHWC lies in memory: mean and variance of each
// channel over the rows, y = max(0, gamma (x - mean) / sqrt(variance + eps) + beta).
#include <cmath>
#include <memory>

#include "bench/ladder/array.h"
#include "bench/ladder/ladder.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/memory.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/half.h"

namespace pneuma::ladder {
namespace {

using cuda::blocks_of, cuda::kWarp, cuda::launch;

constexpr int kThreads = 256, kLines = kThreads / kWarp;  // rows that a block reads at once
constexpr int kRows = 128;                                // rows of a block
constexpr double kEps = 1e-5, kMomentum = 0.1;

struct Shape {
  int64_t rows;
  int channels;
};

// Which sums a pass takes of a channel, and what becomes of them.
struct Mean {
  static constexpr int kSums = 1;
  float* mean;
  __device__ void terms(float x, int, float (&t)[1]) const { t[0] = x; }
  __device__ void finish(int c, float rows, const float (&sum)[1]) const {
    mean[c] = sum[0] / rows;
  }
};
struct Variance {  // about the mean that a pass before found
  static constexpr int kSums = 1;
  const float* mean;
  float* rstd;
  __device__ void terms(float x, int c, float (&t)[1]) const {
    t[0] = (x - mean[c]) * (x - mean[c]);
  }
  __device__ void finish(int c, float rows, const float (&sum)[1]) const {
    rstd[c] = 1 / sqrtf(sum[0] / rows + float(kEps));
  }
};
// E[x^2] - E[x]^2 in one pass: at a mean of 1e3 both are 1e6, known to 1e6 * eps = 0.1, and their
// difference is 1. Wrong, and here to show it.
struct Squares {
  static constexpr int kSums = 2;
  float *mean, *rstd;
  __device__ void terms(float x, int, float (&t)[2]) const { t[0] = x, t[1] = x * x; }
  __device__ void finish(int c, float rows, const float (&sum)[2]) const {
    mean[c] = sum[0] / rows;
    rstd[c] = 1 / sqrtf(fmaxf(sum[1] / rows - mean[c] * mean[c], 0) + float(kEps));
  }
};
// The same of x - s, where s is the channel's first number: as near to the mean as any is, so that
// what cancels is small again.
struct Shifted {
  static constexpr int kSums = 2;
  const __half* first_row;
  float *mean, *rstd;
  __device__ float shift(int c) const { return cuda::to_float(first_row[c]); }
  __device__ void terms(float x, int c, float (&t)[2]) const {
    const float d = x - shift(c);
    t[0] = d, t[1] = d * d;
  }
  __device__ void finish(int c, float rows, const float (&sum)[2]) const {
    const float d = sum[0] / rows;
    mean[c] = shift(c) + d;
    rstd[c] = 1 / sqrtf(fmaxf(sum[1] / rows - d * d, 0) + float(kEps));
  }
};

// A block a channel, which is right where a channel is contiguous (NCHW). Here lanes stand a whole
// row apart: each asks for 32 bytes and uses 2.
template <class Sums>
__global__ void channel_kernel(const __half* x, Shape shape, Sums sums) {
  const int c = int(blockIdx.x);
  float sum[Sums::kSums] = {}, t[Sums::kSums];
  for (int64_t r = threadIdx.x; r < shape.rows; r += kThreads) {
    sums.terms(cuda::to_float(x[r * shape.channels + c]), c, t);
    for (int i = 0; i < Sums::kSums; ++i) sum[i] += t[i];
  }
  for (float& s : sum) s = cuda::block_sum<kThreads>(s);
  if (threadIdx.x == 0) sums.finish(c, float(shape.rows), sum);
}

// Lanes take neighbouring channels of one row, so a warp asks for whole sectors; rows are dealt to
// blocks, whose sums another kernel adds in their order.
template <class Sums>
__global__ void rows_kernel(const __half* x, Shape shape, Sums sums, float* partials) {
  __shared__ float of_line[kLines][kWarp];
  const int lane = int(threadIdx.x) % kWarp, line = int(threadIdx.x) / kWarp;
  const int c = int(blockIdx.x) * kWarp + lane;
  const int64_t begin = int64_t{blockIdx.y} * kRows;
  const int64_t end = begin + kRows < shape.rows ? begin + kRows : shape.rows;
  float sum[Sums::kSums] = {}, t[Sums::kSums];
  for (int64_t r = begin + line; r < end; r += kLines) {
    sums.terms(cuda::to_float(x[r * shape.channels + c]), c, t);
    for (int i = 0; i < Sums::kSums; ++i) sum[i] += t[i];
  }
  for (int i = 0; i < Sums::kSums; ++i) {
    of_line[line][lane] = sum[i];
    __syncthreads();
    if (line == 0) {
      for (int l = 1; l < kLines; ++l) sum[i] += of_line[l][lane];
      partials[(int64_t{blockIdx.y} * Sums::kSums + i) * shape.channels + c] = sum[i];
    }
    __syncthreads();
  }
}
template <class Sums>
__global__ void rows_finish_kernel(const float* partials, int64_t blocks, Shape shape, Sums sums) {
  const int c = int(blockIdx.x * kWarp + threadIdx.x);
  float sum[Sums::kSums] = {};
  for (int64_t b = 0; b < blocks; ++b)
    for (int i = 0; i < Sums::kSums; ++i)
      sum[i] += partials[(b * Sums::kSums + i) * shape.channels + c];
  sums.finish(c, float(shape.rows), sum);
}

struct Apply {
  const float *mean, *rstd, *gamma, *beta;
  __device__ float operator()(float x, int c) const {
    return gamma[c] * rstd[c] * (x - mean[c]) + beta[c];
  }
};
// Normalised here, and by the next kernel cut off at 0: y is written, read and written again.
__global__ void apply_kernel(const __half* x, __half* y, int64_t count, int channels, Apply apply) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) y[i] = __half(apply(cuda::to_float(x[i]), int(i % channels)));
}
__global__ void relu_kernel(__half* y, int64_t count) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) y[i] = __half(fmaxf(cuda::to_float(y[i]), 0));
}
// Both at once, and of each y one bit, for the backward pass: a warp has 32 channels of a row, so
// its votes are one word of the mask.
__global__ void fused_kernel(const __half* x, __half* y, unsigned* mask, int64_t count,
                             int channels, Apply apply) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const float v = i < count ? apply(cuda::to_float(x[i]), int(i % channels)) : 0;
  const unsigned votes = __ballot_sync(cuda::kAllLanes, v > 0);
  if (i >= count) return;
  y[i] = __half(fmaxf(v, 0));
  if (threadIdx.x % kWarp == 0) mask[i / 32] = votes;
}

struct Data {
  Data(int64_t rows, int channels, double mean)
      : shape{rows, channels},
        host_x(numbers<Half>(rows * channels, 1, mean, std::sqrt(3.0))),  // deviation 1
        host_gamma(numbers<float>(channels, 2, 1, 0.5)),
        host_beta(numbers<float>(channels, 3, 0, 0.5)),
        x(host_x),
        y(rows * channels),
        mask(rows * channels / 32),
        gamma(host_gamma),
        beta(host_beta),
        mean(channels),
        rstd(channels),
        running_mean(channels),
        running_var(channels),
        partials(2 * blocks() * channels),
        workspace(int64_t(cuda::batch_norm_forward_workspace(arguments()))) {
    for (int c = 0; c < channels; ++c) {
      double sum = 0, squares = 0;
      for (int64_t r = 0; r < rows; ++r) sum += at(r, c);
      want_mean.push_back(sum / double(rows));
      for (int64_t r = 0; r < rows; ++r)
        squares += (at(r, c) - want_mean.back()) * (at(r, c) - want_mean.back());
      want_rstd.push_back(1 / std::sqrt(squares / double(rows) + kEps));
    }
  }
  double at(int64_t r, int c) const {
    return double(float(host_x[size_t(r * shape.channels + c)]));
  }
  int64_t blocks() const { return blocks_of(shape.rows, kRows); }
  int64_t count() const { return shape.rows * shape.channels; }
  const __half* input() const { return reinterpret_cast<const __half*>(x.data()); }
  __half* output() const { return reinterpret_cast<__half*>(y.data()); }

  BatchNormForward arguments() const {
    const auto per_channel = [&](const Array<float>& a) {
      return a.view({shape.channels}, Dtype::f32);
    };
    BatchNormForward a;
    a.x = x.view({1, 1, shape.rows, shape.channels}, Dtype::f16);
    a.y = y.view({1, 1, shape.rows, shape.channels}, Dtype::f16);
    a.relu_mask = mask.view({count() / 8}, Dtype::u8);
    a.gamma = per_channel(gamma), a.beta = per_channel(beta);
    a.mean = per_channel(mean), a.rstd = per_channel(rstd);
    a.running_mean = per_channel(running_mean), a.running_var = per_channel(running_var);
    a.eps = kEps, a.momentum = kMomentum, a.relu = true;
    return a;
  }

  template <class Sums>
  Status by_channel(Sums sums) const {
    return launch(channel_kernel<Sums>, dim3(unsigned(shape.channels)), kThreads, 0, nullptr,
                  input(), shape, sums);
  }
  template <class Sums>
  Status by_rows(Sums sums) const {
    const unsigned tiles = unsigned(shape.channels / kWarp);
    const Status s = launch(rows_kernel<Sums>, dim3(tiles, unsigned(blocks())), kThreads, 0,
                            nullptr, input(), shape, sums, partials.data());
    return !s ? s
              : launch(rows_finish_kernel<Sums>, dim3(tiles), kWarp, 0, nullptr, partials.data(),
                       blocks(), shape, sums);
  }
  dim3 flat() const { return dim3(unsigned(blocks_of(count(), kThreads))); }
  Apply apply() const { return {mean.data(), rstd.data(), gamma.data(), beta.data()}; }
  Status apply_and_relu() const {
    const Status s = launch(apply_kernel, flat(), kThreads, 0, nullptr, input(), output(), count(),
                            shape.channels, apply());
    return !s ? s : launch(relu_kernel, flat(), kThreads, 0, nullptr, output(), count());
  }
  Status apply_fused() {
    masked = true;
    return launch(fused_kernel, flat(), kThreads, 0, nullptr, input(), output(), mask.data(),
                  count(), shape.channels, apply());
  }

  Check check(int64_t roundings) const;

  Shape shape;
  std::vector<Half> host_x;
  std::vector<float> host_gamma, host_beta;
  std::vector<double> want_mean, want_rstd;
  Array<Half> x, y;
  Array<uint32_t> mask;
  Array<float> gamma, beta, mean, rstd, running_mean, running_var, partials;
  Array<uint8_t> workspace;
  bool masked = false;
};

// The largest error of all results: of mean and rstd as a share of what they are, of y (beyond its
// one rounding to 16 bits) as a share of what was added and subtracted for it.
Check Data::check(int64_t roundings) const {
  Check worst{0, double(roundings) * kRounding};
  const std::vector<float> got_mean = mean.values(), got_rstd = rstd.values();
  const std::vector<Half> got_y = y.values();
  const std::vector<uint32_t> got_mask = mask.values();
  for (int c = 0; c < shape.channels; ++c) {
    const size_t k = size_t(c);
    const double m = want_mean[k], scale = double(host_gamma[k]) * want_rstd[k];
    worst.take(std::abs(double(got_mean[k]) - m) / (std::abs(m) + 1 / want_rstd[k]));
    worst.take(std::abs(double(got_rstd[k]) - want_rstd[k]) / want_rstd[k]);
    for (int64_t r = 0; r < shape.rows; ++r) {
      const size_t i = size_t(r * shape.channels + c);
      const double added = scale * (at(r, c) - m) + double(host_beta[k]),
                   want = std::max(added, 0.0);
      const double size =
          scale * (std::abs(at(r, c)) + std::abs(m)) + std::abs(double(host_beta[k]));
      const double rounded = double(Half::eps) / 2 * want + 0x1p-25;
      worst.take(std::max(std::abs(double(float(got_y[i])) - want) - rounded, 0.0) / size);
      const bool bit = got_mask[i / 32] >> i % 32 & 1;
      if (masked && bit != (float(got_y[i]) > 0) && std::abs(added) > 0x1p-24) worst.take(INFINITY);
    }
  }
  return worst;
}

}  // namespace

Ladder batch_norm(int64_t rows, int channels, double mean) {
  const auto d = std::make_shared<Data>(rows, channels, mean);
  float *m = d->mean.data(), *rstd = d->rstd.data();
  // Sums of a thread, of a block, of all blocks. A sum of squares about a number that is up to
  // sqrt(3) deviations from the mean is four times what is left of it, and a root halves errors.
  const int64_t blocks = d->blocks();
  const int64_t chain = 2 * (kRows / kLines + kLines + blocks) + 4;
  Ladder l{"batch_norm",
           std::to_string(rows) + " rows of " + std::to_string(channels) +
               " channels in f16, mean " + std::to_string(int64_t(mean)),
           double(d->count()) * (3 * sizeof(Half) + 0.125), 0};
  l.reset = [d] {
    for (Array<float>* a : {&d->mean, &d->rstd}) a->fill(NAN);
    for (Array<float>* a : {&d->running_mean, &d->running_var}) a->fill(0);
    d->y.fill(Half(float(NAN)));
    d->mask.fill(0xa5a5a5a5);
    d->masked = false;
  };
  l.check = [d](const Rung& rung) { return d->check(rung.roundings); };
  const auto two = [](Status first, auto then) { return first ? then() : first; };
  l.rungs = {
      {"block a channel", "as for NCHW: lanes stand a row apart, each sector serves one number",
       2 * (blocks_of(rows, kThreads) + 13) + 4,
       [=] {
         return two(two(d->by_channel(Mean{m}),
                        [&] {
                          return d->by_channel(Variance{m, rstd});
                        }),
                    [&] { return d->apply_and_relu(); });
       }},
      {"lanes along channels", "a warp reads neighbours: whole sectors; rows are dealt to blocks",
       chain,
       [=] {
         return two(two(d->by_rows(Mean{m}),
                        [&] {
                          return d->by_rows(Variance{m, rstd});
                        }),
                    [&] { return d->apply_and_relu(); });
       }},
      {"E[x^2] - E[x]^2", "one reading of x less; but it cancels, wrong where the mean is large",
       chain,
       [=] {
         return two(d->by_rows(Squares{m, rstd}), [&] { return d->apply_and_relu(); });
       }},
      {"shifted", "sums of x minus the channel's first number: one reading, and right again", chain,
       [=] {
         return two(d->by_rows(Shifted{d->input(), m, rstd}), [&] { return d->apply_and_relu(); });
       }},
      {"fused with ReLU", "y is written once; the backward pass gets a bit of it, by a vote", chain,
       [=] {
         return two(d->by_rows(Shifted{d->input(), m, rstd}), [&] { return d->apply_fused(); });
       }},
      {"in use", "batch_norm_forward: 16 bytes a thread, several rows on the way, merged by Chan",
       chain,
       [=] {
         d->masked = true;
         BatchNormForward a = d->arguments();
         a.workspace = d->workspace.view({d->workspace.count()}, Dtype::u8);
         return cuda::batch_norm_forward(nullptr, a);
       }},
  };
  return l;
}

}  // namespace pneuma::ladder
