// Matrix product: c = a b^T, a [m,k], b [n,k], c [m,n]; f16 in, sums in f32. Both operands lie
// along k, as x and w of a linear layer do.
#include <mma.h>

#include <cmath>
#include <memory>

#include "bench/ladder/array.h"
#include "bench/ladder/ladder.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/memory.cuh"
#include "kernels/half.h"

namespace pneuma::ladder {
namespace {

using cuda::launch, cuda::to_float;
namespace wmma = nvcuda::wmma;

struct Problem {
  const __half *a, *b;
  float* c;
  int m, n, k;
};

// A thread an element: lanes along n read b a row apart, a sector for each of them, and every
// number of a and b comes from global memory again for each element that it takes part in.
constexpr int kNaiveThreads = 256;
__global__ void naive_kernel(Problem p) {
  const int i = int(blockIdx.x) * kNaiveThreads + int(threadIdx.x);
  const __half *a = p.a + int64_t{i / p.n} * p.k, *b = p.b + int64_t{i % p.n} * p.k;
  float sum = 0;
  for (int k = 0; k < p.k; ++k) sum += to_float(a[k]) * to_float(b[k]);
  p.c[i] = sum;
}

// 32 x 32 elements a block, through tiles in shared memory: a number that is loaded serves 32
// elements, and lanes load along k, neighbours. With rows of 32 words, though, the lanes that read
// a column of b's tile all meet at one bank: a row is padded to 33, and they spread over all.
constexpr int kTile = 32;
template <int kPitch>
__global__ void __launch_bounds__(kTile* kTile) tile_kernel(Problem p) {
  __shared__ float a[kTile][kPitch], b[kTile][kPitch];
  const int x = int(threadIdx.x) % kTile, y = int(threadIdx.x) / kTile;
  const int row = int(blockIdx.y) * kTile, column = int(blockIdx.x) * kTile;
  float sum = 0;
  for (int k = 0; k < p.k; k += kTile) {
    a[y][x] = to_float(p.a[int64_t{row + y} * p.k + k + x]);
    b[y][x] = to_float(p.b[int64_t{column + y} * p.k + k + x]);
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kTile; ++j) sum += a[y][j] * b[x][j];
    __syncthreads();
  }
  p.c[int64_t{row + y} * p.n + column + x] = sum;
}

// 4 x 4 elements a thread, in registers: 8 reads of shared memory now serve 16 products, not 2
// reads one, which is what bounds the kernel before.
constexpr int kBlock = 64, kEach = 4, kSide = kBlock / kEach, kDepth = 16;
__global__ void __launch_bounds__(kSide* kSide) register_kernel(Problem p) {
  __shared__ float a[kBlock][kDepth + 1], b[kBlock][kDepth + 1];
  const int t = int(threadIdx.x), x = t % kSide, y = t / kSide;
  const int row = int(blockIdx.y) * kBlock, column = int(blockIdx.x) * kBlock;
  float sum[kEach][kEach] = {};
  for (int k = 0; k < p.k; k += kDepth) {
    for (int i = t; i < kBlock * kDepth; i += kSide * kSide) {
      const int line = i / kDepth, at = i % kDepth;
      a[line][at] = to_float(p.a[int64_t{row + line} * p.k + k + at]);
      b[line][at] = to_float(p.b[int64_t{column + line} * p.k + k + at]);
    }
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kDepth; ++j) {
      float of_a[kEach], of_b[kEach];
#pragma unroll
      for (int i = 0; i < kEach; ++i) of_a[i] = a[y + i * kSide][j], of_b[i] = b[x + i * kSide][j];
#pragma unroll
      for (int r = 0; r < kEach; ++r)
#pragma unroll
        for (int c = 0; c < kEach; ++c) sum[r][c] += of_a[r] * of_b[c];
    }
    __syncthreads();
  }
  for (int r = 0; r < kEach; ++r)
    for (int c = 0; c < kEach; ++c)
      p.c[int64_t{row + y + r * kSide} * p.n + column + x + c * kSide] = sum[r][c];
}

constexpr int kPart = 16, kWarps = 4, kWarpThreads = 128;
using PartA = wmma::fragment<wmma::matrix_a, kPart, kPart, kPart, __half, wmma::row_major>;
using PartB = wmma::fragment<wmma::matrix_b, kPart, kPart, kPart, __half, wmma::col_major>;
using Sum = wmma::fragment<wmma::accumulator, kPart, kPart, kPart, float>;

// A warp multiplies 16 x 16 x 16 at once on the tensor cores; a 16 x 16 of c a warp. Its operands
// come from global memory, for each warp anew.
__global__ void __launch_bounds__(kWarpThreads) wmma_kernel(Problem p) {
  const int part = int(blockIdx.x) * kWarps + int(threadIdx.x) / 32;
  const int row = part / (p.n / kPart) * kPart, column = part % (p.n / kPart) * kPart;
  PartA a;
  PartB b;
  Sum sum;
  wmma::fill_fragment(sum, 0.0f);
  for (int k = 0; k < p.k; k += kPart) {
    wmma::load_matrix_sync(a, p.a + int64_t{row} * p.k + k, unsigned(p.k));
    wmma::load_matrix_sync(b, p.b + int64_t{column} * p.k + k, unsigned(p.k));
    wmma::mma_sync(sum, a, b, sum);
  }
  wmma::store_matrix_sync(p.c + int64_t{row} * p.n + column, sum, unsigned(p.n),
                          wmma::mem_row_major);
}

// 64 x 64 of c a block, 32 x 32 of these a warp: tiles of a and b go to shared memory by accesses
// of 16 bytes, and a part that is loaded from there serves two products. Rows of 64 halves begin on
// one bank, so the eight rows that are read at a time collide; 8 halves more, and they do not.
// (wmma asks for tiles at multiples of 32 bytes: 16 rows of 72 halves are one.)
constexpr int kWide = 8;  // halves of 16 bytes
template <int kPitch>
__global__ void __launch_bounds__(kWarpThreads) wmma_tile_kernel(Problem p) {
  __align__(32) __shared__ uint4 a16[kBlock * kPitch / kWide];
  __align__(32) __shared__ uint4 b16[kBlock * kPitch / kWide];
  const __half *a = reinterpret_cast<__half*>(a16), *b = reinterpret_cast<__half*>(b16);
  const int t = int(threadIdx.x), warp = t / 32;
  const int row = int(blockIdx.y) * kBlock, column = int(blockIdx.x) * kBlock;
  const int warp_row = warp / 2 * 2 * kPart, warp_column = warp % 2 * 2 * kPart;
  Sum sum[2][2];
  for (auto& line : sum)
    for (Sum& s : line) wmma::fill_fragment(s, 0.0f);
  for (int k = 0; k < p.k; k += kBlock) {
#pragma unroll
    for (int i = t * kWide; i < kBlock * kBlock; i += kWarpThreads * kWide) {
      const int line = i / kBlock, at = i % kBlock;
      a16[(line * kPitch + at) / kWide] =
          *reinterpret_cast<const uint4*>(p.a + int64_t{row + line} * p.k + k + at);
      b16[(line * kPitch + at) / kWide] =
          *reinterpret_cast<const uint4*>(p.b + int64_t{column + line} * p.k + k + at);
    }
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kBlock; j += kPart) {
      PartA of_a[2];
      PartB of_b[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        wmma::load_matrix_sync(of_a[i], a + (warp_row + i * kPart) * kPitch + j, kPitch);
        wmma::load_matrix_sync(of_b[i], b + (warp_column + i * kPart) * kPitch + j, kPitch);
      }
#pragma unroll
      for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int c = 0; c < 2; ++c) wmma::mma_sync(sum[r][c], of_a[r], of_b[c], sum[r][c]);
    }
    __syncthreads();
  }
#pragma unroll
  for (int r = 0; r < 2; ++r)
#pragma unroll
    for (int c = 0; c < 2; ++c)
      wmma::store_matrix_sync(
          p.c + int64_t{row + warp_row + r * kPart} * p.n + column + warp_column + c * kPart,
          sum[r][c], unsigned(p.n), wmma::mem_row_major);
}

struct Data {
  Data(int m, int n, int k)
      : m(m),
        n(n),
        k(k),
        host_a(numbers<Half>(int64_t{m} * k, 1)),
        host_b(numbers<Half>(int64_t{n} * k, 2)),
        a(host_a),
        b(host_b),
        c(int64_t{m} * n),
        y(int64_t{m} * n),
        workspace(int64_t(cuda::linear_workspace(arguments()))),
        want(size_t(m) * size_t(n)),
        size(want.size()) {
    std::vector<float> fa(host_a.begin(), host_a.end()), fb(host_b.begin(), host_b.end());
    for (size_t i = 0; i < want.size(); ++i) {
      const float *x = &fa[i / size_t(n) * size_t(k)], *y = &fb[i % size_t(n) * size_t(k)];
      for (int j = 0; j < k; ++j) {
        const double product = double(x[j]) * double(y[j]);
        want[i] += product;
        size[i] += std::abs(product);
      }
    }
  }
  Problem problem() const {
    return {reinterpret_cast<const __half*>(a.data()),
            reinterpret_cast<const __half*>(b.data()),
            c.data(),
            m,
            n,
            k};
  }
  // The linear layer's product, whose y is f16.
  LinearForward arguments() const {
    LinearForward a;
    a.x = this->a.view({m, k}, Dtype::f16);
    a.w = b.view({n, k}, Dtype::f16);
    a.y = y.view({m, n}, Dtype::f16);
    return a;
  }
  Status start(void (*kernel)(Problem), int rows, int columns, int threads) const {
    return launch(kernel, dim3(unsigned(n / columns), unsigned(m / rows)), threads, 0, nullptr,
                  problem());
  }
  int m, n, k;
  std::vector<Half> host_a, host_b;
  Array<Half> a, b;
  Array<float> c;
  Array<Half> y;
  Array<uint8_t> workspace;
  std::vector<double> want, size;  // size: the sum of the products' magnitudes
  bool is_half = false;            // the result is in y
};

}  // namespace

Ladder matrix_product(int m, int n, int k) {
  const auto d = std::make_shared<Data>(m, n, k);
  Ladder l{"matrix_product",
           std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k) +
               ", f16 in, f32 sums",
           2.0 * k * (m + n) + 4.0 * m * n, 2.0 * m * n * k};
  l.reset = [d] {
    d->c.fill(NAN);
    d->y.fill(Half(float(NAN)));
    d->is_half = false;
  };
  l.check = [d](const Rung& rung) {
    Check worst{0, double(rung.roundings) * kRounding};
    const std::vector<float> sums = d->c.values();
    const std::vector<Half> halves = d->y.values();
    for (size_t i = 0; i < sums.size(); ++i) {
      const double got = d->is_half ? double(float(halves[i])) : double(sums[i]);
      worst.take(std::abs(got - d->want[i]) / d->size[i]);
    }
    return worst;
  };
  const auto tiles = [d](auto kernel, int side, int threads) {
    return [=] { return d->start(kernel, side, side, threads); };
  };
  const int64_t cores = 2 * int64_t{k};  // tensor cores may cut off where others round
  constexpr int64_t kOfHalf = int64_t(Half::eps / 2 / kRounding);
  l.rungs = {
      {"naive", "a thread an element, all from global memory; lanes a row of b apart", k,
       [d] {
         return launch(naive_kernel, dim3(unsigned(d->m * d->n / kNaiveThreads)), kNaiveThreads, 0,
                       nullptr, d->problem());
       }},
      {"shared tiles", "a number loaded serves 32 elements; but columns of a tile are one bank", k,
       tiles(tile_kernel<kTile>, kTile, kTile * kTile)},
      {"padded tiles", "rows of 33 words: the lanes of a column spread over all banks", k,
       tiles(tile_kernel<kTile + 1>, kTile, kTile * kTile)},
      {"register tiles", "4 x 4 elements a thread: half a read of shared memory a product, not two",
       k, tiles(register_kernel, kBlock, kSide * kSide)},
      {"wmma", "tensor cores: 4,096 products an instruction; operands from global memory", cores,
       [d] {
         return launch(wmma_kernel, dim3(unsigned(d->m * d->n / (kPart * kPart * kWarps))),
                       kWarpThreads, 0, nullptr, d->problem());
       }},
      {"wmma, shared tiles",
       "64 x 64 a block by 16-byte accesses; rows of a tile begin on one bank", cores,
       tiles(wmma_tile_kernel<kBlock>, kBlock, kWarpThreads)},
      {"wmma, padded tiles", "rows of 72 halves: eight rows are read at once without conflict",
       cores, tiles(wmma_tile_kernel<kBlock + kWide>, kBlock, kWarpThreads)},
      {"in use", "linear_forward: cuBLAS, which has further rungs; its result is rounded to f16",
       cores + kOfHalf,
       [d] {
         d->is_half = true;
         LinearForward a = d->arguments();
         a.workspace = d->workspace.view({d->workspace.count()}, Dtype::u8);
         return cuda::linear_forward(nullptr, a);
       }},
  };
  return l;
}

}  // namespace pneuma::ladder
