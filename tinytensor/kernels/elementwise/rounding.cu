// ceil, floor, trunc, round: functors of tinytensor/ops/elementwise/rounding.py. Integers are unchanged.
// Mapping and traffic: elementwise.cuh.
#include "elementwise.cuh"

struct Ceil {
    template <class A> __device__ A operator()(A x) const {
        if constexpr (is_floating<A>) return ceil(x);
        else return x;
    }
};

struct Floor {
    template <class A> __device__ A operator()(A x) const {
        if constexpr (is_floating<A>) return floor(x);
        else return x;
    }
};

struct Trunc {
    template <class A> __device__ A operator()(A x) const {
        if constexpr (is_floating<A>) return trunc(x);
        else return x;
    }
};

// Ties to even.
struct Round {
    template <class A> __device__ A operator()(A x) const {
        if constexpr (is_floating<A>) return rint(x);
        else return x;
    }
};
