// Sums, means and products over axes: the reductions of tinytensor/ops/reductions/reduction.py.
// Mapping, traffic, order: reduction.cuh. Floats are summed in float32 or wider, integers in 64 bits,
// wrapping.
#include "reduction.cuh"

struct Sum {
    template <class T, class I> struct On : Reduction<T, sum_t<T>> {
        using S = sum_t<T>;
        static __device__ S start() { return S(0); }
        __device__ S one(acc_t<T> x, I) const { return static_cast<S>(x); }
        __device__ S merge(S a, S b) const { return static_cast<S>(wrapping<S>(a) + wrapping<S>(b)); }
        template <class R> __device__ R result(S s) const { return from_acc<R>(s); }
    };
};

// The scalar is the number of elements; the mean of no elements is nan.
struct Mean {
    template <class T, class I> struct On : Sum::On<T, I> {
        using S = sum_t<T>;
        template <class R> __device__ R result(S s) const {
            return from_acc<R>(s / static_cast<S>(this->scalar));
        }
    };
};

struct Prod {
    template <class T, class I> struct On : Reduction<T, sum_t<T>> {
        using S = sum_t<T>;
        static __device__ S start() { return S(1); }
        __device__ S one(acc_t<T> x, I) const { return static_cast<S>(x); }
        __device__ S merge(S a, S b) const { return static_cast<S>(wrapping<S>(a) * wrapping<S>(b)); }
        template <class R> __device__ R result(S s) const { return from_acc<R>(s); }
    };
};
