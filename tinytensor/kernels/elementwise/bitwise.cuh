// For the functors of ops/elementwise/bitwise.py.
#pragma once
#include "elementwise.cuh"

// Whether 0 <= b < number of bits of A. Other shifts are undefined in C++.
template <class A> __device__ __forceinline__ bool is_shift(A b) { return wrapping<A>(b) < 8 * sizeof(A); }
