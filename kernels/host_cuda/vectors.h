// CUDA's built-in vector types, those that we use, with the alignment of the real ones.
#pragma once

#include <cstddef>
#include <cstdint>

#define PN_VECTORS(base, T)                                          \
  struct base##1 {                                                   \
    T x;                                                             \
  };                                                                 \
  struct alignas(2 * sizeof(T)) base##2 {                            \
    T x, y;                                                          \
  };                                                                 \
  struct base##3 {                                                   \
    T x, y, z;                                                       \
  };                                                                 \
  struct alignas(4 * sizeof(T) > 16 ? 16 : 4 * sizeof(T)) base##4 {  \
    T x, y, z, w;                                                    \
  };                                                                 \
  inline base##1 make_##base##1(T x) { return {x}; }                 \
  inline base##2 make_##base##2(T x, T y) { return {x, y}; }         \
  inline base##3 make_##base##3(T x, T y, T z) { return {x, y, z}; } \
  inline base##4 make_##base##4(T x, T y, T z, T w) { return {x, y, z, w}; }

PN_VECTORS(char, signed char)
PN_VECTORS(uchar, unsigned char)
PN_VECTORS(short, short)
PN_VECTORS(ushort, unsigned short)
PN_VECTORS(int, int)
PN_VECTORS(uint, unsigned int)
PN_VECTORS(longlong, long long)
PN_VECTORS(ulonglong, unsigned long long)
PN_VECTORS(float, float)
PN_VECTORS(double, double)
#undef PN_VECTORS

struct dim3 {
  unsigned int x = 1, y = 1, z = 1;
  constexpr dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  constexpr operator uint3() const { return {x, y, z}; }
};
