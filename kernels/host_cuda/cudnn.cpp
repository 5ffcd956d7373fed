// Stands in for cuDNN: the argument checks of the real one, and the reference's convolution, on
// floats, which hold every 16-bit number, with sums in double and one rounding at the end.
#include <cudnn.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <thread>

#include "kernels/host_cuda/host_cuda.h"
#include "kernels/host_cuda/library.h"
#include "kernels/reference/reference.h"

namespace pneuma::host_cuda {
namespace {

using Tensor = cudnnTensorStruct;
constexpr uintptr_t kDataAlignment = 16;
constexpr size_t kWorkspaceStep = 256;
constexpr int kChannels = 16;  // outputs of one piece of backward_filter
using Pass = cudnnPass;
constexpr const char* kNames[] = {"cudnnConvolutionForward", "cudnnConvolutionBackwardData",
                                  "cudnnConvolutionBackwardFilter"};

Dtype dtype_of(const Tensor& t) {
  return t.type == CUDNN_DATA_HALF       ? Dtype::f16
         : t.type == CUDNN_DATA_BFLOAT16 ? Dtype::bf16
                                         : Dtype::f32;
}
int64_t count_of(const Tensor& t) { return int64_t{t.n} * t.c * t.h * t.w; }

cudnnStatus_t check(const cudnnCall& a) {
  if (!a.handle || !a.x || !a.w || !a.y || !a.how) return CUDNN_STATUS_BAD_PARAM;
  const Tensor &x = *a.x, &w = *a.w, &y = *a.y;
  const cudnnConvolutionStruct& k = *a.how;
  const auto fits = [](int in, int window, int pad, int stride, int dilation, int out) {
    const int room = in + 2 * pad - ((window - 1) * dilation + 1);
    return room >= 0 && out == room / stride + 1;
  };
  if (!x.set || !w.set || !y.set || !k.set || x.type != w.type || x.type != y.type || x.n != y.n ||
      x.c != w.c || y.c != w.n || !fits(x.h, w.h, k.pad_h, k.stride_h, k.dilation_h, y.h) ||
      !fits(x.w, w.w, k.pad_w, k.stride_w, k.dilation_w, y.w))
    return CUDNN_STATUS_BAD_PARAM;
  for (const Tensor* t : {&x, &w, &y})
    if (t->format != CUDNN_TENSOR_NHWC || t->type == CUDNN_DATA_DOUBLE)
      return CUDNN_STATUS_NOT_SUPPORTED;
  if (a.algorithm < 0 || a.algorithm > 1 || k.mode != CUDNN_CROSS_CORRELATION ||
      k.compute != CUDNN_DATA_FLOAT || k.dilation_h != 1 || k.dilation_w != 1 ||
      k.pad_h != k.pad_w || k.stride_h != k.stride_w)
    return CUDNN_STATUS_NOT_SUPPORTED;
  return CUDNN_STATUS_SUCCESS;
}

// Of what such algorithms keep: offsets of the places of a window; partial sums of a gradient.
size_t workspace_of(const cudnnCall& a) {
  if (a.algorithm == 0) return 0;
  const Tensor& output = a.pass == Pass::backward_data ? *a.x : *a.y;
  const size_t bytes = a.pass == Pass::backward_filter
                           ? 2 * sizeof(float) * size_t(count_of(*a.w))
                           : sizeof(int) * size_t(a.w->h * a.w->w * a.w->c + output.h * output.w);
  return (bytes + kWorkspaceStep - 1) / kWorkspaceStep * kWorkspaceStep;
}

// piece(0) ... piece(count - 1), by several threads. Which thread takes which changes no bit.
template <class F>
void in_parallel(int count, F piece) {
  std::atomic<int> next{0};
  const auto work = [&] {
    for (int i; (i = next++) < count;) piece(i);
  };
  const int set = settings().threads, most = set ? set : int(std::thread::hardware_concurrency());
  std::vector<std::thread> others;
  for (int t = 1; t < std::min(count, most); ++t) others.emplace_back(work);
  work();
  for (std::thread& t : others) t.join();
}

// Images [first, first + n) of t; for weights, outputs.
View part(const std::vector<float>& values, const Tensor& t, int first, int n) {
  return {const_cast<float*>(values.data()) + first * (count_of(t) / t.n), {n, t.h, t.w, t.c}, 4};
}

// check() lets nothing pass that the reference refuses.
template <class Args>
void run(Status (*kernel)(Stream, const Args&), Args a) {
  std::vector<double> sums(reference::convolution_workspace(a) / sizeof(double));
  a.workspace = {sums.data(), {int64_t(sums.size() * sizeof(double))}, 1, Dtype::u8};
  if (!kernel(nullptr, a)) std::abort();
}

// Images are independent in the first two passes, outputs in the third. An output that is not added
// to is not read.
struct Work {
  Pass pass;
  Tensor x, w, y;
  Range px, pw, py, output;
  int stride, padding;
  bool add;

  std::vector<float> values(const Range& r, const Tensor& t) const {
    if (r.memory == output.memory && !add) return std::vector<float>(size_t(count_of(t)));
    return floats_of(dtype_of(t), r.memory, count_of(t));
  }
  void operator()() const {
    std::vector<float> vx = values(px, x), vw = values(pw, w), vy = values(py, y);
    const View whole_w = part(vw, w, 0, w.n);
    if (pass == Pass::backward_filter) {
      in_parallel((w.n + kChannels - 1) / kChannels, [&](int piece) {
        const int first = piece * kChannels, some = std::min(kChannels, w.n - first);
        std::vector<float> dy;  // of these outputs alone
        for (size_t at = size_t(first); at < vy.size(); at += size_t(y.c))
          dy.insert(dy.end(), &vy[at], &vy[at] + some);
        const View dy_view{dy.data(), {y.n, y.h, y.w, some}, 4};
        run(reference::convolution_backward_weights,
            {part(vx, x, 0, x.n), dy_view, {part(vw, w, first, some), add}, stride, padding, {}});
      });
    } else {
      in_parallel(x.n, [&](int n) {
        const View image = part(vx, x, n, 1), result = part(vy, y, n, 1);
        if (pass == Pass::forward)
          run(reference::convolution_forward, {image, whole_w, result, stride, padding, {}});
        else
          run(reference::convolution_backward_data,
              {result, whole_w, {image, add}, stride, padding, {}});
      });
    }
    store_floats(dtype_of(x), const_cast<void*>(output.memory),
                 pass == Pass::forward         ? vy
                 : pass == Pass::backward_data ? vx
                                               : vw);
  }
};

}  // namespace
}  // namespace pneuma::host_cuda

using namespace pneuma;
using namespace pneuma::host_cuda;

cudnnStatus_t cudnn_workspace(const cudnnCall& a, size_t* bytes) {
  const cudnnStatus_t status = bytes ? check(a) : CUDNN_STATUS_BAD_PARAM;
  if (status == CUDNN_STATUS_SUCCESS) *bytes = workspace_of(a);
  return status;
}

cudnnStatus_t cudnn_run(const cudnnCall& a, const void* x, const void* w, const void* y,
                        void* workspace, size_t bytes, const void* alpha, const void* beta) {
  if (const cudnnStatus_t status = check(a); status != CUDNN_STATUS_SUCCESS) return status;
  const size_t needed = workspace_of(a);
  if (!alpha || !beta || !x || !w || !y || bytes < needed || (needed && !workspace))
    return CUDNN_STATUS_BAD_PARAM;
  for (const void* p : {x, w, y, static_cast<const void*>(workspace)})
    if (uintptr_t(p) % kDataAlignment) return CUDNN_STATUS_BAD_PARAM;
  const float scale = *static_cast<const float*>(alpha), keep = *static_cast<const float*>(beta);
  if (scale != 1 || (keep != 0 && (keep != 1 || a.pass == Pass::forward)))
    return CUDNN_STATUS_NOT_SUPPORTED;
  const auto range = [](const void* p, const Tensor& t) {
    return Range{p, size_t(count_of(t)) * size_of(dtype_of(t))};
  };
  Work work{a.pass, *a.x, *a.w, *a.y, range(x, *a.x), range(w, *a.w), range(y, *a.y)};
  work.output = a.pass == Pass::forward         ? work.py
                : a.pass == Pass::backward_data ? work.px
                                                : work.pw;
  work.stride = a.how->stride_h;
  work.padding = a.how->pad_h;
  work.add = keep != 0;
  std::vector<Range> reads;
  for (const Range& r : {work.px, work.pw, work.py})
    if (r.memory != work.output.memory || work.add) reads.push_back(r);
  const cudaError_t error = enqueue(a.handle->stream, kNames[int(a.pass)], work, reads,
                                    {work.output, {workspace, needed}});
  return error == cudaSuccess ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}

cudnnStatus_t cudnn_set(Tensor* t, const Tensor& value) {
  if (!t || value.n < 1 || value.c < 1 || value.h < 1 || value.w < 1) return CUDNN_STATUS_BAD_PARAM;
  return *t = value, CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnn_set(cudnnConvolutionStruct* k, const cudnnConvolutionStruct& v) {
  if (!k || v.pad_h < 0 || v.pad_w < 0 || v.stride_h < 1 || v.stride_w < 1 || v.dilation_h < 1 ||
      v.dilation_w < 1)
    return CUDNN_STATUS_BAD_PARAM;
  return *k = v, CUDNN_STATUS_SUCCESS;
}

const char* cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_SUCCESS            ? "CUDNN_STATUS_SUCCESS"
         : status == CUDNN_STATUS_BAD_PARAM        ? "CUDNN_STATUS_BAD_PARAM"
         : status == CUDNN_STATUS_NOT_SUPPORTED    ? "CUDNN_STATUS_NOT_SUPPORTED"
         : status == CUDNN_STATUS_EXECUTION_FAILED ? "CUDNN_STATUS_EXECUTION_FAILED"
                                                   : "another cuDNN status";
}
