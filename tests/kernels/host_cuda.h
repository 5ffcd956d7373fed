// Kernels of host_cuda_test: correct ones, and beside them twins with one planted fault.
#pragma once

#include "kernels/host_cuda/include/cuda_fp16.h"
#include "kernels/host_cuda/vectors.h"

namespace pneuma::test {

void copy_kernel(const uint4* x, uint4* y, int n);        // one 16-byte access each
void copy_pairs_kernel(const uint2* x, uint2* y, int n);  // 8 bytes
void copy_bytes_kernel(const unsigned char* x, unsigned char* y, int n);
void copy_struct_kernel(const uint4* x, uint4* y, int n);  // through a local that is worked on
void scale_kernel(const float* x, float* y, int n, int stride, float by);
void write_kernel(float* y, int64_t at, float value);    // y[at] = value, by one thread
void read_kernel(const float* x, int64_t at, float* y);  // *y = x[at]
void read_double_kernel(const char* x, double* y);       // *y = *(double*)x
void spin_kernel(float* y, int turns);                   // takes its time, then y[0] += 1
void add_one_kernel(float* y, int n);

void reverse_kernel(float* x, bool barrier);       // 256 threads turn x around in shared memory
void dynamic_kernel(float* x, int at);             // dynamic shared memory, touched up to `at`
void static_bounds_kernel(float* y, int at);       // reads word `at` of an array of 8 between two
void unwritten_shared_kernel(float* y, bool all);  // all: every word is written before it is read
template <class T>
void exchange_kernel(T* x);  // 64 threads turn all but x[0] around, in an array and a scalar of T
void transpose_kernel(const float* x, float* y, int pitch);  // 32 x 32 through shared memory
void warp_order_kernel(float* y, bool sync);  // neighbours in a warp exchange in shared memory
void divergent_kernel(int* y, int how);       // 0: no fault, 1: another barrier, 2: return, 3: warp
void barrier_counts_kernel(int* y);           // count, and, or
void order_kernel(int* order, int* next);     // in which order threads came
void sum_kernel(const float* x, float* y, int n);  // shuffles, then shared memory; one block
void shuffle_kernel(int* y);                       // 32 x {idx, up, down, xor, width 8, ballot}
void atomics_kernel(int* y, unsigned long long* z);
void indices_kernel(int* y);
void half_kernel(const __half2* x, const __half2* y, __half2* z, int n);  // z = x y + z
void wmma_kernel(const __half* a, const __half* b, float* c, bool a_by_columns, bool b_by_columns);

struct Arguments {  // as large as kernels pass them by value
  float* y;
  float values[40];
};
void arguments_kernel(Arguments arguments);
void constants_kernel(float* y);

}  // namespace pneuma::test
