// The kernels of host_cuda_test, whose planted faults are here.
#include "tests/kernels/host_cuda.cu"
