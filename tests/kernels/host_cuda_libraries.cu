// The ops of kernels/cuda that rest on libraries, without the rest of the plugin.
#include "kernels/cuda/convolution.cpp"
#include "kernels/cuda/linear.cu"
