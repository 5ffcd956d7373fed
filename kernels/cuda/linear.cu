// y = x w^T + b and its gradients: the products by cuBLAS, whose matrices are column by column, so
// that each of ours is there its own transpose; the bias and its gradient by kernels of our own.
//
// The product of the forward pass is kept in float, in the workspace, until b is added, so that a
// 16-bit y is rounded once: a second rounding would cost up to half a unit in the last place, the
// room for N x O floats costs next to nothing.
#include <cublas_v2.h>

#include <numeric>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/library.h"
#include "kernels/cuda/memory.cuh"

namespace pneuma::cuda {
namespace {

constexpr int kThreads = 256, kMostThreads = 1024;
constexpr int kColumns = 64;         // of a block of column_sum_kernel, where rows are long
constexpr int kSectorElements = 16;  // 32 bytes of the smallest dtype
// cuBLAS gets this workspace from us, so that it allocates nothing and the same call always finds
// the same; it wants it at a multiple of 256 bytes, more than tensors have.
constexpr size_t kLibraryBytes = size_t{4} << 20, kLibraryAlignment = 256;

// y = sums + b. An element a thread: y is tiny, and so the 32 lanes of a warp ask for whole sectors
// of all three whatever O is. sums may be y.
template <class T>
__global__ void __launch_bounds__(kThreads)
    linear_bias_kernel(const float* sums, const float* b, T* y, int64_t count, int outputs) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) y[i] = from_float<T>(sums[i] + b[i % outputs]);
}

// db[o] = sum over n of dy[n,o], for `width` columns a block: its threads take as many whole rows
// at a time as they can (it has a multiple of `width`), then the first `width` of them add up what
// stands in their column.
template <class T>
__global__ void __launch_bounds__(kMostThreads)
    linear_backward_bias_kernel(const T* dy, float* db, bool add, int64_t rows, int outputs,
                                int width) {
  float* sums = dynamic_shared<float>();
  const int at_once = int(blockDim.x) / width, thread = int(threadIdx.x);
  const int column = int(blockIdx.x) * width + thread % width;
  float sum = 0;
  if (column < outputs)
    for (int64_t n = thread / width; n < rows; n += at_once)
      sum += to_float(dy[n * outputs + column]);
  sums[thread] = sum;
  __syncthreads();
  if (thread >= width || column >= outputs) return;
  for (int r = 1; r < at_once; ++r) sum += sums[thread + r * width];
  db[column] = add ? db[column] + sum : sum;
}

Status status_of(cublasStatus_t error, Dtype dtype = Dtype::f32) {
  if (error == CUBLAS_STATUS_SUCCESS) return {};
  if (error == CUBLAS_STATUS_NOT_SUPPORTED || error == CUBLAS_STATUS_ARCH_MISMATCH)
    return {StatusCode::unsupported,
            dtype == Dtype::bf16
                ? "cuBLAS has no product in bf16 here; that needs compute capability 8.0 or newer"
                : "cuBLAS does not support this product on this chip"};
  return {error == CUBLAS_STATUS_ALLOC_FAILED ? StatusCode::out_of_memory : StatusCode::device,
          cublasGetStatusString(error)};
}
#define PN_CUBLAS(call) \
  if (const Status pn_s = status_of(call); !pn_s) return pn_s

struct Shape {
  int N, I, O;
};
Status shape_of(const View& x, const View& w, const View& y, Shape* s) {
  const int64_t N = x.dims[0], I = x.dims[1], O = w.dims[0];
  PN_REQUIRE(is(x, x.dtype, {N, I}) && is(w, x.dtype, {O, I}) && is(y, x.dtype, {N, O}) && N > 0 &&
                 I > 0 && O > 0,
             "linear: x, w and y must be [N,I], [O,I], [N,O] of one dtype, none empty");
  PN_REQUIRE(x.count() <= INT32_MAX && w.count() <= INT32_MAX && y.count() <= INT32_MAX,
             "linear: a tensor has 2^31 elements or more");
  *s = {int(N), int(I), int(O)};
  return {};
}

// c = a b (+ c), column by column: a is [m,k], b [k,n], c [m,n]; a transposed one lies as [k,m],
// [n,k].
struct Product {
  cublasHandle_t handle = nullptr;
  Dtype dtype;

  Status prepare(Stream stream, const View& workspace) {
    PN_REQUIRE(workspace.data && workspace.bytes() >= kLibraryBytes + kLibraryAlignment,
               "linear: the workspace is too small");
    const Status made = library_handle(&handle, [](cublasHandle_t* h) -> Status {
      PN_CUBLAS(cublasCreate(h));
      // Partial sums stay in float, too.
      return status_of(cublasSetMathMode(
          *h,
          cublasMath_t(CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)));
    });
    if (!made) return made;
    const uintptr_t begin = reinterpret_cast<uintptr_t>(workspace.data);
    const uintptr_t aligned = (begin + kLibraryAlignment - 1) / kLibraryAlignment;
    PN_CUBLAS(cublasSetStream(handle, static_cast<cudaStream_t>(stream)));  // drops the workspace
    return status_of(cublasSetWorkspace(
        handle, reinterpret_cast<void*>(aligned * kLibraryAlignment), kLibraryBytes));
  }
  Status operator()(cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
                    const void* a, const void* b, void* c, Dtype c_dtype, bool add) const {
    const auto type = [](Dtype d) {
      return d == Dtype::f16 ? CUDA_R_16F : d == Dtype::bf16 ? CUDA_R_16BF : CUDA_R_32F;
    };
    const float one = 1, beta = add ? 1 : 0;
    return status_of(
        cublasGemmEx(
            handle, op_a, op_b, m, n, k, &one, a, type(dtype), op_a == CUBLAS_OP_N ? m : k, b,
            type(dtype), op_b == CUBLAS_OP_N ? k : n, &beta, c, type(c_dtype), m,
            dtype == Dtype::f32 ? CUBLAS_COMPUTE_32F_PEDANTIC : CUBLAS_COMPUTE_32F,  // never TF32
            CUBLAS_GEMM_DEFAULT),
        dtype);
  }
};

bool keeps_sums(const LinearForward& a) { return a.b && a.y.dtype != Dtype::f32; }

}  // namespace

// Of the forward pass: the sums, then cuBLAS's.
size_t linear_workspace(const LinearForward& a) {
  const size_t sums = keeps_sums(a) ? size_t(a.y.count()) * sizeof(float) : 0;
  return sums + kLibraryBytes + kLibraryAlignment;
}
size_t linear_workspace(const LinearBackward&) { return kLibraryBytes + kLibraryAlignment; }

Status linear_forward(Stream stream, const LinearForward& a) {
  Shape s;
  if (const Status status = shape_of(a.x, a.w, a.y, &s); !status) return status;
  PN_REQUIRE(!a.b || is(a.b, Dtype::f32, {s.O}), "linear: b must be [O] f32");
  PN_REQUIRE(a.workspace.bytes() >= linear_workspace(a), "linear: the workspace is too small");
  const int64_t count = a.y.count(), kept = keeps_sums(a) ? count * int64_t(sizeof(float)) : 0;
  View rest = a.workspace;
  rest.data = a.workspace.as<std::byte>() + kept;
  rest.dims[0] -= kept;
  void* const sums = kept ? a.workspace.data : a.y.data;
  Product product{.dtype = a.x.dtype};
  return dispatch(a.x.dtype, [&]<class T>(T) -> Status {
    if (const Status status = product.prepare(stream, rest); !status) return status;
    const Status status = product(CUBLAS_OP_T, CUBLAS_OP_N, s.O, s.N, s.I, a.w.data, a.x.data, sums,
                                  kept ? Dtype::f32 : a.y.dtype, false);
    if (!status || !a.b) return status;
    return launch(linear_bias_kernel<T>, dim3(unsigned(blocks_of(count, kThreads))), kThreads, 0,
                  stream, static_cast<const float*>(sums), a.b.as<const float>(), a.y.as<T>(),
                  count, s.O);
  });
}

Status linear_backward(Stream stream, const LinearBackward& a) {
  Shape s;
  if (const Status status = shape_of(a.x, a.w, a.dy, &s); !status) return status;
  PN_REQUIRE(are_like(a.x, {either(a.dx, a.x)}) && are_like(a.w, {either(a.dw, a.w)}) &&
                 (!a.db || is(a.db, Dtype::f32, {s.O})),
             "linear: dx, dw and db must be like x, w and [O] f32");
  Product product{.dtype = a.x.dtype};
  return dispatch(a.x.dtype, [&]<class T>(T) -> Status {
    if (a.dx || a.dw)
      if (const Status status = product.prepare(stream, a.workspace); !status) return status;
    if (a.dx) {
      const Status status = product(CUBLAS_OP_N, CUBLAS_OP_N, s.I, s.N, s.O, a.w.data, a.dy.data,
                                    a.dx.data, a.dx.dtype, a.dx.add);
      if (!status) return status;
    }
    if (a.dw) {
      const Status status = product(CUBLAS_OP_N, CUBLAS_OP_T, s.I, s.O, s.N, a.x.data, a.dy.data,
                                    a.dw.data, a.dw.dtype, a.dw.add);
      if (!status) return status;
    }
    if (!a.db) return {};
    // Short rows are read as one long line; a whole number of sectors at a time, so that no warp
    // begins amid one.
    const int line = std::lcm(s.O, kSectorElements);
    const bool is_short = line <= kMostThreads;
    const int threads = is_short ? line * std::max(1, kThreads / line) : kThreads;
    const int width = is_short ? s.O : kColumns;
    return launch(linear_backward_bias_kernel<T>, dim3(unsigned(blocks_of(s.O, width))), threads,
                  size_t(threads) * sizeof(float), stream, a.dy.as<const T>(), a.db.as<float>(),
                  a.db.add, int64_t{s.N}, s.O, width);
  });
}

}  // namespace pneuma::cuda
