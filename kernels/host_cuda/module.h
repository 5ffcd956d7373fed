// What the program file that holds the kernels (the plugin, or a test) says of itself: names,
// constants and the places of static shared memory, read from its symbols.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace pneuma::host_cuda {

std::string name_of_function(const void* function);  // "pneuma::cuda::fill_kernel<float>"
size_t static_shared_of(const void* function);       // bytes that it declares itself
bool is_constant(uintptr_t address, size_t bytes);

// A variable in shared memory; `begin` counts from the start of the thread-local block.
struct SharedArray {
  size_t begin = 0, bytes = 0;
  std::string name;
};
const SharedArray* shared_array(size_t offset);  // that nearest before; null: none is known
std::string name_of_shared(size_t offset);
std::pair<uintptr_t, size_t> thread_local_block();  // of the thread that asks

}  // namespace pneuma::host_cuda
