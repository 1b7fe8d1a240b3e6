// lgamma and its derivatives: functors of tinytensor/ops/elementwise/gamma.py.
// Mapping and traffic: elementwise.cuh.
// Sources: the formulas are in gamma.py; lgamma is CUDA's.
#include "elementwise.cuh"

namespace gamma_series {
constexpr double bernoulli[] = {1. / 6,  -1. / 30,     1. / 42, -1. / 30,  // B2, B4, ..., B16
                                5. / 66, -691. / 2730, 7. / 6,  -3617. / 510};
constexpr int terms = 8;
constexpr int shift = 10;

// The sum over k of (a + k)^-s, for a >= 0: 10 terms, and the rest by the Euler-Maclaurin formula.
template <class A> __device__ A zeta(A s, A a) {
    A y = 0;
    for (int k = 0; k < shift; k++) y += A(pow(a + A(k), -s));
    a += A(shift);
    const A power = pow(a, -s);
    y += A(pow(a, 1 - s)) / (s - 1) + power / 2;
    const A inverse = 1 / a;
    A factor = power * inverse * s / 2;
#pragma unroll
    for (int j = 0; j < terms; j++) {
        y += A(bernoulli[j]) * factor;
        const A i = A(2 * j);
        factor *= (s + i + 1) * (s + i + 2) / ((i + 3) * (i + 4)) * inverse * inverse;
    }
    return y;
}
}  // namespace gamma_series

struct Lgamma {
    template <class A> __device__ A operator()(A x) const { return lgamma(x); }
};

struct Digamma {
    template <class A> __device__ A operator()(A x) const {
        using namespace gamma_series;
        constexpr double pi = 3.141592653589793;
        if (x == 0) return copysign(infinity<A>(), -x);
        const bool below = x < 0;
        const A r = x - A(rint(x));
        if (below && !(r != 0)) return x - x + infinity<A>() - infinity<A>();  // a pole: nan
        A a = below ? 1 - x : x, y = 0;
        for (int k = 0; k < shift && a < A(shift); k++, a += 1) y -= 1 / a;
        y += A(log(a)) - A(0.5) / a;
        const A square = 1 / a / a;
        A power = square;
#pragma unroll
        for (int j = 0; j < terms; j++, power *= square) y -= A(bernoulli[j] / (2 * j + 2)) * power;
        return below ? y - A(pi) / A(tan(A(pi) * r)) : y;
    }
};

// The terms below 0 are a finite sum: the difference of two infinite ones.
struct Polygamma {
    template <class A> __device__ A operator()(A x, A n) const {
        using gamma_series::zeta;
        A factor = 1;  // (-1)^(n + 1) n!
        for (int k = 1; k <= int(n); k++) factor *= A(k);
        const A s = n + 1, sign = int(n) % 2 ? A(1) : A(-1), low = floor(x);
        if (x > 0) return sign * factor * zeta(s, x);
        if (x == low) return sign * infinity<A>();
        const A other = zeta(s, low + 1 - x) - zeta(s, 1 - x);
        return sign * factor * (zeta(s, x - low) + sign * other);
    }
};
