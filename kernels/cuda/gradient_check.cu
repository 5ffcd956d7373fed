// One pass over all gradients: is each finite, and the norm of them all (the unscaling is one
// division of the norm here, and one factor in optimizer_step.cu). Squares are summed in double, so
// that no finite gradient overflows. By their peak rates a V100, A100 or H100 sums faster than the
// gradients arrive; chips with few units for double (sm_75, sm_86, sm_89) do not. A block's partial
// sum has one place, and one block adds all of them in their order. Then the scaler's state machine
// moves, on the device, unseen by the host.
#include <cmath>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/items.cuh"
#include "kernels/cuda/reduce.cuh"

namespace pneuma::cuda {
namespace {

// A block has a chunk, so a thread has 4,096 / 256 gradients: two accesses of 16 bytes of f16 (four
// of f32), all on the way at once. The finish is one block, as large as there are.
constexpr int kThreads = 256, kFinishThreads = 1024;

constexpr int64_t kNone = INT64_MAX;
// One a chunk, each in an array of its own, so that a warp reads them whole.
struct Partials {
  double* squares;
  int64_t* bads;  // index of the item with an inf or a NaN, or kNone
};

template <class T>
__device__ double sum_of_squares(const void* gradient, int64_t begin, int64_t end) {
  constexpr int kVector = kLanes<T>;
  const T* g = static_cast<const T*>(gradient);
  double sum = 0;
#pragma unroll 4
  for (int64_t i = begin + threadIdx.x * kVector; i < end; i += kThreads * kVector)
    for_vector<kVector>(i, end, [&]<int kN>(int64_t at) {
      float v[kN];
      load<kN>(g + at, v);
#pragma unroll
      for (int k = 0; k < kN; ++k) sum += double(v[k]) * double(v[k]);
    });
  return sum;
}

__global__ void __launch_bounds__(kThreads)
    gradient_check_kernel(const ParameterUpdate* items, int64_t count, Partials partials) {
  const int64_t index = item_of(items, count, blockIdx.x);
  const ParameterUpdate& item = items[index];
  const int64_t begin = (blockIdx.x - item.first_chunk) * kParameterChunk;
  const int64_t end = begin + kParameterChunk < item.count ? begin + kParameterChunk : item.count;
  double sum = 0;
  if (item.gradient_dtype == Dtype::f32) sum = sum_of_squares<float>(item.gradient, begin, end);
  if (item.gradient_dtype == Dtype::f16) sum = sum_of_squares<__half>(item.gradient, begin, end);
  if (item.gradient_dtype == Dtype::bf16)
    sum = sum_of_squares<__nv_bfloat16>(item.gradient, begin, end);
  sum = block_sum<kThreads>(sum);
  // A float squared is finite as a double, so the sum is finite where every element is.
  if (threadIdx.x != 0) return;
  partials.squares[blockIdx.x] = sum;
  partials.bads[blockIdx.x] = sum - sum == 0.0 ? kNone : index;
}

__global__ void __launch_bounds__(kFinishThreads)
    gradient_check_finish_kernel(Partials partials, int64_t chunks, StepState* state,
                                 ScalerPolicy scaler) {
  __shared__ int64_t bads[kFinishThreads / kWarp];
  double sum = 0;
  int64_t bad = kNone;
  for (int64_t i = threadIdx.x; i < chunks; i += kFinishThreads) {
    sum += partials.squares[i];
    bad = partials.bads[i] < bad ? partials.bads[i] : bad;
  }
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const int64_t other = __shfl_down_sync(kAllLanes, (long long)bad, unsigned(distance));
    bad = other < bad ? other : bad;
  }
  if (threadIdx.x % kWarp == 0) bads[threadIdx.x / kWarp] = bad;
  sum = block_sum<kFinishThreads>(sum);
  if (threadIdx.x != 0) return;
  for (int64_t w : bads) bad = w < bad ? w : bad;
  state->check(bad == kNone ? -1 : bad, sqrt(sum) / state->loss_scale, scaler);
}

}  // namespace

size_t gradient_check_workspace(const GradientCheck& a) {
  int64_t chunks = 0;
  for (int64_t i = 0; i < a.count; ++i) chunks += blocks_of(a.items[i].count, kParameterChunk);
  return size_t(chunks) * (sizeof(double) + sizeof(int64_t));
}

Status gradient_check(Stream stream, const GradientCheck& a) {
  int64_t chunks;
  PN_REQUIRE(a.state && a.items && a.device_items, "gradient check: state or items are absent");
  PN_REQUIRE(are_numbered(a.items, a.count, &chunks),
             "gradient check: first_chunk does not count the chunks before an item");
  for (int64_t i = 0; i < a.count; ++i)
    PN_REQUIRE(a.items[i].gradient && is_float(a.items[i].gradient_dtype),
               "gradient check: a gradient is absent, or not f32, f16 or bf16");
  PN_REQUIRE(a.workspace.bytes() >= gradient_check_workspace(a),
             "gradient check: the workspace is too small");
  double* squares = a.workspace.as<double>();
  const Partials partials{squares, reinterpret_cast<int64_t*>(squares + chunks)};
  if (const Status s = launch(gradient_check_kernel, dim3(unsigned(chunks)), kThreads, 0, stream,
                              a.device_items, a.count, partials);
      !s)
    return s;
  return launch(gradient_check_finish_kernel, dim3(1), kFinishThreads, 0, stream, partials, chunks,
                a.state, a.scaler);
}

}  // namespace pneuma::cuda
