// Reduction: the sum of squares of an array, as the gradient norm needs it. A float sum depends on
// its order, and atomics have none, so every rung adds in an order that the count alone decides.
#include <cmath>
#include <memory>

#include "bench/ladder/array.h"
#include "bench/ladder/ladder.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/memory.cuh"
#include "kernels/cuda/reduce.cuh"

namespace pneuma::ladder {
namespace {

using cuda::blocks_of, cuda::launch;

constexpr int kThreads = 256, kTreeDepth = 8;  // 2^8 threads
constexpr int kEach = 16;                      // numbers of one thread, where it takes several
constexpr int kBlockDepth = 5 + kThreads / cuda::kWarp;  // additions of block_sum on the way

// One thread adds all: the definition. Every other lane of the chip waits.
__global__ void one_thread_kernel(const float* x, int64_t count, float* sum_of_all) {
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += x[i] * x[i];
  *sum_of_all = sum;
}

// A block adds 256 numbers by a tree in shared memory, and leaves one; launches follow until one is
// left of all. Neighbours first: in step d every 2d-th thread works, so all warps go around eight
// times with fewer and fewer of their lanes.
enum class Tree { neighbours, packed, halves };
template <Tree kTree>
__global__ void tree_kernel(const float* x, int64_t count, bool square, float* sums) {
  __shared__ float s[kThreads];
  const int t = int(threadIdx.x);
  const int64_t i = int64_t{blockIdx.x} * kThreads + t;
  const float v = i < count ? x[i] : 0;
  s[t] = square ? v * v : v;
  __syncthreads();
  if constexpr (kTree == Tree::neighbours)
    for (int d = 1; d < kThreads; d *= 2) {
      if (t % (2 * d) == 0) s[t] += s[t + d];
      __syncthreads();
    }
  // The same additions by the first threads: whole warps drop out early. But lanes now stand 2d
  // words apart, up to 32 of them on one bank, which serves them one after the other.
  if constexpr (kTree == Tree::packed)
    for (int d = 1; d < kThreads; d *= 2) {
      if (const int at = 2 * d * t; at < kThreads) s[at] += s[at + d];
      __syncthreads();
    }
  // The upper half is added to the lower: the first threads again, and neighbours in memory.
  if constexpr (kTree == Tree::halves)
    for (int d = kThreads / 2; d > 0; d /= 2) {
      if (t < d) s[t] += s[t + d];
      __syncthreads();
    }
  if (t == 0) sums[blockIdx.x] = s[0];
}

// A thread first adds 16 numbers of its own, in a register; then lanes hand theirs on by shuffles,
// without shared memory or barriers; only the eight warps' sums meet there.
__global__ void shuffle_kernel(const float* x, int64_t count, bool square, float* sums) {
  const int64_t first = int64_t{blockIdx.x} * kThreads * kEach + threadIdx.x;
  float sum = 0;
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const int64_t i = first + k * kThreads;
    const float v = i < count ? x[i] : 0;
    sum += square ? v * v : v;
  }
  sum = cuda::block_sum<kThreads>(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// The same in accesses of 16 bytes: a quarter of the instructions for the same bytes.
__global__ void wide_kernel(const float* x, int64_t count, bool square, float* sums) {
  constexpr int kLanes = cuda::kLanes<float>;
  const int64_t first = int64_t{blockIdx.x} * kThreads * kEach + threadIdx.x * kLanes;
  float sum = 0;
#pragma unroll
  for (int k = 0; k < kEach / kLanes; ++k)
    cuda::for_vector<kLanes>(first + k * kThreads * kLanes, count, [&]<int kN>(int64_t i) {
      float v[kN];
      cuda::load<kN>(x + i, v);
#pragma unroll
      for (int j = 0; j < kN; ++j) sum += square ? v[j] * v[j] : v[j];
    });
  sum = cuda::block_sum<kThreads>(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

struct Data {
  explicit Data(int64_t count)
      : count(count),
        host_x(numbers<float>(count, 1)),
        x(host_x),
        sums(2 * blocks_of(count, kThreads) + 16),
        result(1),
        state(1),
        item{nullptr,    x.data(),   nullptr,    nullptr, nullptr, count,
             Dtype::f32, Dtype::f32, Dtype::f32, 0,       0},
        items(std::vector<ParameterUpdate>{item}),
        workspace(int64_t(cuda::gradient_check_workspace({&item, nullptr, 1}))) {
    for (const float v : host_x) want += double(v) * double(v);
  }

  // Launches the kernel over what is left until that is one number.
  Status by_levels(void (*kernel)(const float*, int64_t, bool, float*), int64_t of_block) {
    const float* from = x.data();
    float* to = sums.data();
    for (int64_t left = count; left > 1 || from == x.data();) {
      const int64_t blocks = blocks_of(left, of_block);
      const Status s = launch(kernel, dim3(unsigned(blocks)), kThreads, 0, nullptr, from, left,
                              from == x.data(), blocks == 1 ? result.data() : to);
      if (!s) return s;
      from = to;
      to += blocks_of(blocks, 4) * 4;  // the next level loads 16 bytes at a time
      left = blocks;
    }
    return {};
  }
  int64_t levels(int64_t of_block) const {
    int64_t n = 0, left = count;
    do ++n;
    while ((left = blocks_of(left, of_block)) > 1);
    return n;
  }

  int64_t count;
  std::vector<float> host_x;
  Array<float> x, sums, result;
  Array<StepState> state;
  ParameterUpdate item;
  Array<ParameterUpdate> items;
  Array<uint8_t> workspace;
  double want = 0;
  bool is_norm = false;  // the rung in use leaves the root, in the state
};

}  // namespace

Ladder reduction(int64_t count) {
  const auto d = std::make_shared<Data>(count);
  const auto levels = [d](auto kernel, int64_t each) {
    return [d, kernel, each] { return d->by_levels(kernel, each); };
  };
  const int64_t tree = d->levels(kThreads) * kTreeDepth + 1;
  const int64_t many = d->levels(kThreads * kEach) * (kEach + kBlockDepth) + 1;
  Ladder l{"reduction", "sum of squares of " + std::to_string(count) + " f32",
           double(count) * sizeof(float), 0};
  l.reset = [d] {
    d->result.fill(NAN);
    d->state.fill(StepState{});
    d->is_norm = false;
  };
  l.check = [d](const Rung& rung) -> Check {
    const double norm = d->state.values()[0].gradient_norm;
    const double got = d->is_norm ? norm * norm : double(d->result.values()[0]);
    return {std::abs(got - d->want) / d->want, double(rung.roundings) * kRounding};
  };
  l.rungs = {
      {"one thread", "the definition: one lane works, one long chain of additions rounds", count,
       [d] {
         return launch(one_thread_kernel, dim3(1), 1, 0, nullptr, d->x.data(), d->count,
                       d->result.data());
       }},
      {"tree of neighbours", "256 numbers a block in 8 steps; a short chain rounds less", tree,
       levels(tree_kernel<Tree::neighbours>, kThreads)},
      {"lanes packed", "the first threads work, so whole warps are done early; banks collide", tree,
       levels(tree_kernel<Tree::packed>, kThreads)},
      {"tree of halves", "lanes side by side in shared memory: no two on one bank", tree,
       levels(tree_kernel<Tree::halves>, kThreads)},
      {"shuffles", "16 numbers a thread, then registers: few barriers, fewer blocks", many,
       levels(shuffle_kernel, kThreads * kEach)},
      {"16 bytes", "four numbers an access: the same bytes by a quarter of the instructions", many,
       levels(wide_kernel, kThreads * kEach)},
      {"in use", "gradient_check: sums in double, finds inf and NaN, all tensors in one launch", 4,
       [d] {
         d->is_norm = true;
         return cuda::gradient_check(nullptr,
                                     {&d->item,
                                      d->items.data(),
                                      1,
                                      d->state.data(),
                                      {},
                                      d->workspace.view({d->workspace.count()}, Dtype::u8)});
       }},
  };
  return l;
}

}  // namespace pneuma::ladder
