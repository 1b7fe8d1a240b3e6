// max, min, argmax, argmin, any, all, count_nonzero: the op classes of tinytensor/ops/reductions/min_max.py.
// Mapping, traffic, order: reduction.cuh; the gradient of ties is elementwise (elementwise.cuh).
#include "elementwise.cuh"
#include "reduction.cuh"

// ---- values ----------------------------------------------------------------------------------------------

// Propagates nan.
struct Max {
    template <class T, class I> struct On : Reduction<T, wide_t<T>> {
        using S = wide_t<T>;
        static __device__ S start() { return lowest<S>(); }
        __device__ S one(acc_t<T> x, I) const { return static_cast<S>(x); }
        __device__ S merge(S a, S b) const { return a > b || a != a ? a : b; }
        template <class R> __device__ R result(S s) const { return from_acc<R>(s); }
    };
};

struct Min {
    template <class T, class I> struct On : Reduction<T, wide_t<T>> {
        using S = wide_t<T>;
        static __device__ S start() { return highest<S>(); }
        __device__ S one(acc_t<T> x, I) const { return static_cast<S>(x); }
        __device__ S merge(S a, S b) const { return a < b || a != a ? a : b; }
        template <class R> __device__ R result(S s) const { return from_acc<R>(s); }
    };
};

template <class A> __device__ __forceinline__ bool is_tie(A a, A b) { return a == b || (a != a && b != b); }

// Number of elements equal to the extreme (`beside`); nan equals nan.
struct Ties {
    template <class T, class I> struct On : Reduction<T, long long> {
        static __device__ long long start() { return 0; }
        __device__ long long one(acc_t<T> x, I) const { return is_tie(x, this->beside); }
        __device__ long long merge(long long a, long long b) const { return a + b; }
        template <class R> __device__ R result(long long s) const { return static_cast<R>(s); }
    };
};

// Elementwise, from the number of ties, the element and the extreme.
struct TieShare {
    template <class N, class A> __device__ A operator()(N ties, A x, A y) const {
        return is_tie(x, y) ? A(1) / static_cast<A>(ties) : A(0);
    }
};

// ---- indices ---------------------------------------------------------------------------------------------

// The first of tied elements; the first nan if there is one.
template <class T, class I, bool largest> struct Place {
    wide_t<T> value;
    I index;
};

template <class T, class I, bool largest>
__device__ __forceinline__ Place<T, I, largest> from_lane(Place<T, I, largest> s, int distance) {
    return {from_lane(s.value, distance), from_lane(s.index, distance)};
}

template <class T, class I, bool largest> struct PlaceOn : Reduction<T, Place<T, I, largest>> {
    using S = Place<T, I, largest>;
    using A = wide_t<T>;
    static __device__ S start() {
        return {largest ? lowest<A>() : highest<A>(), highest<I>()};
    }
    __device__ S one(acc_t<T> x, I i) const { return {static_cast<A>(x), i}; }
    __device__ S merge(S a, S b) const {
        if (is_tie(a.value, b.value)) return a.index < b.index ? a : b;
        const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
        const bool better = largest ? a.value > b.value : a.value < b.value;
        return a_nan || (better && !b_nan) ? a : b;
    }
    template <class R> __device__ R result(S s) const { return static_cast<R>(s.index); }
};

struct Argmax {
    template <class T, class I> using On = PlaceOn<T, I, true>;
};

struct Argmin {
    template <class T, class I> using On = PlaceOn<T, I, false>;
};

// ---- all and any -----------------------------------------------------------------------------------------

// True if not equal to 0, also nan.
struct AnyTrue {
    template <class T, class I> struct On : Reduction<T, unsigned> {
        static __device__ unsigned start() { return 0; }
        __device__ unsigned one(acc_t<T> x, I) const { return x != acc_t<T>(0); }
        __device__ unsigned merge(unsigned a, unsigned b) const { return a | b; }
        template <class R> __device__ R result(unsigned s) const { return s != 0; }
    };
};

struct AllTrue {
    template <class T, class I> struct On : Reduction<T, unsigned> {
        static __device__ unsigned start() { return 1; }
        __device__ unsigned one(acc_t<T> x, I) const { return x != acc_t<T>(0); }
        __device__ unsigned merge(unsigned a, unsigned b) const { return a & b; }
        template <class R> __device__ R result(unsigned s) const { return s != 0; }
    };
};

struct CountNonzero {
    template <class T, class I> struct On : Reduction<T, long long> {
        static __device__ long long start() { return 0; }
        __device__ long long one(acc_t<T> x, I) const { return x != acc_t<T>(0); }
        __device__ long long merge(long long a, long long b) const { return a + b; }
        template <class R> __device__ R result(long long s) const { return static_cast<R>(s); }
    };
};
