// What the program file that holds the kernels (the plugin, or a test) says of itself: names,
// constants and the places of static shared memory, read from its symbols.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace pneuma::host_cuda {

std::string name_of_function(const void* function);  // "pneuma::cuda::fill_kernel<float>"
bool is_constant(uintptr_t address, size_t bytes);
// A variable in shared memory, by its distance from the start of the thread-local block.
std::string name_of_shared(size_t offset);
std::pair<uintptr_t, size_t> thread_local_block();  // of the thread that asks

}  // namespace pneuma::host_cuda
