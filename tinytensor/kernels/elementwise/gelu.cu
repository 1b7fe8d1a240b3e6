// gelu and silu, x times a smooth gate, and their gradients: functors of tinytensor/ops/elementwise/gelu.py.
// Mapping: elementwise.cuh. Traffic: forward reads x and writes y; backward reads grad and x and writes dx:
// the slope is recomputed, since reading it from memory takes longer.
#include "elementwise.cuh"
#include "gelu.cuh"

// Slope of GeluTanh: s + x s (1 - s) (2 z)'. For |x| > 12, s is 0 or 1, so x * x is clamped, and
// nothing overflows.
struct GeluTanhBackward {
    template <class A> __device__ A operator()(A grad, A x) const {
        const A square = fmin(x * x, A(144)), s = sigmoid(x * (gelu_linear<A> + gelu_cubic<A> * square));
        return grad * (s + s * (1 - s) * (gelu_linear<A> + 3 * gelu_cubic<A> * square) * x);
    }
};

// Slope of GeluErf: P + x exp(-x^2 / 2) / sqrt(2 pi).
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
