// host_cuda's cuDNN and cuBLAS, alone and under the ops of kernels/cuda that call them: results
// against the reference in each dtype, argument checks, the ranges that they touch, the table of
// choices of the convolutions.
#include <cublas_v2.h>
#include <cudnn.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cuda/chip.h"
#include "kernels/cuda/cuda.h"
#include "kernels/host_cuda/host_cuda.h"
#include "kernels/reference/dispatch.h"
#include "kernels/reference/reference.h"

namespace pneuma {
namespace {

// A tensor on the device and its double on the host; both live until the test ends.
struct Pair {
  std::vector<std::byte> bytes;
  View host, device;

  Pair(std::vector<int64_t> dims, Dtype dtype) {
    host.rank = int32_t(dims.size());
    std::copy(dims.begin(), dims.end(), host.dims);
    host.dtype = dtype;
    bytes.resize(host.bytes());
    host.data = bytes.data();
    device = host;
    REQUIRE(cudaMalloc(&device.data, std::max<size_t>(1, host.bytes())) == cudaSuccess);
  }
  Pair(const Pair&) = delete;
  ~Pair() { cudaFree(device.data); }

  Pair& draw(uint32_t seed) {
    for (int64_t i = 0; i < host.count(); ++i) {
      seed = seed * 1664525u + 1013904223u;
      reference::store(host.dtype, host.data, i, double(seed >> 8) / (1 << 23) - 1);
    }
    upload();
    return *this;
  }
  void upload() {
    REQUIRE(cudaMemcpy(device.data, host.data, host.bytes(), cudaMemcpyDefault) == cudaSuccess);
  }
  std::vector<std::byte> download() const {
    std::vector<std::byte> got(host.bytes());
    REQUIRE(cudaMemcpy(got.data(), device.data, got.size(), cudaMemcpyDefault) == cudaSuccess);
    return got;
  }
  bool same() const { return download() == bytes; }
  // Largest difference over the largest magnitude.
  double difference() const {
    const std::vector<std::byte> got = download();
    double worst = 0, most = 1e-30;
    for (int64_t i = 0; i < host.count(); ++i) {
      const double a = reference::load(host.dtype, got.data(), i);
      const double b = reference::load(host.dtype, host.data, i);
      worst = std::max(worst, std::fabs(a - b));
      most = std::max(most, std::fabs(b));
    }
    return worst / most;
  }
};

template <class Args>
Status call(Status (*run)(Stream, const Args&), size_t (*workspace)(const Args&), Args args,
            bool on_device = true) {
  Pair memory({int64_t(workspace ? workspace(args) : 0)}, Dtype::u8);
  if constexpr (requires { args.workspace; })
    args.workspace = on_device ? memory.device : memory.host;
  const Status status = run(nullptr, args);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  return status;
}

struct Shape {
  int64_t N, H, W, C, O, R, S;
  int stride, padding;
  int64_t P() const { return (H + 2 * padding - R) / stride + 1; }
  int64_t Q() const { return (W + 2 * padding - S) / stride + 1; }
};
// The stem's window, a border that no window reads, one pixel, a shortcut, more outputs than a
// piece of the weights' gradient.
const Shape kShapes[] = {{2, 9, 11, 3, 5, 7, 7, 2, 3}, {1, 8, 8, 4, 3, 3, 3, 2, 0},
                         {1, 1, 1, 1, 1, 1, 1, 1, 0},  {3, 6, 6, 8, 4, 1, 1, 2, 0},
                         {2, 5, 5, 2, 35, 3, 3, 1, 1}, {1, 4, 7, 2, 2, 2, 3, 1, 1}};
constexpr Dtype kDtypes[] = {Dtype::f32, Dtype::f16, Dtype::bf16};
double eps(Dtype d) {
  return d == Dtype::f32 ? 0x1p-23 : d == Dtype::f16 ? double(Half::eps) : double(Bfloat16::eps);
}

void set_threads(int threads) {
  host_cuda::Settings settings = host_cuda::settings();
  settings.threads = threads;
  host_cuda::set_settings(settings);
}
bool has(const char* text, const char* part) { return std::strstr(text, part) != nullptr; }

// A convolution's forward pass that everything may be asked of.
struct Forward {
  Shape s{2, 6, 6, 4, 8, 3, 3, 1, 1};
  Pair x, w, y;
  explicit Forward(Dtype d)
      : x({s.N, s.H, s.W, s.C}, d), w({s.O, s.R, s.S, s.C}, d), y({s.N, s.P(), s.Q(), s.O}, d) {
    x.draw(1);
    w.draw(2);
  }
  ConvolutionForward args() const { return {x.device, w.device, y.device, s.stride, s.padding}; }
  Status run() const {
    return call(cuda::convolution_forward, cuda::convolution_workspace, args());
  }
};

}  // namespace

TEST_CASE("convolutions have the reference's bits, by any number of threads") {
  host_cuda::clear_faults();
  for (const int threads : {1, 3})
    for (const Dtype d : kDtypes)
      for (const Shape& s : kShapes) {
        CAPTURE(threads);
        CAPTURE(name_of(d));
        CAPTURE(s.C);
        set_threads(threads);
        Pair x({s.N, s.H, s.W, s.C}, d), w({s.O, s.R, s.S, s.C}, d), y({s.N, s.P(), s.Q(), s.O}, d);
        x.draw(1), w.draw(2), y.draw(3);
        for (const bool add : {false, true}) {
          Pair dx({s.N, s.H, s.W, s.C}, d), dw({s.O, s.R, s.S, s.C}, d);
          if (add) dx.draw(4), dw.draw(5);
          REQUIRE(call<ConvolutionBackwardData>(
              cuda::convolution_backward_data, cuda::convolution_workspace,
              {y.device, w.device, {dx.device, add}, s.stride, s.padding}));
          REQUIRE(call<ConvolutionBackwardData>(
              reference::convolution_backward_data, reference::convolution_workspace,
              {y.host, w.host, {dx.host, add}, s.stride, s.padding}, false));
          CHECK(dx.same());
          REQUIRE(call<ConvolutionBackwardWeights>(
              cuda::convolution_backward_weights, cuda::convolution_workspace,
              {x.device, y.device, {dw.device, add}, s.stride, s.padding}));
          REQUIRE(call<ConvolutionBackwardWeights>(
              reference::convolution_backward_weights, reference::convolution_workspace,
              {x.host, y.host, {dw.host, add}, s.stride, s.padding}, false));
          CHECK(dw.same());
        }
        REQUIRE(call<ConvolutionForward>(cuda::convolution_forward, cuda::convolution_workspace,
                                         {x.device, w.device, y.device, s.stride, s.padding}));
        REQUIRE(call<ConvolutionForward>(reference::convolution_forward,
                                         reference::convolution_workspace,
                                         {x.host, w.host, y.host, s.stride, s.padding}, false));
        CHECK(y.same());
      }
  set_threads(0);
  CHECK(host_cuda::faults().empty());
}

TEST_CASE("linear layers against the reference") {
  host_cuda::clear_faults();
  const int64_t shapes[][3] = {{1, 1, 1}, {5, 7, 14}, {33, 20, 130}, {300, 3, 3}};  // N, I, O
  for (const Dtype d : kDtypes)
    for (const auto& [N, I, O] : shapes) {
      CAPTURE(name_of(d));
      CAPTURE(O);
      Pair x({N, I}, d), w({O, I}, d), y({N, O}, d), b({O}, Dtype::f32);
      x.draw(1), w.draw(2), b.draw(3);
      for (const bool bias : {true, false}) {
        REQUIRE(call<LinearForward>(cuda::linear_forward, cuda::linear_workspace,
                                    {x.device, w.device, bias ? b.device : View{}, y.device}));
        REQUIRE(call<LinearForward>(reference::linear_forward, nullptr,
                                    {x.host, w.host, bias ? b.host : View{}, y.host}, false));
        CHECK(y.difference() <= eps(d));
        if (!bias) CHECK(y.same());
      }
      y.draw(4);
      for (const bool add : {false, true}) {
        Pair dx({N, I}, d), dw({O, I}, d), db({O}, Dtype::f32);
        if (add) dx.draw(5), dw.draw(6), db.draw(7);
        REQUIRE(call<LinearBackward>(
            cuda::linear_backward, cuda::linear_workspace,
            {y.device, x.device, w.device, {dx.device, add}, {dw.device, add}, {db.device, add}}));
        REQUIRE(call<LinearBackward>(
            reference::linear_backward, nullptr,
            {y.host, x.host, w.host, {dx.host, add}, {dw.host, add}, {db.host, add}}, false));
        CHECK(dx.same());
        CHECK(dw.same());
        CHECK(db.difference() <= 16 * eps(Dtype::f32));
        const std::vector<std::byte> once = db.download();
        Pair again({O}, Dtype::f32);
        again.draw(7);
        REQUIRE(call<LinearBackward>(cuda::linear_backward, cuda::linear_workspace,
                                     {y.device, x.device, w.device, {}, {}, {again.device, add}}));
        CHECK(again.download() == once);
      }
    }
  CHECK(host_cuda::faults().empty());
}

TEST_CASE("the ops refuse what does not fit") {
  const Forward f(Dtype::f32);
  const auto refused = [](ConvolutionForward a) {
    return call(cuda::convolution_forward, cuda::convolution_workspace, a).code;
  };
  ConvolutionForward a = f.args();
  a.padding = 0;
  CHECK(refused(a) == StatusCode::invalid);
  a = f.args();
  a.stride = 0;
  CHECK(refused(a) == StatusCode::invalid);
  a = f.args();
  a.w.dtype = Dtype::f16;
  CHECK(refused(a) == StatusCode::invalid);
  a = f.args();
  a.x.data = nullptr;
  CHECK(refused(a) == StatusCode::invalid);
  a = f.args();
  a.x.dtype = a.w.dtype = a.y.dtype = Dtype::f64;
  CHECK(refused(a) == StatusCode::unsupported);
  CHECK(cuda::convolution_forward(nullptr, f.args()).code == StatusCode::invalid);  // no workspace

  Pair x({2, 3}, Dtype::f32), w({4, 3}, Dtype::f32), y({2, 4}, Dtype::f32), b({3}, Dtype::f32);
  x.draw(1), w.draw(2), b.draw(3);
  const LinearForward l{x.device, w.device, b.device, y.device};
  CHECK(call(cuda::linear_forward, cuda::linear_workspace, l).code == StatusCode::invalid);
  CHECK(cuda::linear_forward(nullptr, {x.device, w.device, {}, y.device}).code ==
        StatusCode::invalid);
}

TEST_CASE("cuDNN's argument checks") {
  static cudnnHandle_t h = nullptr;  // these live on, as in the ops: there is no call to end them
  CHECK(cudnnCreate(nullptr) == CUDNN_STATUS_BAD_PARAM);
  REQUIRE(cudnnCreate(&h) == CUDNN_STATUS_SUCCESS);
  CHECK(cudnnSetStream(nullptr, nullptr) == CUDNN_STATUS_BAD_PARAM);
  static cudnnTensorDescriptor_t x, y;
  static cudnnFilterDescriptor_t w;
  static cudnnConvolutionDescriptor_t k;
  REQUIRE(cudnnCreateTensorDescriptor(&x) == CUDNN_STATUS_SUCCESS);
  REQUIRE(cudnnCreateTensorDescriptor(&y) == CUDNN_STATUS_SUCCESS);
  REQUIRE(cudnnCreateFilterDescriptor(&w) == CUDNN_STATUS_SUCCESS);
  REQUIRE(cudnnCreateConvolutionDescriptor(&k) == CUDNN_STATUS_SUCCESS);
  static constexpr auto kAlgo = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
  size_t bytes = 0;
  const auto ask = [&](int algorithm = 1) {
    return cudnnGetConvolutionForwardWorkspaceSize(h, x, w, k, y,
                                                   cudnnConvolutionFwdAlgo_t(algorithm), &bytes);
  };
  CHECK(ask() == CUDNN_STATUS_BAD_PARAM);  // nothing is set yet
  const auto set = [&](cudnnTensorFormat_t format, cudnnDataType_t type) {
    REQUIRE(cudnnSetTensor4dDescriptor(x, format, type, 2, 4, 6, 6) == CUDNN_STATUS_SUCCESS);
    REQUIRE(cudnnSetTensor4dDescriptor(y, format, type, 2, 8, 6, 6) == CUDNN_STATUS_SUCCESS);
    REQUIRE(cudnnSetFilter4dDescriptor(w, type, format, 8, 4, 3, 3) == CUDNN_STATUS_SUCCESS);
  };
  const auto set_convolution = [&](int pad, int dilation, cudnnDataType_t compute) {
    return cudnnSetConvolution2dDescriptor(k, pad, pad, 1, 1, dilation, dilation,
                                           CUDNN_CROSS_CORRELATION, compute);
  };
  CHECK(cudnnSetTensor4dDescriptor(x, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 2, 0, 6, 6) ==
        CUDNN_STATUS_BAD_PARAM);
  CHECK(set_convolution(-1, 1, CUDNN_DATA_FLOAT) == CUDNN_STATUS_BAD_PARAM);
  set(CUDNN_TENSOR_NHWC, CUDNN_DATA_HALF);
  REQUIRE(set_convolution(1, 1, CUDNN_DATA_FLOAT) == CUDNN_STATUS_SUCCESS);
  CHECK(ask() == CUDNN_STATUS_SUCCESS);
  CHECK(bytes > 0);
  const size_t needed = bytes;
  CHECK(ask(0) == CUDNN_STATUS_SUCCESS);
  CHECK(bytes == 0);
  CHECK(ask(7) == CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(cudnnGetConvolutionForwardWorkspaceSize(h, x, w, k, y, kAlgo, nullptr) ==
        CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnGetConvolutionForwardWorkspaceSize(nullptr, x, w, k, y, kAlgo, &bytes) ==
        CUDNN_STATUS_BAD_PARAM);

  const Forward f(Dtype::f16);
  Pair memory({int64_t(needed)}, Dtype::u8);
  const float one = 1, zero = 0, two = 2;
  const auto run = [&](const float* alpha, const void* px, void* work, size_t size,
                       const float* beta) {
    return cudnnConvolutionForward(h, alpha, x, px, w, f.w.device.data, k, kAlgo, work, size, beta,
                                   y, f.y.device.data);
  };
  const void* px = f.x.device.data;
  void* work = memory.device.data;
  CHECK(run(&one, px, work, needed - 1, &zero) == CUDNN_STATUS_BAD_PARAM);
  CHECK(run(&one, px, nullptr, needed, &zero) == CUDNN_STATUS_BAD_PARAM);
  CHECK(run(&one, nullptr, work, needed, &zero) == CUDNN_STATUS_BAD_PARAM);
  CHECK(run(&one, static_cast<const char*>(px) + 2, work, needed, &zero) == CUDNN_STATUS_BAD_PARAM);
  CHECK(run(nullptr, px, work, needed, &zero) == CUDNN_STATUS_BAD_PARAM);
  CHECK(run(&two, px, work, needed, &zero) == CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(run(&one, px, work, needed, &zero) == CUDNN_STATUS_SUCCESS);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);

  REQUIRE(set_convolution(0, 1, CUDNN_DATA_FLOAT) == CUDNN_STATUS_SUCCESS);
  CHECK(ask() == CUDNN_STATUS_BAD_PARAM);  // y has another shape
  REQUIRE(set_convolution(2, 2, CUDNN_DATA_FLOAT) == CUDNN_STATUS_SUCCESS);
  CHECK(ask() == CUDNN_STATUS_NOT_SUPPORTED);  // dilation
  REQUIRE(set_convolution(1, 1, CUDNN_DATA_HALF) == CUDNN_STATUS_SUCCESS);
  CHECK(ask() == CUDNN_STATUS_NOT_SUPPORTED);
  REQUIRE(set_convolution(1, 1, CUDNN_DATA_FLOAT) == CUDNN_STATUS_SUCCESS);
  set(CUDNN_TENSOR_NCHW, CUDNN_DATA_HALF);
  CHECK(ask() == CUDNN_STATUS_NOT_SUPPORTED);
  set(CUDNN_TENSOR_NHWC, CUDNN_DATA_DOUBLE);
  CHECK(ask() == CUDNN_STATUS_NOT_SUPPORTED);
  set(CUDNN_TENSOR_NHWC, CUDNN_DATA_HALF);
  REQUIRE(cudnnSetFilter4dDescriptor(w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC, 8, 4, 3, 3) ==
          CUDNN_STATUS_SUCCESS);
  CHECK(ask() == CUDNN_STATUS_BAD_PARAM);
  REQUIRE(cudnnSetFilter4dDescriptor(w, CUDNN_DATA_HALF, CUDNN_TENSOR_NHWC, 8, 5, 3, 3) ==
          CUDNN_STATUS_SUCCESS);
  CHECK(ask() == CUDNN_STATUS_BAD_PARAM);
}

TEST_CASE("cuBLAS: argument checks, leading dimensions, alpha and beta") {
  static cublasHandle_t h = nullptr;
  CHECK(cublasCreate(nullptr) == CUBLAS_STATUS_INVALID_VALUE);
  REQUIRE(cublasCreate(&h) == CUBLAS_STATUS_SUCCESS);
  CHECK(cublasSetStream(nullptr, nullptr) == CUBLAS_STATUS_NOT_INITIALIZED);
  Pair workspace({1024}, Dtype::u8);
  CHECK(cublasSetWorkspace(h, workspace.device.as<char>() + 64, 512) ==
        CUBLAS_STATUS_INVALID_VALUE);
  CHECK(cublasSetWorkspace(h, workspace.device.data, 1024) == CUBLAS_STATUS_SUCCESS);
  // a [2,3] in columns of 4 places, b [3,2] in columns of 3, c [2,2] in columns of 3.
  Pair a({12}, Dtype::f32), b({6}, Dtype::f32), c({6}, Dtype::f32);
  for (Pair* p : {&a, &b, &c}) {
    for (int i = 0; i < p->host.count(); ++i) p->host.as<float>()[i] = float(i + 1);
    p->upload();
  }
  const float alpha = 2, beta = 3;
  cublasOperation_t op = CUBLAS_OP_N;
  cudaDataType type = CUDA_R_32F, type_c = CUDA_R_32F;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  int m = 2, k = 3, lda = 4, ldb = 3, ldc = 3;
  const auto run = [&](cublasHandle_t handle, const void* pa) {
    return cublasGemmEx(handle, op, CUBLAS_OP_N, m, 2, k, &alpha, pa, type, lda, b.device.data,
                        type, ldb, &beta, c.device.data, type_c, ldc, compute, CUBLAS_GEMM_DEFAULT);
  };
  const auto fails_with = [&](auto& what, auto value, cublasStatus_t expected) {
    const auto old = what;
    what = static_cast<std::remove_reference_t<decltype(what)>>(value);
    CHECK(run(h, a.device.data) == expected);
    what = old;
  };
  CHECK(run(nullptr, a.device.data) == CUBLAS_STATUS_NOT_INITIALIZED);
  CHECK(run(h, nullptr) == CUBLAS_STATUS_INVALID_VALUE);
  fails_with(m, -1, CUBLAS_STATUS_INVALID_VALUE);
  fails_with(lda, 1, CUBLAS_STATUS_INVALID_VALUE);
  fails_with(ldb, 2, CUBLAS_STATUS_INVALID_VALUE);
  fails_with(ldc, 1, CUBLAS_STATUS_INVALID_VALUE);
  fails_with(op, 5, CUBLAS_STATUS_INVALID_VALUE);
  fails_with(type, CUDA_R_64F, CUBLAS_STATUS_NOT_SUPPORTED);
  fails_with(type_c, CUDA_R_16F, CUBLAS_STATUS_NOT_SUPPORTED);
  fails_with(compute, CUBLAS_COMPUTE_16F, CUBLAS_STATUS_NOT_SUPPORTED);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  CHECK(c.same());  // none of these did anything
  REQUIRE(run(h, a.device.data) == CUBLAS_STATUS_SUCCESS);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  // c = 2 a b + 3 c with a = [1 5 9; 2 6 10], b = [1 4; 2 5; 3 6]; the third place stays.
  const float expected[] = {2 * 38 + 3, 2 * 44 + 6, 3, 2 * 83 + 12, 2 * 98 + 15, 6};
  std::memcpy(c.host.data, expected, sizeof expected);
  CHECK(c.same());
}

TEST_CASE("libraries name what they touch") {
  host_cuda::clear_faults();
  cudaStream_t one, other;
  REQUIRE(cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking) == cudaSuccess);
  REQUIRE(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking) == cudaSuccess);
  {
    Forward f(Dtype::f32);
    Pair w1({64}, Dtype::u8), w2({64}, Dtype::u8), dx({2, 6, 6, 4}, Dtype::f32);
    REQUIRE(cuda::read_conv_table(
        "forward f32 x 2,6,6,4 w 8,3,3,4 stride 1 padding 1 algorithm 0 workspace 0 math fma\n"));
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    REQUIRE(cuda::convolution_forward(one, f.args()));
    ConvolutionBackwardData back{f.y.device, f.w.device, {dx.device, true}, 1, 1};
    Pair memory({int64_t(cuda::convolution_workspace(back))}, Dtype::u8);
    back.workspace = memory.device;
    REQUIRE(cuda::convolution_backward_data(other, back));  // y comes from the other stream
    cudaDeviceSynchronize();
    bool dependency = false, unwritten = false;
    for (const host_cuda::Fault& fault : host_cuda::faults()) {
      dependency |= fault.kind == host_cuda::FaultKind::dependency;
      unwritten |= fault.kind == host_cuda::FaultKind::unwritten;  // dx, which is added to
    }
    CHECK(dependency);
    CHECK(unwritten);
    host_cuda::clear_faults();
    back.dx.add = false;
    REQUIRE(cuda::convolution_backward_data(other, back));
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    CHECK(host_cuda::faults().empty());
    REQUIRE(cuda::read_conv_table(""));
  }
  cudaStreamDestroy(one);
  cudaStreamDestroy(other);
}

TEST_CASE("a build that is too new for its chip, or a chip too old for any, says so") {
  const auto said = [](int major, int minor, int cuda, size_t cudnn) {
    const char* why = pneuma::cuda::why_not_on(major, minor, cuda, cudnn);
    return std::string(why ? why : "");
  };
  CHECK(said(7, 0, 12090, 91002) == "");
  CHECK(said(7, 0, 12000, 8907) == "");
  CHECK(said(7, 5, 13000, 91400) == "");
  CHECK(said(10, 0, 13000, 91400) == "");
  CHECK(said(7, 0, 13000, 91002).find("build with CUDA 12") != std::string::npos);
  CHECK(said(7, 0, 12090, 91100).find("9.10.2 is the last") != std::string::npos);
  CHECK(said(6, 1, 12090, 91002).find("older than sm_70") != std::string::npos);
}

TEST_CASE("the table of choices") {
  REQUIRE(cuda::read_conv_table(""));
  const Forward f(Dtype::f16);
  REQUIRE(f.run());
  const char* key = "forward f16 x 2,6,6,4 w 8,3,3,4 stride 1 padding 1 ";
  const std::string chosen = cuda::conv_choices();
  CHECK(has(chosen.c_str(), (std::string(key) + "algorithm 1 workspace ").c_str()));
  CHECK(has(chosen.c_str(), " math tensor\n"));
  const std::vector<std::byte> bits = f.y.download();

  // What was printed can be read, and forces the same.
  REQUIRE(cuda::read_conv_table(chosen.c_str()));
  CHECK(std::string(cuda::conv_choices()).empty());  // nothing is chosen under the new table yet
  REQUIRE(f.run());
  CHECK(has(chosen.c_str(), cuda::conv_choices()));

  // Another algorithm; a line of a shape that nobody has; comments.
  const std::string zero = std::string("# mine\n\n") + key +
                           "algorithm 0 workspace 99 math fma\r\n"
                           "forward f32 x 1,9,9,1 w 1,3,3,1 stride 1 padding 1 algorithm 7 "
                           "workspace 0 math fma";
  REQUIRE(cuda::read_conv_table(zero.c_str()));
  CHECK(cuda::convolution_workspace(f.args()) == 0);
  REQUIRE(f.run());
  const std::string forced = std::string(key) + "algorithm 0 workspace 0 math fma\n";
  CHECK(cuda::conv_choices() == forced);
  CHECK(f.y.download() == bits);

  // What must not be read, in whose place the old table stays.
  const std::string data = "backward_data f32 x 1,9,9,1 w 1,3,3,1 stride 1 padding 1 algorithm ";
  const std::string weights =
      "backward_weights f32 x 1,9,9,1 w 1,3,3,1 stride 1 padding 1 algorithm ";
  const std::pair<std::string, const char*> wrong[] = {
      {data + "0 workspace 0 math fma", "not deterministic"},
      {weights + "0 workspace 0 math fma", "not deterministic"},
      {weights + "3 workspace 0 math fma", "not deterministic"},
      {weights + "9 workspace 0 math fma", "unknown"},
      {data + "1 workspace 0 math tensor", "f32 goes with math fma only"},
      {data + "1 workspace 0 math tf32", "math is fma or tensor"},
      {data + "1 workspace 0 math fma or so", "it must read"},
      {data + "one workspace 0 math fma", "it must read"},
      {"forward", "it must read"},
      {"sideways f32 x 1,9,9,1 w 1,3,3,1 stride 1 padding 1 algorithm 1 workspace 0 math fma",
       "the pass is"},
      {"forward f64 x 1,9,9,1 w 1,3,3,1 stride 1 padding 1 algorithm 1 workspace 0 math fma",
       "the dtype is"},
      {"forward f32 x 1,9,9,1 w 1,3,3,2 stride 1 padding 1 algorithm 1 workspace 0 math fma",
       "different C"}};
  for (const auto& [line, part] : wrong) {
    CAPTURE(line);
    const Status s = cuda::read_conv_table(("\n" + line + "\n").c_str());
    CHECK(s.code == StatusCode::invalid);
    CHECK(has(s.message, "line 2 of the conv table: "));
    CHECK(has(s.message, part));
  }
  CHECK(cuda::conv_choices() == forced);

  // Deterministic, but not to be had for this shape.
  REQUIRE(
      cuda::read_conv_table((std::string(key) + "algorithm 6 workspace 0 math tensor").c_str()));
  CHECK(cuda::convolution_workspace(f.args()) == 0);
  CHECK(cuda::convolution_forward(nullptr, f.args()).code == StatusCode::unsupported);
  REQUIRE(cuda::read_conv_table(""));
  REQUIRE(f.run());
}

}  // namespace pneuma
