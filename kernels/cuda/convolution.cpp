// Convolution by cuDNN, through the descriptors that its versions 8 and 9 share: NHWC tensors, OHWI
// weights (cuDNN calls the format NHWC too), sums in float. f16 and bf16 go to the tensor cores;
// f32 is computed in f32, never in TF32.
//
// The rule, for each pass and shape: of the pass's `order`, the first algorithm whose workspace is
// at most kWorkspaceCap; where none is, the one with the least. A table may force another, under no
// cap. Nothing but deterministic algorithms, either way.
#include <cudnn.h>

#include <compare>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/library.h"

namespace pneuma::cuda {
namespace {

constexpr size_t kWorkspaceCap = size_t{512} << 20;

enum class Pass { forward, backward_data, backward_weights };
struct Rule {
  const char* name;
  std::vector<int> order;
  std::vector<int> deterministic;  // as cuDNN documents them; no other may run
};
const Rule& rule_of(Pass pass) {
  static const Rule rules[] = {
      {"forward",
       {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM},
       {0, 1, 2, 3, 4, 5, 6, 7}},
      {"backward_data", {CUDNN_CONVOLUTION_BWD_DATA_ALGO_1}, {1, 2, 3, 4, 5}},       // 0 is not
      {"backward_weights", {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1}, {1, 2, 4, 5, 6}},  // 0, 3 are not
  };
  return rules[int(pass)];
}

struct Key {
  Pass pass;
  Dtype dtype;
  int N, H, W, C, O, R, S, stride, padding;
  auto operator<=>(const Key&) const = default;
};
struct Choice {
  int algorithm = 0;
  size_t workspace = 0;
  cudnnMathType_t math = CUDNN_FMA_MATH;
};
struct Entry {
  cudnnTensorDescriptor_t x = nullptr, y = nullptr;
  cudnnFilterDescriptor_t w = nullptr;
  cudnnConvolutionDescriptor_t convolution = nullptr;
  bool chosen = false;
  Choice choice;
};

// Of the whole process, whose devices are taken to be alike; never destroyed, as the handles.
struct Tables {
  std::mutex mutex;
  std::map<Key, Entry> entries;
  std::map<Key, Choice> forced;
  std::string text, fault;  // what conv_choices and read_conv_table last answered
};
Tables& tables() {
  static Tables& t = *new Tables;
  return t;
}

Status status_of(cudnnStatus_t error, Dtype dtype = Dtype::f32) {
  if (error == CUDNN_STATUS_SUCCESS) return {};
  // cuDNN 8 has two codes for it, cuDNN 9 a family of a thousand.
  if (error == CUDNN_STATUS_NOT_SUPPORTED || error == CUDNN_STATUS_ARCH_MISMATCH ||
      int(error) / 1000 * 1000 == int(CUDNN_STATUS_NOT_SUPPORTED)) {
    return {
        StatusCode::unsupported,
        dtype == Dtype::bf16
            ? "cuDNN has no such convolution in bf16; that needs compute capability 8.0 or newer"
            : "cuDNN does not support this algorithm for this convolution on this chip"};
  }
  return {error == CUDNN_STATUS_ALLOC_FAILED ? StatusCode::out_of_memory : StatusCode::device,
          cudnnGetErrorString(error)};
}
#define PN_CUDNN(call) \
  if (const Status pn_s = status_of(call); !pn_s) return pn_s

Status handle(cudnnHandle_t* h) {
  return library_handle(h, [](cudnnHandle_t* made) { return status_of(cudnnCreate(made)); });
}

// The three tensors of a convolution, whatever the pass.
struct Call {
  Pass pass;
  View x, w, y;
  bool add;
  int stride, padding;
  View workspace;
};
Call call_of(const ConvolutionForward& a) {
  return {Pass::forward, a.x, a.w, a.y, false, a.stride, a.padding, a.workspace};
}
Call call_of(const ConvolutionBackwardData& a) {
  return {Pass::backward_data, a.dx, a.w, a.dy, a.dx.add, a.stride, a.padding, a.workspace};
}
Call call_of(const ConvolutionBackwardWeights& a) {
  return {Pass::backward_weights, a.x, a.dw, a.dy, a.dw.add, a.stride, a.padding, a.workspace};
}

Status key_of(const Call& c, Key* key) {
  for (const View* v : {&c.x, &c.w, &c.y}) {
    PN_REQUIRE(v->rank == 4 && v->count() > 0 && v->dtype == c.x.dtype,
               "convolution: x, w and y must be [N,H,W,C], [O,R,S,C], [N,P,Q,O] of one dtype, none "
               "empty");
    PN_REQUIRE(v->count() <= INT32_MAX, "convolution: a tensor has 2^31 elements or more");
  }
  PN_REQUIRE(c.stride >= 1 && c.padding >= 0,
             "convolution: stride must be at least 1, padding at least 0");
  for (int i = 1; i <= 2; ++i)
    PN_REQUIRE(c.x.dims[i] + 2 * c.padding >= c.w.dims[i] &&
                   c.y.dims[i] == (c.x.dims[i] + 2 * c.padding - c.w.dims[i]) / c.stride + 1,
               "convolution: y must be [N,(H+2p-R)/s+1,(W+2p-S)/s+1,O]");
  PN_REQUIRE(c.x.dims[0] == c.y.dims[0] && c.x.dims[3] == c.w.dims[3] && c.y.dims[3] == c.w.dims[0],
             "convolution: N, C or O differ between x, w and y");
  const auto x = [&](int i) { return int(c.x.dims[i]); };
  const auto w = [&](int i) { return int(c.w.dims[i]); };
  *key = {c.pass, c.x.dtype, x(0), x(1), x(2), x(3), w(0), w(1), w(2), c.stride, c.padding};
  return dispatch(key->dtype, [](auto) { return Status{}; });
}

Status describe(const Key& k, Entry* e) {
  const cudnnDataType_t type = k.dtype == Dtype::f16    ? CUDNN_DATA_HALF
                               : k.dtype == Dtype::bf16 ? CUDNN_DATA_BFLOAT16
                                                        : CUDNN_DATA_FLOAT;
  const int P = (k.H + 2 * k.padding - k.R) / k.stride + 1;
  const int Q = (k.W + 2 * k.padding - k.S) / k.stride + 1;
  PN_CUDNN(cudnnCreateTensorDescriptor(&e->x));
  PN_CUDNN(cudnnCreateTensorDescriptor(&e->y));
  PN_CUDNN(cudnnCreateFilterDescriptor(&e->w));
  PN_CUDNN(cudnnCreateConvolutionDescriptor(&e->convolution));
  PN_CUDNN(cudnnSetTensor4dDescriptor(e->x, CUDNN_TENSOR_NHWC, type, k.N, k.C, k.H, k.W));
  PN_CUDNN(cudnnSetTensor4dDescriptor(e->y, CUDNN_TENSOR_NHWC, type, k.N, k.O, P, Q));
  PN_CUDNN(cudnnSetFilter4dDescriptor(e->w, type, CUDNN_TENSOR_NHWC, k.O, k.C, k.R, k.S));
  PN_CUDNN(cudnnSetConvolution2dDescriptor(e->convolution, k.padding, k.padding, k.stride, k.stride,
                                           1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
  return {};
}

cudnnStatus_t workspace_of(cudnnHandle_t h, Pass pass, const Entry& e, int algorithm,
                           size_t* bytes) {
  switch (pass) {
    case Pass::forward:
      return cudnnGetConvolutionForwardWorkspaceSize(h, e.x, e.w, e.convolution, e.y,
                                                     cudnnConvolutionFwdAlgo_t(algorithm), bytes);
    case Pass::backward_data:
      return cudnnGetConvolutionBackwardDataWorkspaceSize(
          h, e.w, e.y, e.convolution, e.x, cudnnConvolutionBwdDataAlgo_t(algorithm), bytes);
    case Pass::backward_weights:
      break;
  }
  return cudnnGetConvolutionBackwardFilterWorkspaceSize(
      h, e.x, e.y, e.convolution, e.w, cudnnConvolutionBwdFilterAlgo_t(algorithm), bytes);
}

Status choose(cudnnHandle_t h, const Key& key, const Choice* forced, Entry* e) {
  Choice& best = e->choice;
  best = {.math = key.dtype == Dtype::f32 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH};
  if (forced) best.math = forced->math;
  PN_CUDNN(cudnnSetConvolutionMathType(e->convolution, best.math));
  cudnnStatus_t error = CUDNN_STATUS_SUCCESS;
  for (const int algorithm : forced ? std::vector{forced->algorithm} : rule_of(key.pass).order) {
    size_t bytes = 0;
    error = workspace_of(h, key.pass, *e, algorithm, &bytes);
    if (error != CUDNN_STATUS_SUCCESS) continue;
    if (!e->chosen || bytes < best.workspace) best = {algorithm, bytes, best.math};
    e->chosen = true;
    if (bytes <= kWorkspaceCap) break;
  }
  return e->chosen ? Status{} : status_of(error, key.dtype);
}

// Descriptors and algorithm for this call: found, or made.
Status find(cudnnHandle_t h, const Key& key, Entry* entry) {
  Tables& t = tables();
  const std::lock_guard lock(t.mutex);
  const auto place = t.entries.find(key);
  if (place != t.entries.end()) *entry = place->second;
  if (!entry->x)
    if (const Status s = describe(key, entry); !s) return s;
  if (!entry->chosen) {
    const auto forced = t.forced.find(key);
    if (const Status s =
            choose(h, key, forced == t.forced.end() ? nullptr : &forced->second, entry);
        !s)
      return s;
    t.entries[key] = *entry;
  }
  return {};
}

template <class Args>
size_t workspace(const Args& a) {
  const Call c = call_of(a);
  Key key;
  Entry e;
  cudnnHandle_t h;
  return key_of(c, &key) && handle(&h) && find(h, key, &e) ? e.choice.workspace : 0;
}

template <class Args>
Status run(Stream stream, const Args& a) {
  const Call c = call_of(a);
  Key key;
  Entry e;
  cudnnHandle_t h;
  if (const Status s = key_of(c, &key); !s) return s;
  PN_REQUIRE(c.x.data && c.w.data && c.y.data, "convolution: x, w or y has no memory");
  if (const Status s = handle(&h); !s) return s;
  if (const Status s = find(h, key, &e); !s) return s;
  const Choice& choice = e.choice;
  PN_REQUIRE(c.workspace.bytes() >= choice.workspace, "convolution: the workspace is too small");
  PN_CUDNN(cudnnSetStream(h, static_cast<cudaStream_t>(stream)));
  const float alpha = 1, beta = c.add ? 1 : 0;
  void* const memory = choice.workspace ? c.workspace.data : nullptr;
  switch (c.pass) {
    case Pass::forward:
      return status_of(
          cudnnConvolutionForward(h, &alpha, e.x, c.x.data, e.w, c.w.data, e.convolution,
                                  cudnnConvolutionFwdAlgo_t(choice.algorithm), memory,
                                  choice.workspace, &beta, e.y, c.y.data),
          key.dtype);
    case Pass::backward_data:
      return status_of(
          cudnnConvolutionBackwardData(h, &alpha, e.w, c.w.data, e.y, c.y.data, e.convolution,
                                       cudnnConvolutionBwdDataAlgo_t(choice.algorithm), memory,
                                       choice.workspace, &beta, e.x, c.x.data),
          key.dtype);
    case Pass::backward_weights:
      break;
  }
  return status_of(
      cudnnConvolutionBackwardFilter(h, &alpha, e.x, c.x.data, e.y, c.y.data, e.convolution,
                                     cudnnConvolutionBwdFilterAlgo_t(choice.algorithm), memory,
                                     choice.workspace, &beta, e.w, c.w.data),
      key.dtype);
}

constexpr const char* kTensor = "tensor";  // names of the math types
constexpr const char* kFma = "fma";

// One line of a table; what is wrong with it, or null.
const char* parse(const std::string& line, Key* k, Choice* choice) {
  char pass[24] = "", dtype[8] = "", math[8] = "";
  int C = 0, end = -1;
  const int fields = std::sscanf(
      line.c_str(),
      "%23s %7s x %d,%d,%d,%d w %d,%d,%d,%d stride %d padding %d algorithm %d workspace %zu math "
      "%7s %n",
      pass, dtype, &k->N, &k->H, &k->W, &k->C, &k->O, &k->R, &k->S, &C, &k->stride, &k->padding,
      &choice->algorithm, &choice->workspace, math, &end);
  if (fields != 15 || end != int(line.size()))
    return "it must read: PASS DTYPE x N,H,W,C w O,R,S,C stride S padding P algorithm A workspace "
           "BYTES math fma|tensor";
  if (C != k->C) return "x and w have different C";
  const Rule* rule = nullptr;
  for (const Pass p : {Pass::forward, Pass::backward_data, Pass::backward_weights})
    if (!std::strcmp(pass, rule_of(p).name)) k->pass = p, rule = &rule_of(p);
  if (!rule) return "the pass is forward, backward_data or backward_weights";
  bool known = false;
  for (const Dtype d : {Dtype::f32, Dtype::f16, Dtype::bf16})
    if (!std::strcmp(dtype, name_of(d))) k->dtype = d, known = true;
  if (!known) return "the dtype is f32, f16 or bf16";
  if (std::strcmp(math, kFma) && std::strcmp(math, kTensor)) return "math is fma or tensor";
  choice->math = std::strcmp(math, kFma) ? CUDNN_TENSOR_OP_MATH : CUDNN_FMA_MATH;
  if (k->dtype == Dtype::f32 && choice->math != CUDNN_FMA_MATH)
    return "f32 goes with math fma only; tensor would compute in TF32";
  for (const int algorithm : rule->deterministic)
    if (algorithm == choice->algorithm) return nullptr;
  return "the algorithm is unknown or not deterministic";
}

}  // namespace

size_t convolution_workspace(const ConvolutionForward& a) { return workspace(a); }
size_t convolution_workspace(const ConvolutionBackwardData& a) { return workspace(a); }
size_t convolution_workspace(const ConvolutionBackwardWeights& a) { return workspace(a); }
Status convolution_forward(Stream stream, const ConvolutionForward& a) { return run(stream, a); }
Status convolution_backward_data(Stream stream, const ConvolutionBackwardData& a) {
  return run(stream, a);
}
Status convolution_backward_weights(Stream stream, const ConvolutionBackwardWeights& a) {
  return run(stream, a);
}

// The new table takes the old one's place, whole or not at all; the bytes of a workspace are asked
// of cuDNN anew. Blank lines and lines that begin with # say nothing.
Status read_conv_table(const char* text) {
  std::map<Key, Choice> forced;
  Tables& t = tables();
  const std::lock_guard lock(t.mutex);
  int number = 0;
  for (const char* at = text; *at;) {
    const std::string line(at, std::strcspn(at, "\n"));
    at += line.size() + (at[line.size()] == '\n');
    ++number;
    if (line[std::min(line.size(), line.find_first_not_of(" \t\r"))] == '\0' || line[0] == '#')
      continue;
    Key key{};
    Choice choice;
    if (const char* wrong = parse(line, &key, &choice)) {
      t.fault = "line " + std::to_string(number) + " of the conv table: " + wrong;
      return {StatusCode::invalid, t.fault.c_str()};
    }
    forced[key] = choice;
  }
  t.forced.swap(forced);
  for (auto& [key, entry] : t.entries) entry.chosen = false;
  return {};
}

const char* conv_choices() {
  Tables& t = tables();
  const std::lock_guard lock(t.mutex);
  t.text.clear();
  for (const auto& [k, e] : t.entries) {
    if (!e.chosen) continue;
    char line[256];
    std::snprintf(line, sizeof line,
                  "%s %s x %d,%d,%d,%d w %d,%d,%d,%d stride %d padding %d algorithm %d workspace "
                  "%zu math %s\n",
                  rule_of(k.pass).name, name_of(k.dtype), k.N, k.H, k.W, k.C, k.O, k.R, k.S, k.C,
                  k.stride, k.padding, e.choice.algorithm, e.choice.workspace,
                  e.choice.math == CUDNN_FMA_MATH ? kFma : kTensor);
    t.text += line;
  }
  return t.text.c_str();
}

}  // namespace pneuma::cuda
