// Comparisons, logical ops, tests of single elements (isnan, …), where: functors of
// tinytensor/ops/elementwise/comparison.py.
// Mapping and traffic: elementwise.cuh; results are bool, one byte, except Where.
#include "elementwise.cuh"

struct Equal {
    template <class A> __device__ bool operator()(A a, A b) const { return a == b; }
};

struct NotEqual {
    template <class A> __device__ bool operator()(A a, A b) const { return a != b; }
};

struct Less {
    template <class A> __device__ bool operator()(A a, A b) const { return a < b; }
};

struct LessEqual {
    template <class A> __device__ bool operator()(A a, A b) const { return a <= b; }
};

struct Greater {
    template <class A> __device__ bool operator()(A a, A b) const { return a > b; }
};

struct GreaterEqual {
    template <class A> __device__ bool operator()(A a, A b) const { return a >= b; }
};

// True if not equal to 0, also nan.
struct LogicalAnd {
    template <class A> __device__ bool operator()(A a, A b) const { return a != A(0) && b != A(0); }
};

struct LogicalOr {
    template <class A> __device__ bool operator()(A a, A b) const { return a != A(0) || b != A(0); }
};

struct LogicalXor {
    template <class A> __device__ bool operator()(A a, A b) const { return (a != A(0)) != (b != A(0)); }
};

struct LogicalNot {
    template <class A> __device__ bool operator()(A x) const { return x == A(0); }
};

struct Isfinite {
    template <class A> __device__ bool operator()(A x) const {
        if constexpr (is_floating<A>) return x - x == 0;  // inf - inf is nan
        else return true;
    }
};

struct Isinf {
    template <class A> __device__ bool operator()(A x) const {
        if constexpr (is_floating<A>) return fabs(x) == infinity<A>();
        else return false;
    }
};

struct Isnan {
    template <class A> __device__ bool operator()(A x) const { return x != x; }
};

struct Signbit {
    template <class A> __device__ bool operator()(A x) const {
        if constexpr (same<A, float>) return __float_as_int(x) < 0;
        else if constexpr (same<A, double>) return __double_as_longlong(x) < 0;
        else return x < A(0);
    }
};

// |a - b| <= atol + rtol |b|, and b is finite; or both are equal, which covers infinities.
struct Isclose {
    template <class A> __device__ bool operator()(A a, A b, A rtol, A atol) const {
        return (fabs(a - b) <= atol + product(rtol, fabs(b)) && b - b == 0) || a == b;
    }
};

struct Where {
    template <class A> __device__ A operator()(bool condition, A a, A b) const { return condition ? a : b; }
};
