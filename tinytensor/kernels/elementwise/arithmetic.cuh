// Division with a quotient that is rounded down, for the functors of ops/elementwise/arithmetic.py.
// Integer division by 0: the CPU raises; a kernel cannot, and returns 0 (for both functions).
#pragma once
#include "elementwise.cuh"

// The remainder of a / b, with the sign of b; |remainder| < |b|.
template <class A> __device__ __forceinline__ A floor_remainder(A a, A b) {
    if constexpr (is_floating<A>) {
        A rest = fmod(a, b);  // exact, with the sign of a; nan for b = 0
        if (b == 0) return rest;
        if (rest == 0) return copysign(A(0), b);
        return (rest < 0) != (b < 0) ? rest + b : rest;
    } else if constexpr (is_signed<A>) {
        if (b == 0 || b == -1) return 0;  // the smallest integer divided by -1 overflows
        const A rest = A(a % b);
        return rest != 0 && (rest < 0) != (b < 0) ? A(rest + b) : rest;
    } else {
        return b == 0 ? A(0) : A(a % b);
    }
}

// The quotient rounded down. For floats from the exact remainder, since a / b itself may be rounded up to the
// next integer.
template <class A> __device__ __forceinline__ A floor_quotient(A a, A b) {
    if constexpr (is_floating<A>) {
        if (b == 0) return a / b;
        const A rest = fmod(a, b);
        A quotient = (a - rest) / b;  // near an integer, which it would be without rounding
        if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
        if (quotient == 0) return copysign(A(0), a / b);
        const A whole = floor(quotient);
        return quotient - whole > A(0.5) ? whole + 1 : whole;
    } else if constexpr (is_signed<A>) {
        if (b == 0) return 0;
        if (b == -1) return A(0 - wrapping<A>(a));  // the smallest integer is unchanged
        const A quotient = A(a / b);
        return a % b != 0 && (a < 0) != (b < 0) ? A(quotient - 1) : quotient;
    } else {
        return b == 0 ? A(0) : A(a / b);
    }
}
