// The formulas of pointwise.h over whole tensors, fill, and the cast between dtypes. Each thread
// has one 16-byte access per operand; 256 threads a block leave every chip at full occupancy, since
// none of these kernels needs more than 32 registers.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/memory.cuh"
#include "kernels/pointwise.h"

namespace pneuma::cuda {
namespace {

constexpr int kThreads = 256;

template <int kN>
__device__ int64_t first_element() {
  return (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kN;
}
template <int kN>
dim3 grid_of(int64_t count) {
  return dim3(unsigned(blocks_of(count, kThreads * kN)));
}

// Two f16 at a time, where that gives the bits of float arithmetic rounded once: a float holds the
// product of two of them exactly, and more than twice their sum's bits.
template <class Formula>
struct Halves {
  static constexpr bool kExact = false;
  __device__ static __half2 forward(__half2 a, __half2) { return a; }  // never called
};
template <>
struct Halves<pointwise::Relu> {
  static constexpr bool kExact = true;
  __device__ static __half2 forward(__half2 a, __half2) {
    return __hmax2(a, __float2half2_rn(0.f));
  }
};
template <>
struct Halves<pointwise::Add> {
  static constexpr bool kExact = true;
  __device__ static __half2 forward(__half2 a, __half2 b) { return __hadd2(a, b); }
};
template <>
struct Halves<pointwise::Multiply> {
  static constexpr bool kExact = true;
  __device__ static __half2 forward(__half2 a, __half2 b) { return __hmul2(a, b); }
};

template <class Formula, class T>
__global__ void __launch_bounds__(kThreads)
    pointwise_forward_kernel(const T* a, const T* b, T* y, float alpha, int64_t count) {
  for_vector<kLanes<T>>(first_element<kLanes<T>>(), count, [&]<int kN>(int64_t i) {
    if constexpr (std::is_same_v<T, __half> && Halves<Formula>::kExact && kN % 2 == 0) {
      Packed<__half2, kN / 2> pa, pb, py;
      pa.bits = *reinterpret_cast<const uint4*>(a + i);
      pb.bits = *reinterpret_cast<const uint4*>((b ? b : a) + i);
#pragma unroll
      for (int k = 0; k < kN / 2; ++k) py.at[k] = Halves<Formula>::forward(pa.at[k], pb.at[k]);
      *reinterpret_cast<uint4*>(y + i) = py.bits;
      return;
    }
    float va[kN], vb[kN] = {}, vy[kN];
    load<kN>(a + i, va);
    if (b) load<kN>(b + i, vb);
#pragma unroll
    for (int k = 0; k < kN; ++k) vy[k] = Formula::forward(va[k], vb[k], alpha);
    store<kN>(y + i, vy);
  });
}

template <class T>
struct PointwiseGradients {
  const T *a, *b, *y, *dy;  // b may be null
  T *da, *db;               // each may be null
  bool add_da, add_db;
  float alpha;
};

template <class Formula, class T>
__global__ void __launch_bounds__(kThreads)
    pointwise_backward_kernel(PointwiseGradients<T> p, int64_t count) {
  for_vector<kLanes<T>>(first_element<kLanes<T>>(), count, [&]<int kN>(int64_t i) {
    float va[kN] = {}, vb[kN] = {}, vy[kN] = {}, vdy[kN], da[kN] = {}, db[kN] = {};
    if constexpr (Formula::kNeedsInputs) {
      load<kN>(p.a + i, va);
      if (p.b) load<kN>(p.b + i, vb);
    }
    if constexpr (Formula::kNeedsOutput) load<kN>(p.y + i, vy);
    load<kN>(p.dy + i, vdy);
#pragma unroll
    for (int k = 0; k < kN; ++k)
      Formula::gradient(va[k], vb[k], vy[k], vdy[k], p.alpha, &da[k], &db[k]);
    if (p.da) put<kN>(p.da + i, da, p.add_da);
    if (p.db) put<kN>(p.db + i, db, p.add_db);
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads) fill_kernel(T* y, float value, int64_t count) {
  for_vector<kLanes<T>>(first_element<kLanes<T>>(), count, [&]<int kN>(int64_t i) {
    float v[kN];
#pragma unroll
    for (int k = 0; k < kN; ++k) v[k] = value;
    store<kN>(y + i, v);
  });
}

template <class From, class To>
__global__ void __launch_bounds__(kThreads)
    convert_kernel(const From* x, To* y, bool add, int64_t count) {
  constexpr int kMost = kLanes<From> < kLanes<To> ? kLanes<From> : kLanes<To>;
  for_vector<kMost>(first_element<kMost>(), count, [&]<int kN>(int64_t i) {
    float v[kN];
    load<kN>(x + i, v);
    put<kN>(y + i, v, add);
  });
}

}  // namespace

Status pointwise_forward(Stream stream, const PointwiseForward& a) {
  PN_REQUIRE(are_like(a.a, {a.a, either(a.b, a.a), a.y}), "pointwise: a, b and y are not alike");
  return dispatch(a.a.dtype, [&]<class T>(T) -> Status {
    return pointwise::dispatch(a.op, [&](auto formula) {
      return launch(pointwise_forward_kernel<decltype(formula), T>, grid_of<kLanes<T>>(a.y.count()),
                    kThreads, 0, stream, a.a.as<const T>(), a.b.as<const T>(), a.y.as<T>(),
                    float(a.alpha), a.y.count());
    });
  });
}

Status pointwise_backward(Stream stream, const PointwiseBackward& a) {
  PN_REQUIRE(
      are_like(a.a, {a.a, either(a.b, a.a), a.y, a.dy, either(a.da, a.a), either(a.db, a.a)}),
      "pointwise: a, b, y, dy, da and db are not alike");
  return dispatch(a.a.dtype, [&]<class T>(T) -> Status {
    return pointwise::dispatch(a.op, [&](auto formula) {
      const PointwiseGradients<T> p{a.a.as<const T>(),  a.b.as<const T>(), a.y.as<const T>(),
                                    a.dy.as<const T>(), a.da.as<T>(),      a.db.as<T>(),
                                    a.da.add,           a.db.add,          float(a.alpha)};
      return launch(pointwise_backward_kernel<decltype(formula), T>,
                    grid_of<kLanes<T>>(a.y.count()), kThreads, 0, stream, p, a.y.count());
    });
  });
}

Status fill(Stream stream, const Fill& a) {
  PN_REQUIRE(a.y.data, "fill: y is absent");
  if (a.value == 0 && 1 / a.value > 0)  // +0, in every dtype
    return status_of(cudaMemsetAsync(a.y.data, 0, a.y.bytes(), static_cast<cudaStream_t>(stream)));
  return dispatch(a.y.dtype, [&]<class T>(T) -> Status {
    return launch(fill_kernel<T>, grid_of<kLanes<T>>(a.y.count()), kThreads, 0, stream, a.y.as<T>(),
                  float(a.value), a.y.count());
  });
}

Status convert(Stream stream, const Convert& a) {
  PN_REQUIRE(a.x.data && a.y.data && a.x.count() == a.y.count(),
             "convert: x and y have different numbers of elements");
  return dispatch(a.x.dtype, [&]<class From>(From) -> Status {
    return dispatch(a.y.dtype, [&]<class To>(To) -> Status {
      constexpr int kMost = kLanes<From> < kLanes<To> ? kLanes<From> : kLanes<To>;
      return launch(convert_kernel<From, To>, grid_of<kMost>(a.x.count()), kThreads, 0, stream,
                    a.x.as<const From>(), a.y.as<To>(), a.y.add, a.x.count());
    });
  });
}

}  // namespace pneuma::cuda
