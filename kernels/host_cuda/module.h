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
// Variables in static or dynamic shared memory, by their distance from the start of the
// thread-local block: number 0 is none, and all of a program whose symbols were stripped is 0.
uint16_t shared_variable_at(size_t offset);
size_t shared_variable_bytes(uint16_t number);
bool knows_shared_variables();
// "tile byte 8 of 128", of the variable at `offset` or the last one before it.
std::string name_of_shared(size_t offset);
std::pair<uintptr_t, size_t> thread_local_block();  // of the thread that asks

}  // namespace pneuma::host_cuda
