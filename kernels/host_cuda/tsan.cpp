// The functions that code compiled with -fsanitize=thread calls before it touches memory. Outside
// of kernels they do nothing.
#include <cstdint>

#include "kernels/host_cuda/block.h"
#include "kernels/host_cuda/device_side.h"

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

// The guards of static variables in host code of the same files.
uint8_t __tsan_atomic8_load(const volatile uint8_t* p, int) {
  return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

}  // extern "C"

void pneuma::host_cuda::see_atomic(void* address, size_t bytes, const void* site) {
  if (running) running->access({uintptr_t(address), bytes, true, true, site});
}
