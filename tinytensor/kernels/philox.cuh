// Philox 4x32-10 random numbers, bitwise equal to those of the CPU.
// Mapping: a thread that handles 4 elements of one word each (2 of two words) computes one block for them.
// Traffic: none; a block takes about 50 instructions.
// Specification: philox.py and inverse_normal.py, which name the sources; every product, sum,
// quotient and root is rounded separately, in the order written there.
//
// Element i of a sample that starts at `offset`, one word each: words(seed, offset + i / 4).word(i % 4).
// Two words each: words(seed, offset + i / 2).pair(i % 2).
#pragma once
#include "common.cuh"

namespace philox {

// Block k of the stream of a seed: 128 random bits.
struct Words {
    unsigned at[4];  // a run-time index would move them to the stack: see word

    __device__ __forceinline__ unsigned word(int i) const {
        const unsigned even = i < 2 ? at[0] : at[2], odd = i < 2 ? at[1] : at[3];
        return i % 2 == 0 ? even : odd;
    }

    __device__ __forceinline__ unsigned long long pair(int i) const {
        return i == 0 ? static_cast<unsigned long long>(at[1]) << 32 | at[0]
                      : static_cast<unsigned long long>(at[3]) << 32 | at[2];
    }
};

__device__ __forceinline__ Words words(unsigned long long seed, unsigned long long k) {
    unsigned c0 = static_cast<unsigned>(k), c1 = static_cast<unsigned>(k >> 32), c2 = 0, c3 = 0;
    unsigned key0 = static_cast<unsigned>(seed), key1 = static_cast<unsigned>(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const unsigned long long p0 = 0xD2511F53ULL * c0, p1 = 0xCD9E8D57ULL * c2;
        c0 = static_cast<unsigned>(p1 >> 32) ^ c1 ^ key0;
        c1 = static_cast<unsigned>(p1);
        c2 = static_cast<unsigned>(p0 >> 32) ^ c3 ^ key1;
        c3 = static_cast<unsigned>(p0);
        key0 += 0x9E3779B9U;
        key1 += 0xBB67AE85U;
    }
    return {{c0, c1, c2, c3}};
}

// ---- uniform numbers, booleans, integers -----------------------------------------------------------------

// In [0, 1): multiples of 2**-24 from one word, of 2**-53 from two.
__device__ __forceinline__ float uniform(unsigned word) { return static_cast<float>(word >> 8) * 0x1p-24f; }
__device__ __forceinline__ double uniform(unsigned long long pair) {
    return static_cast<double>(pair >> 11) * 0x1p-53;
}

// Whether uniform(word) < p, for threshold = ceil(p * 2**24): p is not rounded.
__device__ __forceinline__ bool is_below(unsigned word, unsigned threshold) { return word >> 8 < threshold; }

// low + (pair * range >> 64): 0 <= result - low < range. A range of 2**64 is given as 0.
__device__ __forceinline__ long long integer(
    unsigned long long pair, long long low, unsigned long long range) {
    const unsigned long long step = range == 0 ? pair : __umul64hi(pair, range);
    return static_cast<long long>(static_cast<unsigned long long>(low) + step);
}

// ---- normal numbers: the inverse normal CDF --------------------------------------------------------------

__device__ __forceinline__ float quotient(float a, float b) { return __fdiv_rn(a, b); }
__device__ __forceinline__ double quotient(double a, double b) { return __ddiv_rn(a, b); }
__device__ __forceinline__ float root(float x) { return __fsqrt_rn(x); }
__device__ __forceinline__ double root(double x) { return __dsqrt_rn(x); }

// Horner's rule; the coefficients, constant first, are rounded to A.
template <class A, int n> __device__ __forceinline__ A polynomial(A x, const double (&coefficients)[n]) {
    A value = product(x, A(coefficients[n - 1]));
#pragma unroll
    for (int i = n - 2; i > 0; i--) value = product(value + A(coefficients[i]), x);
    return value + A(coefficients[0]);
}

// -log(p) for 2**-54 <= p <= 1/2: p = 2**e m with sqrt(1/2) <= m < sqrt(2), and the series of log(m).
__device__ __forceinline__ float minus_log(float p) {
    constexpr double series[] = {2.0, 2.0 / 3, 2.0 / 5, 2.0 / 7, 2.0 / 9};
    constexpr int sqrt_half = 0x3F3504F3;
    const int bits = __float_as_int(p) - sqrt_half;
    const float exponent = static_cast<float>(bits >> 23);
    const float m = __int_as_float((bits & 0x7FFFFF) + sqrt_half);
    const float s = quotient(m - 1, m + 1);
    const float whole = product(exponent, static_cast<float>(-0.6931471805599453));
    return whole - product(s, polynomial(product(s, s), series));
}

__device__ __forceinline__ double minus_log(double p) {
    constexpr double series[] = {2.0,      2.0 / 3,  2.0 / 5,  2.0 / 7,  2.0 / 9,
                                 2.0 / 11, 2.0 / 13, 2.0 / 15, 2.0 / 17, 2.0 / 19};
    constexpr long long sqrt_half = 0x3FE6A09E667F3BCDLL;
    const long long bits = __double_as_longlong(p) - sqrt_half;
    const double exponent = static_cast<double>(bits >> 52);
    const double m = __longlong_as_double((bits & 0xFFFFFFFFFFFFFLL) + sqrt_half);
    const double s = quotient(m - 1, m + 1);
    return product(exponent, -0.6931471805599453) - product(s, polynomial(product(s, s), series));
}

// The inverse normal CDF of q + 1/2, for |q| < 1/2; 1/2 - |q| is exact.
__device__ __forceinline__ float inverse_normal(float q) {
    const float size = fabsf(q);
    if (size <= static_cast<float>(0.425)) {
        constexpr double above[] = {3.3871327179, 5.0434271938e1, 1.5929113202e2, 5.910937472e1};
        constexpr double below[] = {1, 1.7895169469e1, 7.8757757664e1, 6.71875636e1};
        const float r = static_cast<float>(0.180625) - product(q, q);
        return quotient(product(q, polynomial(r, above)), polynomial(r, below));
    }
    constexpr double above[] = {1.4234372777, 2.75681539, 1.3067284816, 1.7023821103e-1};
    constexpr double below[] = {1, 7.370016425e-1, 1.2021132975e-1};
    const float r = root(minus_log(0.5f - size)) - static_cast<float>(1.6);
    return copysignf(quotient(polynomial(r, above), polynomial(r, below)), q);
}

__device__ __forceinline__ double inverse_normal(double q) {
    const double size = fabs(q);
    if (size <= 0.425) {
        constexpr double above[] = {
            3.387132872796366608, 1.3314166789178437745e2, 1.9715909503065514427e3,
            1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
            3.3430575583588128105e4, 2.5090809287301226727e3};
        constexpr double below[] = {
            1, 4.2313330701600911252e1, 6.871870074920579083e2,
            5.3941960214247511077e3, 2.1213794301586595867e4, 3.930789580009271061e4,
            2.8729085735721942674e4, 5.226495278852854561e3};
        const double r = 0.180625 - product(q, q);
        return quotient(product(q, polynomial(r, above)), polynomial(r, below));
    }
    const double r = root(minus_log(0.5 - size));
    if (r <= 5) {
        constexpr double above[] = {
            1.42343711074968357734, 4.6303378461565452959, 5.7694972214606914055,
            3.64784832476320460504, 1.27045825245236838258, 2.4178072517745061177e-1,
            2.27238449892691845833e-2, 7.7454501427834140764e-4};
        constexpr double below[] = {
            1, 2.05319162663775882187, 1.6763848301838038494,
            6.8976733498510000455e-1, 1.4810397642748007459e-1, 1.51986665636164571966e-2,
            5.475938084995344946e-4, 1.05075007164441684324e-9};
        return copysign(quotient(polynomial(r - 1.6, above), polynomial(r - 1.6, below)), q);
    }
    constexpr double above[] = {
        6.6579046435011037772, 5.4637849111641143699, 1.7848265399172913358,
        2.9656057182850489123e-1, 2.6532189526576123093e-2, 1.2426609473880784386e-3,
        2.71155556874348757815e-5, 2.01033439929228813265e-7};
    constexpr double below[] = {
        1, 5.9983220655588793769e-1, 1.3692988092273580531e-1,
        1.48753612908506148525e-2, 7.868691311456132591e-4, 1.8463183175100546818e-5,
        1.4215117583164458887e-7, 2.04426310338993978564e-15};
    return copysign(quotient(polynomial(r - 5.0, above), polynomial(r - 5.0, below)), q);
}

// At the middle of the cell of uniform(word): odd multiples of 2**-25 (2**-54 for two words).
__device__ __forceinline__ float normal(unsigned word) {
    return inverse_normal((static_cast<float>(word >> 8) - 8388607.5f) * 0x1p-24f);
}
__device__ __forceinline__ double normal(unsigned long long pair) {
    return inverse_normal((static_cast<double>(pair >> 11) - 4503599627370495.5) * 0x1p-53);
}

}  // namespace philox
