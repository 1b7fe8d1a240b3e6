// Trigonometric and hyperbolic functions and their inverses: functors of trigonometric.py.
// Mapping and traffic: elementwise.cuh. Integers arrive as float32.
// Stack: sin, cos and tan use 32 bytes (float) or 40 (double) to reduce large angles, which is rare.
#include "elementwise.cuh"

struct Sin {
    template <class A> __device__ A operator()(A x) const { return sin(x); }
};

struct Cos {
    template <class A> __device__ A operator()(A x) const { return cos(x); }
};

struct Tan {
    template <class A> __device__ A operator()(A x) const { return tan(x); }
};

struct Asin {
    template <class A> __device__ A operator()(A x) const { return asin(x); }
};

struct Acos {
    template <class A> __device__ A operator()(A x) const { return acos(x); }
};

struct Atan {
    template <class A> __device__ A operator()(A x) const { return atan(x); }
};

struct Sinh {
    template <class A> __device__ A operator()(A x) const { return sinh(x); }
};

struct Cosh {
    template <class A> __device__ A operator()(A x) const { return cosh(x); }
};

struct Asinh {
    template <class A> __device__ A operator()(A x) const { return asinh(x); }
};

struct Acosh {
    template <class A> __device__ A operator()(A x) const { return acosh(x); }
};

struct Atanh {
    template <class A> __device__ A operator()(A x) const { return atanh(x); }
};

// The angle of the point (b, a).
struct Atan2 {
    template <class A> __device__ A operator()(A a, A b) const { return atan2(a, b); }
};
