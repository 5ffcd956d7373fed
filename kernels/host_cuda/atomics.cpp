// Atomics of kernels. Blocks run on several threads of the system, so they are atomic here too.
#include <algorithm>

#include "kernels/host_cuda/block.h"
#include "kernels/host_cuda/device_side.h"

namespace pneuma::host_cuda {
namespace {

template <class T>
T apply(Atomic what, T old, T value) {
  switch (what) {
    case Atomic::add:
      return T(old + value);
    case Atomic::max:
      return std::max(old, value);
    case Atomic::min:
      return std::min(old, value);
    case Atomic::exchange:
      return value;
    case Atomic::bit_or:
      return old | value;
    case Atomic::bit_and:
      return old & value;
  }
  return old;
}

template <class T>
void watch(T* address) {
  if (running)
    running->access({uintptr_t(address), sizeof(T), true, true, __builtin_return_address(0)});
}

}  // namespace

template <class T>
T atomic(Atomic what, T* address, T value) {
  watch(address);
  T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(address, &old, apply(what, old, value), true,
                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}
template <class T>
T compare_and_swap(T* address, T expected, T value) {
  watch(address);
  __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}

#define PN_FOR(T)                   \
  template T atomic(Atomic, T*, T); \
  template T compare_and_swap(T*, T, T);
PN_FOR(int)
PN_FOR(unsigned)
PN_FOR(unsigned long long)

}  // namespace pneuma::host_cuda
