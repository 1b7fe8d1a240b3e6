// Intrinsics beyond those of maths.h: other roundings, rarer functions, products of packed bytes.
#pragma once

// ---- rounding ---------------------------------------------------------------------------------------------

namespace tt_emu {
// The exact result lies on one side of the rounded one. `error` is (exact - rounded), of the right sign.
template <class T>
TT_INLINE T next_up(T x) {
    return nextafter(x, (T)__builtin_huge_val());
}
template <class T>
TT_INLINE T next_down(T x) {
    return nextafter(x, -(T)__builtin_huge_val());
}
template <class T>
TT_INLINE T directed(char way, T x, T error) {
    if (error != error || error == 0) return x;
    if (way == 'u') return error > 0 ? next_up(x) : x;
    if (way == 'd') return error < 0 ? next_down(x) : x;
    return x > 0 ? (error < 0 ? next_down(x) : x) : (error > 0 ? next_up(x) : x);  // towards zero
}
TT_INLINE float narrowed(char way, double exact) {  // a double that the result of two floats fits into
    const float x = (float)exact;
    if (x - x == 0) return directed(way, x, (float)(exact > x) - (float)(exact < x));
    if (exact - exact != 0 || way == (x > 0 ? 'u' : 'd')) return x;
    return x > 0 ? 3.402823466e+38f : -3.402823466e+38f;  // too large, and not rounded away from zero
}
template <class T>
TT_INLINE T sum_error(T a, T b, T s) {
    const T t = rounded(s - a);
    return rounded(rounded(a - rounded(s - t)) + rounded(b - t));
}
}  // namespace tt_emu

#define TT_DIRECTED_OF(T, P, FMA, MODE, WAY)                                                                \
    TT_INLINE T __##P##add_##MODE(T x, T y) {                                                               \
        const T s = tt_emu::rounded(x + y);                                                                 \
        return tt_emu::directed(WAY, s, tt_emu::sum_error(x, y, s));                                        \
    }                                                                                                       \
    TT_INLINE T __##P##sub_##MODE(T x, T y) { return __##P##add_##MODE(x, -y); }                            \
    TT_INLINE T __##P##div_##MODE(T x, T y) {                                                               \
        const T q = tt_emu::rounded(x / y), rest = FMA(-q, y, x);                                           \
        return tt_emu::directed(WAY, q, y < 0 ? -rest : rest);                                              \
    }                                                                                                       \
    TT_INLINE T __##P##rcp_##MODE(T x) { return __##P##div_##MODE(T(1), x); }                               \
    TT_INLINE T __##P##sqrt_##MODE(T x) {                                                                   \
        const T q = tt_emu::rounded(sqrt(x));                                                               \
        return tt_emu::directed(WAY, q, FMA(-q, q, x));                                                     \
    }
#define TT_DIRECTED(MODE, WAY)                                                                              \
    TT_DIRECTED_OF(float, f, fmaf, MODE, WAY) TT_DIRECTED_OF(double, d, fma, MODE, WAY)                     \
    TT_INLINE float __fmul_##MODE(float x, float y) { return tt_emu::narrowed(WAY, (double)x * y); }        \
    TT_INLINE float __fmaf_##MODE(float x, float y, float z) {                                              \
        const double p = (double)x * y, s = tt_emu::rounded(p + z), e = tt_emu::sum_error(p, (double)z, s); \
        const float f = (float)s;                                                                           \
        const double left = (s - f) + e;                                                                    \
        return f - f != 0 ? f : tt_emu::directed(WAY, f, (float)(left > 0) - (float)(left < 0));            \
    }                                                                                                       \
    TT_INLINE double __dmul_##MODE(double x, double y) {                                                    \
        const double p = tt_emu::rounded(x * y);                                                            \
        return tt_emu::directed(WAY, p, fma(x, y, -p));                                                     \
    }                                                                                                       \
    TT_INLINE float __double2float_##MODE(double x) { return tt_emu::narrowed(WAY, x); }                    \
    TT_INLINE float __int2float_##MODE(int x) { return tt_emu::narrowed(WAY, x); }                          \
    TT_INLINE float __uint2float_##MODE(unsigned x) { return tt_emu::narrowed(WAY, x); }
TT_DIRECTED(rz, 'z')
TT_DIRECTED(ru, 'u') TT_DIRECTED(rd, 'd')
#undef TT_DIRECTED
#undef TT_DIRECTED_OF

// ---- rarer functions --------------------------------------------------------------------------------------

#ifdef TT_PROGRAM  // the C library declares functions of these names
#define sinpi tt_sinpi
#define cospi tt_cospi
#define sinpif tt_sinpif
#define cospif tt_cospif
#define __isnan tt_isnan
#define __isnanf tt_isnanf
#define __isinf tt_isinf
#define __isinff tt_isinff
#define __finite tt_finite
#define __finitef tt_finitef
#define __signbit tt_signbit
#define __signbitf tt_signbitf
#else
TT_INLINE double nan(const char*) { return __builtin_nan(""); }
TT_INLINE float nanf(const char*) { return __builtin_nanf(""); }
#endif
TT_INLINE double sinpi(double x) {
    const double r = remainder(x, 2.0);
    return r == trunc(r)    ? copysign(0.0, x)
           : fabs(r) == 0.5 ? copysign(1.0, r)
                            : sin(3.14159265358979323846 * r);
}
TT_INLINE double cospi(double x) {
    const double r = fabs(remainder(x, 2.0));
    return r == 0.5 ? 0.0 : cos(3.14159265358979323846 * r);
}
#define TT_FLOAT1(NAME) \
    TT_INLINE float NAME##f(float x) { return (float)NAME((double)x); }
TT_FLOAT1(sinpi)
TT_FLOAT1(cospi)
#undef TT_FLOAT1
#ifndef TT_PROGRAM
TT_INLINE long lrint(double x) { return (long)llrint(x); }
TT_INLINE long lrintf(float x) { return (long)llrintf(x); }
TT_INLINE long lround(double x) { return (long)llround(x); }
TT_INLINE long lroundf(float x) { return (long)llroundf(x); }
TT_INLINE double scalbln(double x, long n) { return ldexp(x, (int)n); }
#endif
#define TT_PREDICATE(NAME, TEST)                         \
    TT_INLINE int __##NAME(double x) { return TEST(x); } \
    TT_INLINE int __##NAME##f(float x) { return TEST(x); }
TT_PREDICATE(isnan, isnan) TT_PREDICATE(isinf, isinf)
TT_PREDICATE(finite, isfinite) TT_PREDICATE(signbit, signbit)
#undef TT_PREDICATE
#ifndef TT_PROGRAM
TT_INLINE long labs(long x) { return x < 0 ? -x : x; }
TT_INLINE long abs(long x) { return labs(x); }
#endif
TT_INLINE long min(long a, long b) { return a < b ? a : b; }
TT_INLINE long max(long a, long b) { return a > b ? a : b; }
TT_INLINE unsigned long min(unsigned long a, unsigned long b) { return a < b ? a : b; }
TT_INLINE unsigned long max(unsigned long a, unsigned long b) { return a > b ? a : b; }
TT_INLINE unsigned umin(unsigned a, unsigned b) { return a < b ? a : b; }
TT_INLINE unsigned umax(unsigned a, unsigned b) { return a > b ? a : b; }
TT_INLINE long long llmin(long long a, long long b) { return a < b ? a : b; }
TT_INLINE long long llmax(long long a, long long b) { return a > b ? a : b; }
TT_INLINE unsigned long long ullmin(unsigned long long a, unsigned long long b) { return a < b ? a : b; }
TT_INLINE unsigned long long ullmax(unsigned long long a, unsigned long long b) { return a > b ? a : b; }

// ---- integers ---------------------------------------------------------------------------------------------

TT_INLINE unsigned __umul24(unsigned x, unsigned y) { return (x & 0xffffffu) * (y & 0xffffffu); }
TT_INLINE int mul24(int x, int y) { return __mul24(x, y); }
TT_INLINE unsigned umul24(unsigned x, unsigned y) { return __umul24(x, y); }
TT_INLINE unsigned __sad(int x, int y, unsigned z) { return z + (x > y ? (unsigned)x - y : (unsigned)y - x); }
TT_INLINE unsigned __usad(unsigned x, unsigned y, unsigned z) { return z + (x > y ? x - y : y - x); }
TT_INLINE int __hadd(int x, int y) { return (int)(((long long)x + y) >> 1); }
TT_INLINE int __rhadd(int x, int y) { return (int)(((long long)x + y + 1) >> 1); }
TT_INLINE unsigned __uhadd(unsigned x, unsigned y) { return (unsigned)(((unsigned long long)x + y) >> 1); }
TT_INLINE unsigned __urhadd(unsigned x, unsigned y) {
    return (unsigned)(((unsigned long long)x + y + 1) >> 1);
}
TT_INLINE unsigned __funnelshift_lc(unsigned low, unsigned high, unsigned shift) {
    return shift >= 32 ? low : __funnelshift_l(low, high, shift);
}
TT_INLINE unsigned __funnelshift_rc(unsigned low, unsigned high, unsigned shift) {
    return shift >= 32 ? high : __funnelshift_r(low, high, shift);
}
TT_INLINE unsigned __fns(unsigned mask, unsigned base, int offset) {  // the offset-th set bit from base
    if (offset == 0) return mask >> base & 1 ? base : ~0u;
    for (int i = (int)base, left = offset < 0 ? -offset : offset; i >= 0 && i < 32; i += offset < 0 ? -1 : 1)
        if (mask >> i & 1 && --left == 0) return (unsigned)i;
    return ~0u;
}

TT_INLINE unsigned __vsadu4(unsigned a, unsigned b) {
    unsigned sum = 0;
    for (int i = 0; i < 32; i += 8) sum = __usad(a >> i & 255, b >> i & 255, sum);
    return sum;
}
namespace tt_emu {
template <class A, class B, class R>
TT_INLINE R dot4(unsigned a, unsigned b, R sum) {
    for (int i = 0; i < 32; i += 8) sum += (R)((int)(A)(a >> i) * (int)(B)(b >> i));
    return sum;
}
}  // namespace tt_emu
TT_INLINE int __dp4a(int a, int b, int c) {
    return tt_emu::dot4<signed char, signed char>((unsigned)a, (unsigned)b, c);
}
TT_INLINE unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
    return tt_emu::dot4<unsigned char, unsigned char>(a, b, c);
}
TT_INLINE int __dp4a(char4 a, char4 b, int c) {
    return __dp4a(tt_emu::bits<int>(a), tt_emu::bits<int>(b), c);
}
TT_INLINE unsigned __dp4a(uchar4 a, uchar4 b, unsigned c) {
    return __dp4a(tt_emu::bits<unsigned>(a), tt_emu::bits<unsigned>(b), c);
}
TT_INLINE int __dp2a_lo(int a, int b, int c) {
    return c + (short)a * (signed char)b + (a >> 16) * (signed char)(b >> 8);
}
TT_INLINE int __dp2a_hi(int a, int b, int c) { return __dp2a_lo(a, b >> 16, c); }
