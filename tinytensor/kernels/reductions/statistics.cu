// Variance, logsumexp and vector norms: the op classes of statistics.py.
// Mapping, traffic, order: reduction.cuh; each reads its input once. DivideOrZero is elementwise
// (elementwise.cuh).
#include "elementwise.cuh"
#include "reduction.cuh"

// a / b, but 0 where b is 0.
struct DivideOrZero {
    template <class A> __device__ A operator()(A a, A b) const { return b == A(0) ? A(0) : a / b; }
};

// ---- variance --------------------------------------------------------------------------------------------

// Mean, sum of squared distances from it, and count of some elements. Two such sets merge without
// cancellation: Chan, Golub, LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample
// variances". The mean is kept as an unevaluated sum of two numbers: rounded to one, its error times the
// distances would spoil the squares of elements that are close together and far from 0.
template <class A> struct Moments {
    A mean, rest, squares, count;
};

template <class A> __device__ __forceinline__ Moments<A> from_lane(Moments<A> s, int distance) {
    return {from_lane(s.mean, distance), from_lane(s.rest, distance), from_lane(s.squares, distance),
            from_lane(s.count, distance)};
}

// The scalar is the divisor of the sum of squares: 0 if there are too few elements.
template <class A> __device__ __forceinline__ A variance(Moments<A> s, double scalar) {
    return s.squares / static_cast<A>(scalar) + (s.mean - s.mean);  // nan if an element was infinite
}

struct Var {
    template <class T, class I> struct On : Reduction<T, Moments<acc_t<T>>> {
        using A = acc_t<T>;
        using S = Moments<A>;
        static constexpr bool batches = true;
        static __device__ S start() { return {A(0), A(0), A(0), A(0)}; }
        __device__ S one(A x, I) const { return {x, A(0), A(0), A(1)}; }
        // Two passes, with a correction of the mean. N is a power of two: x / N is exact.
        template <int N> __device__ S several(const A (&x)[N], I, I) const {
            A mean = 0, off = 0, squares = 0;
#pragma unroll
            for (int j = 0; j < N; j++) mean += x[j] / N;
#pragma unroll
            for (int j = 0; j < N; j++) {
                off += x[j] - mean;
                squares += (x[j] - mean) * (x[j] - mean);
            }
            return {mean, off / N, squares - off * (off / N), A(N)};
        }
        __device__ S merge(S a, S b) const {
            if (a.count == 0) return b;
            if (b.count == 0) return a;
            const A count = a.count + b.count, share = b.count / count;
            const A distance = (b.mean - a.mean) + (b.rest - a.rest), step = a.rest + distance * share;
            const A mean = a.mean + step, added = mean - a.mean;
            const A rest = (a.mean - (mean - added)) + (step - added);  // a.mean + step - mean, exactly
            return {mean, rest, a.squares + b.squares + distance * distance * a.count * share, count};
        }
        template <class R> __device__ R result(S s) const { return from_acc<R>(variance(s, this->scalar)); }
    };
};

struct Std {
    template <class T, class I> struct On : Var::On<T, I> {
        using A = acc_t<T>;
        template <class R> __device__ R result(Moments<A> s) const {
            return from_acc<R>(sqrt(variance(s, this->scalar)));
        }
    };
};

// ---- logsumexp -------------------------------------------------------------------------------------------

// The sum of exp(x - largest) of some elements.
template <class A> struct Exponentials {
    A largest, sum;
};

template <class A> __device__ __forceinline__ Exponentials<A> from_lane(Exponentials<A> s, int distance) {
    return {from_lane(s.largest, distance), from_lane(s.sum, distance)};
}

// exp(x - largest), also where both are infinite.
template <class A> __device__ __forceinline__ A exp_below(A x, A largest) {
    return x == largest ? A(1) : exp(x - largest);
}

struct Logsumexp {
    template <class T, class I> struct On : Reduction<T, Exponentials<acc_t<T>>> {
        using A = acc_t<T>;
        using S = Exponentials<A>;
        static constexpr bool batches = true;
        static __device__ S start() { return {-infinity<A>(), A(0)}; }
        __device__ S one(A x, I) const { return {x, A(1)}; }
        static __device__ A larger(A a, A b) { return a > b || a != a ? a : b; }
        template <int N> __device__ S several(const A (&x)[N], I, I) const {
            A largest = x[0], sum = 0;
#pragma unroll
            for (int j = 1; j < N; j++) largest = larger(largest, x[j]);
#pragma unroll
            for (int j = 0; j < N; j++) sum += exp_below(x[j], largest);
            return {largest, sum};
        }
        __device__ S merge(S a, S b) const {
            const A largest = larger(a.largest, b.largest);
            return {largest, a.sum * exp_below(a.largest, largest) + b.sum * exp_below(b.largest, largest)};
        }
        template <class R> __device__ R result(S s) const {
            return from_acc<R>(s.sum == A(0) ? s.largest : s.largest + log(s.sum));
        }
    };
};

// ---- norms -----------------------------------------------------------------------------------------------

// Sum of |x|^p, and its root.
template <class T, class I, class P> struct NormOn : Reduction<T, acc_t<T>> {
    using A = acc_t<T>;
    static __device__ A start() { return A(0); }
    __device__ A one(A x, I) const { return P::power(fabs(x), this->scalar); }
    __device__ A merge(A a, A b) const { return a + b; }
    template <class R> __device__ R result(A s) const { return from_acc<R>(P::root(s, this->scalar)); }
};

struct Norm1 {
    template <class A> static __device__ A power(A x, double) { return x; }
    template <class A> static __device__ A root(A s, double) { return s; }
    template <class T, class I> using On = NormOn<T, I, Norm1>;
};

struct Norm2 {
    template <class A> static __device__ A power(A x, double) { return x * x; }
    template <class A> static __device__ A root(A s, double) { return sqrt(s); }
    template <class T, class I> using On = NormOn<T, I, Norm2>;
};

// The scalar is p.
struct NormP {
    template <class A> static __device__ A power(A x, double p) { return pow(x, static_cast<A>(p)); }
    template <class A> static __device__ A root(A s, double p) { return pow(s, static_cast<A>(1 / p)); }
    template <class T, class I> using On = NormOn<T, I, NormP>;
};
