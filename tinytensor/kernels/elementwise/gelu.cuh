// Smooth gates: functors y = x times a function of x in (0, 1), also for the epilogue of matrix products.
// Sources: (1 + tanh z) / 2 = sigmoid(2 z), so value and slope share one exponential; erf is CUDA's.
#pragma once
#include "common.cuh"

template <class A> __device__ __forceinline__ A sigmoid(A x) { return 1 / (1 + A(exp(-x))); }

// 2 z = x (a + b x^2), with a = 2 sqrt(2 / pi) and b = 0.044715 a.
template <class A> constexpr A gelu_linear = A(1.5957691216057308);
template <class A> constexpr A gelu_cubic = A(0.07135481627260025);

// y = x s with s = sigmoid(2 z).
struct GeluTanh {
    template <class A> __device__ A operator()(A x) const {
        return x * sigmoid(x * (gelu_linear<A> + gelu_cubic<A> * (x * x)));
    }
};

// P = (1 + erf(x / sqrt(2))) / 2.
template <class A> __device__ __forceinline__ A normal_share(A x) {
    return A(0.5) + A(0.5) * A(erf(x * A(0.7071067811865476)));
}

// y = x P.
struct GeluErf {
    template <class A> __device__ A operator()(A x) const { return x * normal_share(x); }
};
