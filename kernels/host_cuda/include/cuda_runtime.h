// The subset of CUDA's cuda_runtime.h that kernels/cuda uses, for a CPU: see ../host_cuda.h.
#pragma once

#define CUDART_VERSION 12090

#include "kernels/host_cuda/device_side.h"
#include "kernels/host_cuda/runtime_api.h"
#include "kernels/host_cuda/vectors.h"
