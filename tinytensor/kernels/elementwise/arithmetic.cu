// Arithmetic, maximum, minimum, clip: functors of arithmetic.py.
// Mapping and traffic: elementwise.cuh. Integers wrap around, as in NumPy.
// Integer division by 0: the CPU raises; a kernel cannot, and returns 0 (for both ops).
#include "elementwise.cuh"

struct Add {
    template <class A> __device__ A operator()(A a, A b) const { return A(wrapping<A>(a) + wrapping<A>(b)); }
};

struct Subtract {
    template <class A> __device__ A operator()(A a, A b) const { return A(wrapping<A>(a) - wrapping<A>(b)); }
};

struct Multiply {
    template <class A> __device__ A operator()(A a, A b) const { return A(wrapping<A>(a) * wrapping<A>(b)); }
};

struct Divide {
    template <class A> __device__ A operator()(A a, A b) const { return a / b; }
};

// The remainder of a / b, with the sign of b; |remainder| < |b|.
struct Remainder {
    template <class A> __device__ A operator()(A a, A b) const {
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
};

// The quotient rounded down. For floats from the exact remainder, since a / b itself may be rounded up to the
// next integer.
struct FloorDivide {
    template <class A> __device__ A operator()(A a, A b) const {
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
};

struct Negative {
    template <class A> __device__ A operator()(A x) const {
        if constexpr (is_floating<A>) return -x;
        else return A(0 - wrapping<A>(x));
    }
};

struct Positive {
    template <class A> __device__ A operator()(A x) const { return x; }
};

// Propagates nan. Of equal operands (0 and -0) returns the second one.
struct Maximum {
    template <class A> __device__ A operator()(A a, A b) const { return a > b || a != a ? a : b; }
};

struct Minimum {
    template <class A> __device__ A operator()(A a, A b) const { return a < b || a != a ? a : b; }
};

// minimum(maximum(x, low), high); high if low > high.
struct Clip {
    template <class A> __device__ A operator()(A x, A low, A high) const {
        return Minimum()(Maximum()(x, low), high);
    }
};
