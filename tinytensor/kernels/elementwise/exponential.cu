// Exponentials, logarithms, and functions composed of them: functors of exponential.py.
// Mapping and traffic: elementwise.cuh; even long functions are memory-bound. Integers arrive as float32.
// Sources: the formulas are in exponential.py; single functions are CUDA's, within 2 ulp in float32.
#include "elementwise.cuh"

struct Exp {
    template <class A> __device__ A operator()(A x) const { return exp(x); }
};

struct Expm1 {
    template <class A> __device__ A operator()(A x) const { return expm1(x); }
};

struct Log {
    template <class A> __device__ A operator()(A x) const { return log(x); }
};

struct Log1p {
    template <class A> __device__ A operator()(A x) const { return log1p(x); }
};

struct Log2 {
    template <class A> __device__ A operator()(A x) const { return log2(x); }
};

struct Log10 {
    template <class A> __device__ A operator()(A x) const { return log10(x); }
};

// log(exp(a) + exp(b)) = max(a, b) + log(1 + exp(-|a - b|)).
struct Logaddexp {
    template <class A> __device__ A operator()(A a, A b) const {
        if (a == b) return a + A(0.6931471805599453);  // log(2); the difference of equal infinities is nan
        const A difference = a - b;
        if (difference > 0) return a + log1p(exp(-difference));
        if (difference <= 0) return b + log1p(exp(difference));
        return difference;  // nan
    }
};

struct Tanh {
    template <class A> __device__ A operator()(A x) const { return tanh(x); }
};

struct Sigmoid {
    template <class A> __device__ A operator()(A x) const { return 1 / (1 + A(exp(-x))); }
};

// log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)); nan for nan.
struct Softplus {
    template <class A> __device__ A operator()(A x) const {
        return (x > 0 ? x : A(0)) + A(log1p(exp(-fabs(x))));
    }
};

struct Erf {
    template <class A> __device__ A operator()(A x) const { return erf(x); }
};

struct Erfc {
    template <class A> __device__ A operator()(A x) const { return erfc(x); }
};
