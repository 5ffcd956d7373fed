#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <mma.h>

#include "tests/kernels/host_cuda.h"

namespace pneuma::cuda {
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ unsigned char dynamic_shared_memory[];
  return reinterpret_cast<T*>(dynamic_shared_memory);
}
}  // namespace pneuma::cuda

namespace pneuma::test {

__device__ int global_index() { return int(blockIdx.x * blockDim.x + threadIdx.x); }

__global__ void copy_kernel(const uint4* x, uint4* y, int n) {
  if (const int i = global_index(); i < n) y[i] = x[i];
}
__global__ void copy_pairs_kernel(const uint2* x, uint2* y, int n) {
  if (const int i = global_index(); i < n) y[i] = __ldg(x + i);
}
__global__ void copy_bytes_kernel(const unsigned char* x, unsigned char* y, int n) {
  if (const int i = global_index(); i < n) y[i] = x[i];
}
__global__ void copy_struct_kernel(const uint4* x, uint4* y, int n) {
  const int i = global_index();
  if (i >= n) return;
  union {
    uint4 whole;
    __half2 parts[4];
  } v;
  v.whole = x[i];
  for (int k = 0; k < 4; ++k) v.parts[k] = __hadd2(v.parts[k], v.parts[k]);
  y[i] = v.whole;
}
__global__ void scale_kernel(const float* x, float* y, int n, int stride, float by) {
  if (const int i = global_index() * stride; i < n) y[i] = by * x[i];
}
__global__ void write_kernel(float* y, int64_t at, float value) { y[at] = value; }
__global__ void read_kernel(const float* x, int64_t at, float* y) { *y = x[at]; }
__global__ void read_double_kernel(const char* x, double* y) {
  *y = *reinterpret_cast<const double*>(x);
}
__global__ void spin_kernel(float* y, int turns) {
  float v = y[0];
  for (int i = 0; i < turns; ++i) v = __fmaf_rn(v, 1.0f, 0.0f);
  y[0] = v + 1;
}
__global__ void add_one_kernel(float* y, int n) {
  for (int i = global_index(); i < n; i += int(gridDim.x * blockDim.x)) y[i] += 1;
}

__global__ void reverse_kernel(float* x, bool barrier) {
  __shared__ float turned[256];
  turned[threadIdx.x] = x[threadIdx.x];
  if (barrier) __syncthreads();
  x[threadIdx.x] = turned[255 - threadIdx.x];
}
__global__ void dynamic_kernel(float* x, int at) {
  float* values = cuda::dynamic_shared<float>();
  for (int i = int(threadIdx.x); i <= at; i += int(blockDim.x)) values[i] = float(i);
  __syncthreads();
  if (threadIdx.x == 0) *x = values[at];
}
__global__ void static_bounds_kernel(float* y, int at) {
  __shared__ float before[8];
  __shared__ float values[8];
  __shared__ float behind[8];
  if (threadIdx.x < 8) before[threadIdx.x] = values[threadIdx.x] = behind[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = values[at] + before[threadIdx.x % 8] + behind[threadIdx.x % 8];
}
__global__ void unwritten_shared_kernel(float* y, bool all) {
  __shared__ float values[32];
  if (all || threadIdx.x != 7) values[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = values[31 - threadIdx.x];
}
template <class T>
__global__ void exchange_kernel(T* x) {
  __shared__ T values[64], first;
  values[threadIdx.x] = x[threadIdx.x];
  if (threadIdx.x == 0) first = x[0];
  __syncthreads();
  x[threadIdx.x] = threadIdx.x ? values[64 - threadIdx.x] : first;
}
template __global__ void exchange_kernel(float*);
template __global__ void exchange_kernel(__half*);
template __global__ void exchange_kernel(__half2*);
__global__ void transpose_kernel(const float* x, float* y, int pitch) {
  float* tile = cuda::dynamic_shared<float>();
  tile[threadIdx.y * pitch + threadIdx.x] = x[threadIdx.y * 32 + threadIdx.x];
  __syncthreads();
  y[threadIdx.y * 32 + threadIdx.x] = tile[threadIdx.x * pitch + threadIdx.y];
}
__global__ void warp_order_kernel(float* y, bool sync) {
  __shared__ float values[32];
  values[threadIdx.x] = float(threadIdx.x);
  if (sync) __syncwarp();
  y[threadIdx.x] = values[threadIdx.x ^ 1];
}
__global__ void divergent_kernel(int* y, int how) {
  if (how == 2 && threadIdx.x == 5) return;
  if (how == 1 && threadIdx.x >= 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  if (how == 3 && threadIdx.x < 16) return;
  y[threadIdx.x] = __shfl_sync(~0u, int(threadIdx.x), 0);
}
__global__ void barrier_counts_kernel(int* y) {
  const int t = int(threadIdx.x), n = int(blockDim.x);
  const int count = __syncthreads_count(t % 3 == 0);
  const int all = __syncthreads_and(t < n), not_all = __syncthreads_and(t != 3);
  const int any = __syncthreads_or(t == 3), none = __syncthreads_or(t > n);
  y[t] = count * 10000 + all * 1000 + not_all * 100 + any * 10 + none;
}
__global__ void order_kernel(int* order, int* next) {
  order[atomicAdd(next, 1)] = int(threadIdx.x);
  __syncthreads();
  order[atomicAdd(next, 1)] = int(threadIdx.x);
}
__global__ void sum_kernel(const float* x, float* y, int n) {
  __shared__ float of_warp[32];
  float sum = 0;
  for (int i = int(threadIdx.x); i < n; i += int(blockDim.x)) sum += x[i];
  for (int d = 16; d; d /= 2) sum += __shfl_xor_sync(~0u, sum, d);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x) return;
  for (int w = 1; w < int(blockDim.x) / 32; ++w) sum += of_warp[w];
  *y = sum;
}
__global__ void shuffle_kernel(int* y) {
  const int t = int(threadIdx.x);
  y[t * 6 + 0] = __shfl_sync(~0u, t * t, 5);
  y[t * 6 + 1] = __shfl_up_sync(~0u, t * t, 3);
  y[t * 6 + 2] = __shfl_down_sync(~0u, t * t, 3);
  y[t * 6 + 3] = int(__shfl_xor_sync(~0u, double(t) * t, 7));
  y[t * 6 + 4] = __shfl_sync(~0u, t * t, 2, 8);
  y[t * 6 + 5] =
      int(__ballot_sync(~0u, t % 3 == 0)) + __any_sync(~0u, t == 31) + __all_sync(~0u, t < 31);
}
__global__ void atomics_kernel(int* y, unsigned long long* z) {
  const int t = global_index();
  atomicAdd(y, t);
  atomicMax(y + 1, t);
  atomicMin(y + 2, t);
  if (atomicCAS(y + 3, -1, t) == -1) atomicExch(y + 4, 1);
  atomicAdd(z, 1ull << 40);
}
__global__ void indices_kernel(int* y) {
  const int block = int((blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x);
  const int thread = int((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x);
  const int at = block * int(blockDim.x * blockDim.y * blockDim.z) + thread;
  y[at] = at;
}
__global__ void half_kernel(const __half2* x, const __half2* y, __half2* z, int n) {
  if (const int i = global_index(); i < n) z[i] = __hfma2(x[i], y[i], z[i]);
}

namespace wm = nvcuda::wmma;
template <class LayoutA, class LayoutB>
__device__ void multiply(const __half* a, const __half* b, float* c) {
  wm::fragment<wm::matrix_a, 16, 16, 16, __half, LayoutA> fa;
  wm::fragment<wm::matrix_b, 16, 16, 16, __half, LayoutB> fb;
  wm::fragment<wm::accumulator, 16, 16, 16, float> fc;
  wm::fill_fragment(fc, 0.0f);
  wm::load_matrix_sync(fa, a, 16);
  wm::load_matrix_sync(fb, b, 16);
  wm::mma_sync(fc, fa, fb, fc);
  wm::mma_sync(fc, fa, fb, fc);
  wm::store_matrix_sync(c, fc, 16, wm::mem_row_major);
}
__global__ void wmma_kernel(const __half* a, const __half* b, float* c, bool a_by_columns,
                            bool b_by_columns) {
  using Rows = wm::row_major;
  using Columns = wm::col_major;
  if (a_by_columns) {
    b_by_columns ? multiply<Columns, Columns>(a, b, c) : multiply<Columns, Rows>(a, b, c);
  } else {
    b_by_columns ? multiply<Rows, Columns>(a, b, c) : multiply<Rows, Rows>(a, b, c);
  }
}

__global__ void arguments_kernel(Arguments arguments) {
  const int t = int(threadIdx.x);
  arguments.y[t] = arguments.values[t % 40];
}
__global__ void constants_kernel(float* y) {
  static constexpr float table[8] = {1, 2, 4, 8, 16, 32, 64, 128};
  y[threadIdx.x] = table[threadIdx.x % 8];
}

}  // namespace pneuma::test
