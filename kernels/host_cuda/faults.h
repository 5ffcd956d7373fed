// Where faults are written down, and the error that synchronising then returns.
#pragma once

#include <string>

#include "kernels/host_cuda/control.h"
#include "kernels/host_cuda/runtime_api.h"

namespace pneuma::host_cuda {

// `place` tells one fault of a kernel from another: a return address, an allocation, a line.
void report(FaultKind kind, const std::string& who, uint64_t place, const std::string& sentence);
cudaError_t pending_error();     // of the faults since they were last cleared
const char* pending_sentence();  // of the first of them; stays until the next clearing

std::string text(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace pneuma::host_cuda
