// Bitwise operations on integers, logical ones on bools: functors of tinytensor/ops/elementwise/bitwise.py.
// Mapping and traffic: elementwise.cuh.
#include "elementwise.cuh"

struct BitwiseAnd {
    template <class A> __device__ A operator()(A a, A b) const { return A(a & b); }
};

struct BitwiseOr {
    template <class A> __device__ A operator()(A a, A b) const { return A(a | b); }
};

struct BitwiseXor {
    template <class A> __device__ A operator()(A a, A b) const { return A(a ^ b); }
};

struct BitwiseInvert {
    template <class A> __device__ A operator()(A x) const {
        if constexpr (same<A, bool>) return !x;
        else return A(~x);
    }
};

// Whether 0 <= b < number of bits of a. Other shifts are undefined in C++.
template <class A> __device__ __forceinline__ bool within(A b) { return wrapping<A>(b) < 8 * sizeof(A); }

struct BitwiseLeftShift {
    template <class A> __device__ A operator()(A a, A b) const {
        return within(b) ? A(wrapping<A>(a) << b) : A(0);
    }
};

// Arithmetic shift: copies of the sign bit are shifted in.
struct BitwiseRightShift {
    template <class A> __device__ A operator()(A a, A b) const {
        return within(b) ? A(a >> b) : a < 0 ? A(-1) : A(0);
    }
};
