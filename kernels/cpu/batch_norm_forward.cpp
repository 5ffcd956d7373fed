// y = relu?(gamma (x - mean) rstd + beta (+ residual)): two reads of x, one write of y.
//
// Pass 1 sums d and d^2 of d = x - k in each chunk of rows, k being the chunk's first row, so that
// a mean far from 0 costs no digits; chunks are merged as Chan, Golub, LeVeque 1979. Pass 2 walks
// back, so that it begins with what pass 1 left in the cache.
#include <cmath>
#include <cstring>

#include "kernels/cpu/own.h"

namespace pneuma::PN_ISA {
namespace {

constexpr int64_t kMerged = 64;  // channels merged at once, by one thread

template <int kRows, class T>
PN_INLINE void sum_rows(const T* x, int64_t channels, Range c_range, const T* shift, float* sum,
                        float* square) {
  for_vectors(c_range.begin, c_range.end, [&](int64_t c, auto n) {
    const Vec k = load(shift + c, n);
    Vec s{}, q{};
    for (int r = 0; r < kRows; ++r) {
      const Vec d = load(x + r * channels + c, n) - k;
      s += d;
      q = mul_add(d, d, q);
    }
    store(sum + c, load(sum + c, n) + s, n);
    store(square + c, load(square + c, n) + q, n);
  });
}

// What pass 2 needs: y = (x - mean) * scale + offset. Per channel, [C] each.
struct Affine {
  const float *mean, *scale, *offset;
};

template <class T>
struct Tensors {
  const T *x, *residual;  // [rows, channels]
  T* y;
  uint8_t* mask;
  int64_t channels;
};

// Rows [row, row + kRows), channels [begin, end), whose constants `a` holds from index 0.
template <int kRows, bool kRelu, bool kResidual, bool kMask, bool kStream, class T>
PN_INLINE void apply_rows(const Tensors<T>& t, int64_t row, Range c_range, const Affine& a) {
  for_vectors(c_range.begin, c_range.end, [&](int64_t c, auto n) {
    const int64_t i = c - c_range.begin;
    const Vec mean = load(a.mean + i, n), scale = load(a.scale + i, n),
              offset = load(a.offset + i, n);
    for (int r = 0; r < kRows; ++r) {
      const int64_t e = (row + r) * t.channels + c;
      prefetch(t.x + e);
      Vec v = mul_add(load(t.x + e, n) - mean, scale, offset);
      if constexpr (kResidual) v += load(t.residual + e, n);
      if constexpr (kMask) store_bits(t.mask, e, positive(v), n);
      if constexpr (kRelu) v = v < Vec{} ? Vec{} : v;  // a NaN stays
      if constexpr (kStream)
        stream(t.y + e, v);
      else
        store(t.y + e, v, n);
    }
  });
}

// One chunk.
template <class T>
PN_INLINE void apply(const Tensors<T>& t, Range rows, Range channels, const Affine& a, bool relu,
                     bool streamed) {
  with(relu, [&](auto r) {
    with(t.residual, [&](auto z) {
      with(t.mask, [&](auto m) {
        with(streamed, [&](auto s) {
          constexpr bool kRelu = decltype(r)::value, kResidual = decltype(z)::value,
                         kMask = decltype(m)::value && kRelu, kStream = decltype(s)::value;
          for_rows(rows, t.channels, [&](int64_t row, auto count) {
            apply_rows<decltype(count)::value, kRelu, kResidual, kMask, kStream>(t, row, channels,
                                                                                 a);
          });
        });
      });
    });
  });
}

// Mean and sum of squared deviations of channels [c.begin, c.end) over all chunks, in f64.
// REQUIRES at most kMerged channels.
template <class T>
PN_INLINE void merge(const RowChunks& chunks, const T* x, const float* partial, Range c,
                     double* mean, double* deviation) {
  const int64_t channels = chunks.channels;
  const int64_t size = c.end - c.begin;
  for (int64_t i = 0; i < size; ++i) mean[i] = deviation[i] = 0;
  for (int pass = 0; pass < 2; ++pass)
    for (int64_t k = 0; k < chunks.count; ++k) {
      const Range rows = rows_of(chunks, k);
      const double n = double(rows.end - rows.begin), inverse = 1 / n;
      const double share_of_all = n / double(chunks.rows);
      const T* shift = x + rows.begin * channels + c.begin;
      const float *sum = partial + 2 * k * channels + c.begin, *square = sum + channels;
      if (pass == 0)
#pragma omp simd
        for (int64_t i = 0; i < size; ++i)
          mean[i] += share_of_all * (double(number(shift + i)) + double(sum[i]) * inverse);
      else
#pragma omp simd
        for (int64_t i = 0; i < size; ++i) {
          const double s = double(sum[i]);
          const double apart = double(number(shift + i)) + s * inverse - mean[i];
          deviation[i] += double(square[i]) - s * s * inverse + n * apart * apart;
        }
    }
}

Status check(const View& x, const View& residual, const View& y, const View& gamma,
             const View& beta, const View& mean, const View& var) {
  PN_REQUIRE_DTYPE(alike(x, residual, y));
  PN_REQUIRE(
      x.rank == 4 && x.count() > 0 && same_shape(x, y) && (!residual || same_shape(x, residual)),
      "batch norm: x, residual and y must have one shape [N,H,W,C]");
  const int64_t channels = x.dims[3];
  PN_REQUIRE(channel_vector(gamma, channels) && beta && channel_vector(beta, channels) && mean &&
                 channel_vector(mean, channels) && var && channel_vector(var, channels),
             "batch norm: gamma, beta, mean and variance must be [C] f32");
  return {};
}

template <class T>
void forward(const BatchNormForward& a) {
  const RowChunks chunks = row_chunks(a.x);
  const int64_t channels = chunks.channels, blocks = (channels + kMerged - 1) / kMerged;
  const T* x = a.x.as<T>();
  const Tensors<T> tensors = {x, a.residual.as<T>(), a.y.as<T>(), a.relu_mask.as<uint8_t>(),
                              channels};
  float* partial = a.workspace.as<float>();  // [chunks][2][C]
  float* scale = partial + 2 * chunks.count * channels;
  float* offset = scale + channels;
  const bool streamed = streams(a.y);
  parallel(chunks.count, [&](int thread, int threads) {
    const Range mine = share(chunks.count, thread, threads);
    for (int64_t k = mine.begin; k < mine.end; ++k) {
      const Range rows = rows_of(chunks, k);
      const T* first = x + rows.begin * channels;
      float *sum = partial + 2 * k * channels, *square = sum + channels;
      std::memset(sum, 0, size_t(2 * channels) * sizeof(float));
      for_blocks(channels, [&](Range c) {
        for_rows(rows, channels, [&](int64_t row, auto n) {
          sum_rows<decltype(n)::value>(x + row * channels, channels, c, first, sum, square);
        });
      });
    }
    barrier();
    const Range own_blocks = share(blocks, thread, threads);
    for (int64_t b = own_blocks.begin; b < own_blocks.end; ++b) {
      const Range c = {b * kMerged, least((b + 1) * kMerged, channels)};
      double mean[kMerged], deviation[kMerged], count = double(chunks.rows);
      merge(chunks, x, partial, c, mean, deviation);
      for (int64_t i = c.begin; i < c.end; ++i) {
        const double m = mean[i - c.begin], d = deviation[i - c.begin], var = d / count;
        const double rstd = 1 / std::sqrt(var + a.eps);
        const double gamma = a.gamma ? double(a.gamma.as<float>()[i]) : 1.0;
        float *mean_out = a.mean.as<float>() + i, *running_mean = a.running_mean.as<float>() + i,
              *running_var = a.running_var.as<float>() + i;
        *mean_out = float(m);
        a.rstd.as<float>()[i] = float(rstd);
        scale[i] = float(gamma * rstd);  // the offset carries what rounding took from the mean
        offset[i] = float(double(a.beta.as<float>()[i]) - (m - double(*mean_out)) * gamma * rstd);
        const double unbiased = chunks.rows > 1 ? d / (count - 1) : var;
        if (!std::isfinite(float(m)) || !std::isfinite(float(unbiased))) continue;
        *running_mean += float(a.momentum * (m - double(*running_mean)));
        *running_var += float(a.momentum * (unbiased - double(*running_var)));
      }
    }
    barrier();
    for (int64_t k = mine.end - 1; k >= mine.begin; --k) {
      const Range rows = rows_of(chunks, k), bits = {rows.begin * channels, rows.end * channels};
      if (tensors.mask && channels % kLanes != 0)  // store_bits then adds to zeros
        std::memset(tensors.mask + bits.begin / 8, 0, size_t((bits.end + 7) / 8 - bits.begin / 8));
      for_blocks(channels, [&](Range c) {
        apply(tensors, rows, c, {a.mean.as<float>() + c.begin, scale + c.begin, offset + c.begin},
              a.relu, streamed);
      });
    }
    _mm_sfence();
  });
}

template <class T>
void inference(const BatchNormInference& a) {
  const RowChunks chunks = row_chunks(a.x);
  const int64_t channels = chunks.channels;
  const Tensors<T> tensors = {a.x.as<T>(), a.residual.as<T>(), a.y.as<T>(), nullptr, channels};
  parallel(chunks.count, [&](int thread, int threads) {
    const Range mine = share(chunks.count, thread, threads);
    float scale[kBlock];
    for_blocks(channels, [&](Range block) {
      const int64_t begin = block.begin;
      for (int64_t c = begin; c < block.end; ++c)
        scale[c - begin] = float((a.gamma ? double(a.gamma.as<float>()[c]) : 1.0) /
                                 std::sqrt(double(a.running_var.as<float>()[c]) + a.eps));
      for (int64_t k = mine.begin; k < mine.end; ++k)
        apply(tensors, rows_of(chunks, k), block,
              {a.running_mean.as<float>() + begin, scale, a.beta.as<float>() + begin}, a.relu,
              false);
    });
  });
}

}  // namespace

size_t batch_norm_forward_workspace(const BatchNormForward& a) {
  const RowChunks chunks = row_chunks(a.x);
  return size_t(2 * (chunks.count + 1) * chunks.channels) * sizeof(float);
}

Status batch_norm_forward(Stream, const BatchNormForward& a) {
  if (Status s = check(a.x, a.residual, a.y, a.gamma, a.beta, a.mean, a.rstd); !s) return s;
  const int64_t channels = a.x.dims[3];
  PN_REQUIRE(a.running_mean && channel_vector(a.running_mean, channels) && a.running_var &&
                 channel_vector(a.running_var, channels),
             "batch norm: running mean and variance must be [C] f32");
  PN_REQUIRE(!a.relu_mask || bytes_of(a.relu_mask) >= size_t(a.x.count() + 7) / 8,
             "batch norm: relu_mask must hold one bit per element");
  PN_REQUIRE(bytes_of(a.workspace) >= batch_norm_forward_workspace(a),
             "batch norm: the workspace is too small");
  return dispatch(a.x.dtype, [&]<class T>(T) { forward<T>(a); });
}

Status batch_norm_inference(Stream, const BatchNormInference& a) {
  if (Status s = check(a.x, a.residual, a.y, a.gamma, a.beta, a.running_mean, a.running_var); !s)
    return s;
  return dispatch(a.x.dtype, [&]<class T>(T) { inference<T>(a); });
}

}  // namespace pneuma::PN_ISA
