// Powers, for the functor of ops/elementwise/power.py. Integers wrap around, as in NumPy.
#pragma once
#include "bounds.cuh"
#include "elementwise.cuh"

// Reports a negative exponent of an integer, since the power would be a fraction. Reads n exponents once.
template <class T> __global__ void check_exponents(const T* exponents, Bounds bounds, long long n) {
    for (counter<long long> i = grid_start<long long>(); i < static_cast<counter<long long>>(n);
         i += grid_step<long long>()) {
        if (exponents[i] < 0) in_bounds(bounds, exponents[i]);
    }
}

// Integers by repeated squaring. Negative exponents are reported by check_exponents; the result is then the
// truncated power: 0, except for a = 1 and a = -1.
template <class A> __device__ __forceinline__ A integer_power(A a, A b) {
    if constexpr (is_signed<A>) {
        if (b < 0) return a == 1 ? A(1) : a == -1 ? A(b % 2 ? -1 : 1) : A(0);
    }
    wrapping<A> result = 1, square = wrapping<A>(a), rest = wrapping<A>(b);
    while (rest != 0) {
        if (rest & 1) result *= square;
        square *= square;
        rest >>= 1;
    }
    return A(result);
}

// Common exponents have fast paths, which are exact or rounded once or twice: as on the CPU if the
// exponent is a scalar.
template <class A> __device__ __forceinline__ A power(A a, A b) {
    if constexpr (is_floating<A>) {
        if (b == 2) return a * a;
        if (b == 3) return a * a * a;
        if (b == A(0.5)) return a == -infinity<A>() ? -a : sqrt(a) + A(0);  // 0 for -0, as pow
        if (b == 1) return a;
        if (b == -1) return 1 / a;
        return pow(a, b);
    } else {
        return integer_power(a, b);
    }
}
