// Stands in for cuBLAS: the argument checks of the real one, and the product in plain loops with
// double sums, rounded once.
#include <cublas_v2.h>

#include <algorithm>

#include "kernels/host_cuda/host_cuda.h"
#include "kernels/host_cuda/library.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
  void* workspace = nullptr;
  size_t workspace_bytes = 0;
};

namespace pneuma::host_cuda {
namespace {

constexpr uintptr_t kWorkspaceAlignment = 256;

bool dtype_of(cudaDataType type, Dtype* dtype) {
  if (type == CUDA_R_32F) return *dtype = Dtype::f32, true;
  if (type == CUDA_R_16F) return *dtype = Dtype::f16, true;
  if (type == CUDA_R_16BF) return *dtype = Dtype::bf16, true;
  return false;
}

// A matrix as it is stored, column by column.
struct Matrix {
  void* data;
  Dtype dtype;
  int rows, columns, leading;

  int64_t place(int row, int column) const { return int64_t{column} * leading + row; }
  int64_t count() const { return place(rows - 1, columns - 1) + 1; }
  Range range() const { return {data, size_t(count()) * size_of(dtype)}; }
};

void multiply(const Matrix& a, bool turned_a, const Matrix& b, bool turned_b, const Matrix& c,
              float alpha, float beta) {
  const std::vector<float> va = floats_of(a.dtype, a.data, a.count());
  const std::vector<float> vb = floats_of(b.dtype, b.data, b.count());
  const int k = turned_a ? a.rows : a.columns;
  for (int column = 0; column < c.columns; ++column)
    for (int row = 0; row < c.rows; ++row) {
      double sum = 0;
      for (int i = 0; i < k; ++i)
        sum += double(va[size_t(turned_a ? a.place(i, row) : a.place(row, i))]) *
               double(vb[size_t(turned_b ? b.place(column, i) : b.place(i, column))]);
      const int64_t at = c.place(row, column);
      const double old = beta == 0 ? 0 : double(beta) * reference::load(c.dtype, c.data, at);
      reference::store(c.dtype, c.data, at, double(alpha) * sum + old);
    }
}

}  // namespace
}  // namespace pneuma::host_cuda

using namespace pneuma;
using namespace pneuma::host_cuda;

extern "C" {

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  if (!handle) return CUBLAS_STATUS_INVALID_VALUE;
  return *handle = new cublasContext, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  return *handle = {stream, nullptr, 0}, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void* workspace, size_t bytes) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (uintptr_t(workspace) % kWorkspaceAlignment || (!workspace && bytes))
    return CUBLAS_STATUS_INVALID_VALUE;
  handle->workspace = workspace;
  handle->workspace_bytes = bytes;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t) {
  return handle ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_INITIALIZED;
}

const char* cublasGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS            ? "CUBLAS_STATUS_SUCCESS"
         : status == CUBLAS_STATUS_NOT_INITIALIZED  ? "CUBLAS_STATUS_NOT_INITIALIZED"
         : status == CUBLAS_STATUS_INVALID_VALUE    ? "CUBLAS_STATUS_INVALID_VALUE"
         : status == CUBLAS_STATUS_NOT_SUPPORTED    ? "CUBLAS_STATUS_NOT_SUPPORTED"
         : status == CUBLAS_STATUS_EXECUTION_FAILED ? "CUBLAS_STATUS_EXECUTION_FAILED"
                                                    : "another cuBLAS status";
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b,
                            int m, int n, int k, const void* alpha, const void* a,
                            cudaDataType a_type, int lda, const void* b, cudaDataType b_type,
                            int ldb, const void* beta, void* c, cudaDataType c_type, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  const bool turned_a = op_a == CUBLAS_OP_T, turned_b = op_b == CUBLAS_OP_T;
  if (m < 0 || n < 0 || k < 0 || (!turned_a && op_a != CUBLAS_OP_N) ||
      (!turned_b && op_b != CUBLAS_OP_N) || lda < std::max(1, turned_a ? k : m) ||
      ldb < std::max(1, turned_b ? n : k) || ldc < std::max(1, m) || !alpha || !beta)
    return CUBLAS_STATUS_INVALID_VALUE;
  Dtype ta, tb, tc;
  if (!dtype_of(a_type, &ta) || !dtype_of(b_type, &tb) || !dtype_of(c_type, &tc) || ta != tb ||
      (tc != ta && tc != Dtype::f32) || algorithm != CUBLAS_GEMM_DEFAULT ||
      (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_PEDANTIC))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  if (m == 0 || n == 0) return CUBLAS_STATUS_SUCCESS;
  if (k == 0) return CUBLAS_STATUS_NOT_SUPPORTED;  // the real one scales c; we never ask it to
  if (!a || !b || !c) return CUBLAS_STATUS_INVALID_VALUE;
  const Matrix ma{const_cast<void*>(a), ta, turned_a ? k : m, turned_a ? m : k, lda};
  const Matrix mb{const_cast<void*>(b), tb, turned_b ? n : k, turned_b ? k : n, ldb};
  const Matrix mc{c, tc, m, n, ldc};
  const float scale = *static_cast<const float*>(alpha), keep = *static_cast<const float*>(beta);
  std::vector<Range> reads = {ma.range(), mb.range()};
  if (keep != 0) reads.push_back(mc.range());
  const auto work = [=] { multiply(ma, turned_a, mb, turned_b, mc, scale, keep); };
  const cudaError_t error = enqueue(handle->stream, "cublasGemmEx", work, reads,
                                    {mc.range(), {handle->workspace, handle->workspace_bytes}});
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"
