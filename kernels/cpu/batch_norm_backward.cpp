// Gradient of batch_norm_forward. With d = dy where the ReLU let through, x^ = (x - mean) rstd:
//   dbeta = sum d, dgamma = sum d x^, dresidual = d,
//   dx = gamma rstd (d - dbeta / n - x^ dgamma / n).
// Two reads of dy and x, one write of dx; the second pass walks back through the cache.
#include <cstring>

#include "kernels/cpu/own.h"

namespace pneuma::PN_ISA {
namespace {

template <class T>
struct Tensors {
  const T *dy, *x;  // [rows, channels]
  const uint8_t* mask;
  T *dx, *dresidual;
  int64_t channels;
};

template <bool kMask, class T>
PN_INLINE Vec masked(const Tensors<T>& t, int64_t e, auto n) {
  prefetch(t.dy + e);
  prefetch(t.x + e);
  const Vec dy = load(t.dy + e, n);
  if constexpr (kMask)
    return keep(dy, load_bits(t.mask, e, n));
  else
    return dy;
}

// sum += d, product += d (x - mean)
template <int kRows, bool kMask, class T>
PN_INLINE void sum_rows(const Tensors<T>& t, int64_t row, Range channels, const float* mean,
                        float* sum, float* product) {
  for_vectors(channels.begin, channels.end, [&](int64_t c, auto n) {
    const Vec m = load(mean + c, n);
    Vec s{}, p{};
    for (int r = 0; r < kRows; ++r) {
      const int64_t e = (row + r) * t.channels + c;
      const Vec d = masked<kMask>(t, e, n);
      s += d;
      p = mul_add(d, load(t.x + e, n) - m, p);
    }
    store(sum + c, load(sum + c, n) + s, n);
    store(product + c, load(product + c, n) + p, n);
  });
}

// dx = scale d + (slope (x - mean) + offset). Per channel, [C] each.
struct Linear {
  const float *mean, *scale, *slope, *offset;
};
enum class To { nothing, write, add, stream };

template <To kTo, class T>
PN_INLINE void put(T* p, Vec v, auto n) {
  if constexpr (kTo == To::write) store(p, v, n);
  if constexpr (kTo == To::add) store(p, load(p, n) + v, n);
  if constexpr (kTo == To::stream) stream(p, v);
}

template <int kRows, bool kMask, To kDx, To kDresidual, class T>
PN_INLINE void apply_rows(const Tensors<T>& t, int64_t row, Range channels, const Linear& a) {
  for_vectors(channels.begin, channels.end, [&](int64_t c, auto n) {
    const Vec mean = load(a.mean + c, n), scale = load(a.scale + c, n),
              slope = load(a.slope + c, n), offset = load(a.offset + c, n);
    for (int r = 0; r < kRows; ++r) {
      const int64_t e = (row + r) * t.channels + c;
      const Vec d = masked<kMask>(t, e, n);
      const Vec line = mul_add(slope, load(t.x + e, n) - mean, offset);
      put<kDresidual>(t.dresidual + e, d, n);
      put<kDx>(t.dx + e, mul_add(scale, d, line), n);
    }
  });
}

template <To kTo>
using ToConstant = std::integral_constant<To, kTo>;
template <class F>
PN_INLINE void with(const Gradient& g, F f) {
  if (!g) return f(ToConstant<To::nothing>{});
  if (g.add) return f(ToConstant<To::add>{});
  if (streams(g)) return f(ToConstant<To::stream>{});
  f(ToConstant<To::write>{});
}

// One chunk.
template <class T>
PN_INLINE void apply(const BatchNormBackward& b, const Tensors<T>& t, Range rows, const Linear& a) {
  PN_ISA::with(t.mask, [&](auto m) {
    with(b.dx, [&](auto dx) {
      with(b.dresidual, [&](auto dresidual) {
        constexpr bool kMask = decltype(m)::value;
        constexpr To kDx = decltype(dx)::value, kDresidual = decltype(dresidual)::value;
        for_blocks(t.channels, [&](Range c) {
          for_rows(rows, t.channels, [&](int64_t row, auto n) {
            apply_rows<decltype(n)::value, kMask, kDx, kDresidual>(t, row, c, a);
          });
        });
      });
    });
  });
}

PN_INLINE void put(const Gradient& g, int64_t c, double value) {
  if (g) g.as<float>()[c] = float((g.add ? double(g.as<float>()[c]) : 0.0) + value);
}

PN_INLINE double total(const float* partial, const RowChunks& chunks) {
  double sum = 0;
  for (int64_t k = 0; k < chunks.count; ++k) sum += double(partial[2 * k * chunks.channels]);
  return sum;
}

template <class T>
void backward(const BatchNormBackward& a) {
  const RowChunks chunks = row_chunks(a.x);
  const int64_t channels = chunks.channels;
  const Tensors<T> tensors = {a.dy.as<T>(), a.x.as<T>(),         a.relu_mask.as<uint8_t>(),
                              a.dx.as<T>(), a.dresidual.as<T>(), channels};
  const float* mean = a.mean.as<float>();
  float* partial = a.workspace.as<float>();  // [chunks][2][C]
  float* scale = partial + 2 * chunks.count * channels;
  float *slope = scale + channels, *offset = slope + channels;
  parallel(chunks.count, [&](int thread, int threads) {
    const Range mine = share(chunks.count, thread, threads);
    for (int64_t k = mine.begin; k < mine.end; ++k) {
      const Range rows = rows_of(chunks, k);
      float *sum = partial + 2 * k * channels, *product = sum + channels;
      std::memset(sum, 0, size_t(2 * channels) * sizeof(float));
      PN_ISA::with(tensors.mask, [&](auto m) {
        constexpr bool kMask = decltype(m)::value;
        for_blocks(channels, [&](Range c) {
          for_rows(rows, channels, [&](int64_t row, auto n) {
            sum_rows<decltype(n)::value, kMask>(tensors, row, c, mean, sum, product);
          });
        });
      });
    }
    barrier();
    const Range own = share(channels, thread, threads);
    for (int64_t c = own.begin; c < own.end; ++c) {
      const double sum = total(partial + c, chunks),
                   product = total(partial + channels + c, chunks);
      const double rstd = double(a.rstd.as<float>()[c]), n = double(chunks.rows);
      const double gamma = a.gamma ? double(a.gamma.as<float>()[c]) : 1.0;
      scale[c] = float(gamma * rstd);
      slope[c] = float(-gamma * rstd * rstd * rstd * product / n);
      offset[c] = float(-gamma * rstd * sum / n);
      put(a.dbeta, c, sum);
      put(a.dgamma, c, product * rstd);
    }
    barrier();
    for (int64_t k = mine.end - 1; k >= mine.begin; --k)
      apply(a, tensors, rows_of(chunks, k), {mean, scale, slope, offset});
    _mm_sfence();
  });
}

}  // namespace

size_t batch_norm_backward_workspace(const BatchNormBackward& a) {
  const RowChunks chunks = row_chunks(a.x);
  return size_t((2 * chunks.count + 3) * chunks.channels) * sizeof(float);
}

Status batch_norm_backward(Stream, const BatchNormBackward& a) {
  PN_REQUIRE_DTYPE(alike(a.x, a.dy, a.dx, a.dresidual));
  PN_REQUIRE(a.x.rank == 4 && a.x.count() > 0 && same_shape(a.x, a.dy) &&
                 (!a.dx || same_shape(a.x, a.dx)) && (!a.dresidual || same_shape(a.x, a.dresidual)),
             "batch norm: dy, x, dx and dresidual must have one shape [N,H,W,C]");
  const int64_t channels = a.x.dims[3];
  PN_REQUIRE(channel_vector(a.gamma, channels) && a.mean && channel_vector(a.mean, channels) &&
                 a.rstd && channel_vector(a.rstd, channels) && channel_vector(a.dbeta, channels) &&
                 channel_vector(a.dgamma, channels),
             "batch norm: gamma, mean, rstd, dgamma and dbeta must be [C] f32");
  PN_REQUIRE(!a.relu_mask || bytes_of(a.relu_mask) >= size_t(a.x.count() + 7) / 8,
             "batch norm: relu_mask must hold one bit per element");
  PN_REQUIRE(bytes_of(a.workspace) >= batch_norm_backward_workspace(a),
             "batch norm: the workspace is too small");
  return dispatch(a.x.dtype, [&]<class T>(T) { backward<T>(a); });
}

}  // namespace pneuma::PN_ISA
