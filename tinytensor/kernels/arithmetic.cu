// Sums, products, quotients, the greater and the smaller: the functors of tinytensor/ops/arithmetic.py.
// Mapping and traffic: elementwise.cuh. Integers wrap around, as in NumPy.
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

struct Negative {
    template <class A> __device__ A operator()(A x) const {
        if constexpr (is_floating<A>) return -x;
        else return A(0 - wrapping<A>(x));
    }
};

struct Positive {
    template <class A> __device__ A operator()(A x) const { return x; }
};
