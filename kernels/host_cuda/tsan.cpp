// The functions that code compiled with -fsanitize=thread calls before it touches memory. Outside
// of kernels they do nothing.
#include <cstdint>

#include "kernels/host_cuda/block.h"

using pneuma::host_cuda::running;

#define PN_SEEN(address, bytes, writes) \
  if (running) [[unlikely]]             \
  running->access({uintptr_t(address), bytes, writes, false, __builtin_return_address(0)})

extern "C" {

#define PN_ACCESS(bytes)                                         \
  void __tsan_read##bytes(void* p) { PN_SEEN(p, bytes, false); } \
  void __tsan_write##bytes(void* p) { PN_SEEN(p, bytes, true); }
PN_ACCESS(1)
PN_ACCESS(2)
PN_ACCESS(4)
PN_ACCESS(8)
PN_ACCESS(16)
void __tsan_read_range(void* p, unsigned long bytes) { PN_SEEN(p, bytes, false); }
void __tsan_write_range(void* p, unsigned long bytes) { PN_SEEN(p, bytes, true); }

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void*, void*) {}
void __tsan_vptr_read(void*) {}

// Atomics of host code in the same files, such as the guards of static variables.
#define PN_TSAN_ATOMICS(bits, T)                                                            \
  T __tsan_atomic##bits##_load(const volatile T* p, int) {                                  \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                            \
  }                                                                                         \
  void __tsan_atomic##bits##_store(volatile T* p, T v, int) {                               \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                               \
  }                                                                                         \
  T __tsan_atomic##bits##_fetch_add(volatile T* p, T v, int) {                              \
    return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                                      \
  }                                                                                         \
  bool __tsan_atomic##bits##_compare_exchange_strong(volatile T* p, T* e, T v, int, int) {  \
    return __atomic_compare_exchange_n(p, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }
PN_TSAN_ATOMICS(8, uint8_t)
PN_TSAN_ATOMICS(32, uint32_t)
PN_TSAN_ATOMICS(64, uint64_t)

}  // extern "C"
