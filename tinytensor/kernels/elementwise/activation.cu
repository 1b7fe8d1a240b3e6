// Piecewise linear activations: functors of tinytensor/ops/elementwise/activation.py.
// Mapping and traffic: elementwise.cuh.
#include "elementwise.cuh"

// nan for nan, 0 for -0.
struct Relu {
    template <class A> __device__ A operator()(A x) const { return x > A(0) || x != x ? x : A(0); }
};

// grad where y is positive or nan.
struct ReluBackward {
    template <class A> __device__ A operator()(A grad, A y) const { return y <= A(0) ? A(0) : grad; }
};

// 0 for negative, 1 for positive, `value` at 0; nan for nan.
struct Heaviside {
    template <class A> __device__ A operator()(A x, A value) const {
        if (x != x) return x;
        return x == 0 ? value : A(x > 0);
    }
};
