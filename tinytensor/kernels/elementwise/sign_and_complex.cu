// abs, sign, copysign, nextafter, real, conj: functors of sign_and_complex.py. Complex dtypes are CPU-only.
// Mapping and traffic: elementwise.cuh.
#include "elementwise.cuh"

// The smallest signed integer is unchanged, as in NumPy.
struct Abs {
    template <class A> __device__ A operator()(A x) const {
        if constexpr (is_floating<A>) return fabs(x);
        else if constexpr (is_signed<A>) return x < 0 ? A(0 - wrapping<A>(x)) : x;
        else return x;
    }
};

// nan for nan.
struct Sign {
    template <class A> __device__ A operator()(A x) const {
        if (x > A(0)) return A(1);
        if (x < A(0)) return A(-1);
        return x == A(0) ? A(0) : x;
    }
};

struct Copysign {
    template <class A> __device__ A operator()(A a, A b) const { return copysign(a, b); }
};

struct Nextafter {
    __device__ float operator()(float a, float b) const { return nextafterf(a, b); }
    __device__ double operator()(double a, double b) const { return nextafter(a, b); }
};

// Real numbers are their own real part, and their own conjugate.
struct Real {
    template <class A> __device__ A operator()(A x) const { return x; }
};

struct Conj {
    template <class A> __device__ A operator()(A x) const { return x; }
};
