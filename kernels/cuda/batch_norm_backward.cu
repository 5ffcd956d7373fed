// Gradients of batch norm in training (Ioffe, Szegedy 2015). With x^ = (x - mean) rstd, g the
// gradient behind the ReLU (dy where the mask has a 1), and n rows:
//   dbeta = sum g, dgamma = sum g x^, dx = gamma rstd (g - dbeta/n - x^ dgamma/n), dresidual = g.
// One pass sums, one kernel adds up the sums of the blocks in their order, one pass applies. rstd
// stands before the sum: dgamma = rstd sum g (x - mean).
#include "kernels/cuda/batch_norm.cuh"
#include "kernels/cuda/cuda.h"

namespace pneuma::cuda {
namespace {

using namespace batch_norm;

template <class T>
struct Operands {
  const T *dy, *x;
  const uint8_t* mask;  // may be null

  // As they lie in memory, from element i on.
  template <int kN>
  struct Fetched {
    Packed<T, kN> dy, x;
    unsigned bits;
    __device__ void unpack_to(float (&g)[kN], float (&vx)[kN]) const {
      unpack(dy, g);
      unpack(x, vx);
#pragma unroll
      for (int k = 0; k < kN; ++k)
        if (!(bits >> k & 1)) g[k] = 0.0f;
    }
  };
  template <int kN>
  __device__ void fetch_to(Fetched<kN>& to, int64_t i) const {
    to.dy = fetch<kN>(dy + i);
    to.x = fetch<kN>(x + i);
    to.bits = mask ? unsigned(mask[i / 8]) >> (i % 8) : ~0u;
  }
};

template <class T, int kN>
__global__ void __launch_bounds__(kThreads, kBlocksOfChip)
    batch_norm_backward_reduce_kernel(Operands<T> a, const float* mean, float* sums,
                                      float* products, Tiling t) {
  constexpr int kRows = 2;  // in flight
  const Place<kN> at(t);
  float channel[1][kN], v[kN][2] = {};
  per_channel(t, at, channel, [&](int c, float(&number)[1]) { number[0] = mean[c]; });
  if (at.inside) {
    int64_t i = at.first;
    for (int row = at.row; row < at.rows; row += kRows * at.step, i += kRows * at.stride) {
      typename Operands<T>::template Fetched<kN> fetched[kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r)
        if (row + r * at.step < at.rows) a.fetch_to(fetched[r], i + r * at.stride);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        if (row + r * at.step >= at.rows) break;
        float g[kN], x[kN];
        fetched[r].unpack_to(g, x);
#pragma unroll
        for (int k = 0; k < kN; ++k) {
          v[k][0] += g[k];
          v[k][1] += g[k] * (x[k] - channel[0][k]);
        }
      }
    }
  }
  merge_rows<kThreads>(v, 0.0f, t.width, Add{}, [&](int of_tile, const float(&total)[2]) {
    const int c = at.tile_channel + of_tile;
    if (c >= t.channels) return;
    sums[int64_t{blockIdx.y} * t.channels + c] = total[0];
    products[int64_t{blockIdx.y} * t.channels + c] = total[1];
  });
}

struct Coefficients {  // dx = scale (g - mean_g - (x - mean) slope), each [C]
  float *scale, *mean_g, *slope;
};
struct Parameters {
  const float *gamma, *rstd;  // gamma may be null
  float *dgamma, *dbeta;      // each may be null
  bool add_dgamma, add_dbeta;
};

// A block adds up the chunks of kFinishChannels channels.
constexpr int kFinishChannels = 8;
__global__ void __launch_bounds__(kThreads)
    batch_norm_backward_finish_kernel(const float* sums, const float* products, Parameters p,
                                      Coefficients out, int channels, int chunks, float rows) {
  const int lane = int(threadIdx.x) % kFinishChannels, first = int(threadIdx.x) / kFinishChannels;
  const int tile_channel = int(blockIdx.x) * kFinishChannels, channel = tile_channel + lane;
  float v[1][2] = {};
  if (channel < channels) {
#pragma unroll 4
    for (int chunk = first; chunk < chunks; chunk += kThreads / kFinishChannels) {
      v[0][0] += sums[int64_t{chunk} * channels + channel];
      v[0][1] += products[int64_t{chunk} * channels + channel];
    }
  }
  merge_rows<kThreads>(v, 0.0f, kFinishChannels, Add{}, [&](int of_tile, const float(&total)[2]) {
    const int c = tile_channel + of_tile;
    if (c >= channels) return;
    const float rstd = p.rstd[c];
    float dbeta[1] = {total[0]}, dgamma[1] = {total[1] * rstd};
    out.scale[c] = p.gamma ? p.gamma[c] * rstd : rstd;
    out.mean_g[c] = dbeta[0] / rows;
    out.slope[c] = dgamma[0] / rows * rstd;
    if (p.dbeta) put<1>(p.dbeta + c, dbeta, p.add_dbeta);
    if (p.dgamma) put<1>(p.dgamma + c, dgamma, p.add_dgamma);
  });
}

template <class T, int kN>
__global__ void __launch_bounds__(kThreads, kBlocksOfChip)
    batch_norm_backward_apply_kernel(Operands<T> a, const float* mean, Coefficients with, T* dx,
                                     T* dresidual, bool add_dx, bool add_dresidual, Tiling t) {
  const Place<kN> at(t);
  float channel[4][kN];
  per_channel(t, at, channel, [&](int c, float(&number)[4]) {
    number[0] = mean[c];
    number[1] = with.scale[c];
    number[2] = with.mean_g[c];
    number[3] = with.slope[c];
  });
  if (!at.inside) return;
  int64_t i = at.first;
  for (int row = at.row; row < at.rows; row += at.step, i += at.stride) {
    typename Operands<T>::template Fetched<kN> fetched;
    float g[kN], x[kN];
    a.fetch_to(fetched, i);
    fetched.unpack_to(g, x);
#pragma unroll
    for (int k = 0; k < kN; ++k)
      x[k] = channel[1][k] * (g[k] - channel[2][k] - (x[k] - channel[0][k]) * channel[3][k]);
    if (dx) put<kN>(dx + i, x, add_dx);
    if (dresidual) put<kN>(dresidual + i, g, add_dresidual);
  }
}

}  // namespace

// Sums of g and of g (x - mean), [chunks,C] each, then the three coefficients.
size_t batch_norm_backward_workspace(const BatchNormBackward& a) {
  if (a.x.count() == 0) return 0;
  const Tiling t(a.x);
  return size_t(2 * t.partials() + 3 * t.channels) * sizeof(float);
}

Status batch_norm_backward(Stream stream, const BatchNormBackward& a) {
  if (const Status s = check(a.x, {a.dy, either(a.dx, a.x), either(a.dresidual, a.x)},
                             {either(a.gamma, a.mean), a.mean, a.rstd, either(a.dgamma, a.mean),
                              either(a.dbeta, a.mean)});
      !s)
    return s;
  PN_REQUIRE(!a.relu_mask || masks(a.relu_mask, a.x),
             "batch norm: relu_mask has too few bits for x");
  PN_REQUIRE(a.workspace.data && a.workspace.bytes() >= batch_norm_backward_workspace(a),
             "batch norm: the workspace is too small");
  return dispatch_vector(a.x.dtype, vector_of(a.x) > 1, [&]<class T, int kN>() -> Status {
    const Tiling t(a.x);
    float* sums = a.workspace.as<float>();
    float *products = sums + t.partials(), *after = products + t.partials();
    const Coefficients with{after, after + t.channels, after + 2 * t.channels};
    const Operands<T> operands{a.dy.as<const T>(), a.x.as<const T>(),
                               a.relu_mask.as<const uint8_t>()};
    if (const Status s = launch(batch_norm_backward_reduce_kernel<T, kN>, t.grid(), kThreads, 0,
                                stream, operands, a.mean.as<const float>(), sums, products, t);
        !s)
      return s;
    const Parameters p{a.gamma.as<const float>(),
                       a.rstd.as<const float>(),
                       a.dgamma.as<float>(),
                       a.dbeta.as<float>(),
                       a.dgamma.add,
                       a.dbeta.add};
    if (const Status s =
            launch(batch_norm_backward_finish_kernel,
                   dim3(unsigned(blocks_of(t.channels, kFinishChannels))), kThreads, 0, stream,
                   sums, products, p, with, t.channels, int(t.chunks()), float(t.rows));
        !s)
      return s;
    if (!a.dx && !a.dresidual) return {};
    return launch(batch_norm_backward_apply_kernel<T, kN>, t.grid(), kThreads, 0, stream, operands,
                  a.mean.as<const float>(), with, a.dx.as<T>(), a.dresidual.as<T>(), a.dx.add,
                  a.dresidual.add, t);
  });
}

}  // namespace pneuma::cuda
