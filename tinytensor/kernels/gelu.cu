// gelu and silu, x times a smooth gate, and their gradients: functors of tinytensor/ops/gelu.py.
// Mapping: elementwise.cuh. Traffic: forward reads x and writes y; backward reads grad and x and writes dx:
// the slope is computed again, since reading it from memory takes longer.
// Sources: (1 + tanh z) / 2 = sigmoid(2 z), so one exponential serves value and slope; erf is CUDA's.
#include "elementwise.cuh"

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

// Slope: s + x s (1 - s) (2 z)'. s (1 - s) comes first: it is 0 for large x, so the rest does not overflow.
struct GeluTanhBackward {
    template <class A> __device__ A operator()(A grad, A x) const {
        const A square = x * x, s = sigmoid(x * (gelu_linear<A> + gelu_cubic<A> * square));
        return grad * (s + s * (1 - s) * (gelu_linear<A> + 3 * gelu_cubic<A> * square) * x);
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

// Slope: P + x exp(-x^2 / 2) / sqrt(2 pi).
struct GeluErfBackward {
    template <class A> __device__ A operator()(A grad, A x) const {
        const A density = exp(A(-0.5) * x * x) * A(0.3989422804014327);
        return grad * (normal_share(x) + x * density);
    }
};

// y = x s with s = sigmoid(x).
struct Silu {
    template <class A> __device__ A operator()(A x) const { return x * sigmoid(x); }
};

// Slope: s (1 + x (1 - s)).
struct SiluBackward {
    template <class A> __device__ A operator()(A grad, A x) const {
        const A s = sigmoid(x);
        return grad * (s * (1 + x * (1 - s)));
    }
};
