// The part of cuDNN that kernels/cuda uses, for host_cuda: the names and numbers of NVIDIA's header
// (version 9). The functions here only gather their arguments; ../cudnn.cpp checks and computes.
#pragma once

#include <cuda_runtime.h>

inline size_t cudnnGetVersion() { return 90100; }

enum cudnnStatus_t {
  CUDNN_STATUS_SUCCESS = 0,
  CUDNN_STATUS_BAD_PARAM = 2000,
  CUDNN_STATUS_NOT_SUPPORTED = 3000,
  CUDNN_STATUS_ARCH_MISMATCH = 3007,
  CUDNN_STATUS_ALLOC_FAILED = 4003,
  CUDNN_STATUS_EXECUTION_FAILED = 5000
};
enum cudnnDataType_t {
  CUDNN_DATA_FLOAT = 0,
  CUDNN_DATA_DOUBLE = 1,
  CUDNN_DATA_HALF = 2,
  CUDNN_DATA_BFLOAT16 = 9
};
enum cudnnTensorFormat_t { CUDNN_TENSOR_NCHW = 0, CUDNN_TENSOR_NHWC = 1 };
enum cudnnConvolutionMode_t { CUDNN_CONVOLUTION = 0, CUDNN_CROSS_CORRELATION = 1 };
enum cudnnMathType_t { CUDNN_DEFAULT_MATH = 0, CUDNN_TENSOR_OP_MATH = 1, CUDNN_FMA_MATH = 3 };
// Callers may hold numbers of the real header that are not here.
enum cudnnConvolutionFwdAlgo_t : int {
  CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM = 0,
  CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM = 1
};
enum cudnnConvolutionBwdDataAlgo_t : int {
  CUDNN_CONVOLUTION_BWD_DATA_ALGO_0 = 0,
  CUDNN_CONVOLUTION_BWD_DATA_ALGO_1 = 1
};
enum cudnnConvolutionBwdFilterAlgo_t : int {
  CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0 = 0,
  CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1 = 1
};

struct cudnnContext {
  cudaStream_t stream = nullptr;
};
struct cudnnTensorStruct {
  bool set = false;
  cudnnTensorFormat_t format;
  cudnnDataType_t type;
  int n, c, h, w;
};
struct cudnnFilterStruct : cudnnTensorStruct {};  // n outputs of c inputs
struct cudnnConvolutionStruct {
  bool set = false;
  int pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w;
  cudnnConvolutionMode_t mode;
  cudnnDataType_t compute;
  cudnnMathType_t math;
};
using cudnnHandle_t = cudnnContext*;
using cudnnTensorDescriptor_t = cudnnTensorStruct*;
using cudnnFilterDescriptor_t = cudnnFilterStruct*;
using cudnnConvolutionDescriptor_t = cudnnConvolutionStruct*;

// Not cuDNN's: one call, whatever the pass; y is dy, x is dx, w is dw where those are meant.
enum class cudnnPass { forward, backward_data, backward_filter };
struct cudnnCall {
  cudnnPass pass;
  cudnnHandle_t handle;
  const cudnnTensorStruct *x, *w, *y;
  const cudnnConvolutionStruct* how;
  int algorithm;
};
cudnnStatus_t cudnn_workspace(const cudnnCall& call, size_t* bytes);
// alpha must be 1, and beta 0, or 1 for a gradient.
cudnnStatus_t cudnn_run(const cudnnCall& call, const void* x, const void* w, const void* y,
                        void* workspace, size_t bytes, const void* alpha, const void* beta);
cudnnStatus_t cudnn_set(cudnnTensorStruct* t, const cudnnTensorStruct& value);
cudnnStatus_t cudnn_set(cudnnConvolutionStruct* k, const cudnnConvolutionStruct& value);
template <class T>
cudnnStatus_t cudnn_create(T** made) {
  if (!made) return CUDNN_STATUS_BAD_PARAM;
  return *made = new T{}, CUDNN_STATUS_SUCCESS;
}

const char* cudnnGetErrorString(cudnnStatus_t status);
inline constexpr auto* cudnnCreate = cudnn_create<cudnnContext>;
inline cudnnStatus_t cudnnSetStream(cudnnHandle_t h, cudaStream_t stream) {
  if (!h) return CUDNN_STATUS_BAD_PARAM;
  return h->stream = stream, CUDNN_STATUS_SUCCESS;
}
inline constexpr auto* cudnnCreateTensorDescriptor = cudnn_create<cudnnTensorStruct>;
inline constexpr auto* cudnnCreateFilterDescriptor = cudnn_create<cudnnFilterStruct>;
inline constexpr auto* cudnnCreateConvolutionDescriptor = cudnn_create<cudnnConvolutionStruct>;
inline cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t t,
                                                cudnnTensorFormat_t format, cudnnDataType_t type,
                                                int n, int c, int h, int w) {
  return cudnn_set(t, {true, format, type, n, c, h, w});
}
inline cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t f, cudnnDataType_t type,
                                                cudnnTensorFormat_t format, int k, int c, int h,
                                                int w) {
  return cudnn_set(f, {true, format, type, k, c, h, w});
}
inline cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t k, int pad_h,
                                                     int pad_w, int u, int v, int dilation_h,
                                                     int dilation_w, cudnnConvolutionMode_t mode,
                                                     cudnnDataType_t compute) {
  return cudnn_set(
      k, {true, pad_h, pad_w, u, v, dilation_h, dilation_w, mode, compute, CUDNN_DEFAULT_MATH});
}
inline cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t k,
                                                 cudnnMathType_t math) {
  if (!k) return CUDNN_STATUS_BAD_PARAM;
  return k->math = math, CUDNN_STATUS_SUCCESS;
}

inline cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(
    cudnnHandle_t h, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w,
    cudnnConvolutionDescriptor_t k, cudnnTensorDescriptor_t y, cudnnConvolutionFwdAlgo_t algorithm,
    size_t* bytes) {
  return cudnn_workspace({cudnnPass::forward, h, x, w, y, k, algorithm}, bytes);
}
inline cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(
    cudnnHandle_t h, cudnnFilterDescriptor_t w, cudnnTensorDescriptor_t dy,
    cudnnConvolutionDescriptor_t k, cudnnTensorDescriptor_t dx,
    cudnnConvolutionBwdDataAlgo_t algorithm, size_t* bytes) {
  return cudnn_workspace({cudnnPass::backward_data, h, dx, w, dy, k, algorithm}, bytes);
}
inline cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(
    cudnnHandle_t h, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy,
    cudnnConvolutionDescriptor_t k, cudnnFilterDescriptor_t dw,
    cudnnConvolutionBwdFilterAlgo_t algorithm, size_t* bytes) {
  return cudnn_workspace({cudnnPass::backward_filter, h, x, dw, dy, k, algorithm}, bytes);
}

inline cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t h, const void* alpha,
                                             cudnnTensorDescriptor_t x_of, const void* x,
                                             cudnnFilterDescriptor_t w_of, const void* w,
                                             cudnnConvolutionDescriptor_t k,
                                             cudnnConvolutionFwdAlgo_t algorithm, void* workspace,
                                             size_t bytes, const void* beta,
                                             cudnnTensorDescriptor_t y_of, void* y) {
  return cudnn_run({cudnnPass::forward, h, x_of, w_of, y_of, k, algorithm}, x, w, y, workspace,
                   bytes, alpha, beta);
}
inline cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t h, const void* alpha,
                                                  cudnnFilterDescriptor_t w_of, const void* w,
                                                  cudnnTensorDescriptor_t dy_of, const void* dy,
                                                  cudnnConvolutionDescriptor_t k,
                                                  cudnnConvolutionBwdDataAlgo_t algorithm,
                                                  void* workspace, size_t bytes, const void* beta,
                                                  cudnnTensorDescriptor_t dx_of, void* dx) {
  return cudnn_run({cudnnPass::backward_data, h, dx_of, w_of, dy_of, k, algorithm}, dx, w, dy,
                   workspace, bytes, alpha, beta);
}
inline cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t h, const void* alpha,
                                                    cudnnTensorDescriptor_t x_of, const void* x,
                                                    cudnnTensorDescriptor_t dy_of, const void* dy,
                                                    cudnnConvolutionDescriptor_t k,
                                                    cudnnConvolutionBwdFilterAlgo_t algorithm,
                                                    void* workspace, size_t bytes, const void* beta,
                                                    cudnnFilterDescriptor_t dw_of, void* dw) {
  return cudnn_run({cudnnPass::backward_filter, h, x_of, dw_of, dy_of, k, algorithm}, x, dw, dy,
                   workspace, bytes, alpha, beta);
}
