// Functions of __half, __nv_bfloat16 and their pairs: arithmetic, comparisons, mathematics, conversions.
#pragma once

namespace tt_emu {
// The double with the last bit set if it is inexact: rounding it to fewer bits then rounds the exact sum
// once.
TT_INLINE double odd_sum(double a, double b) {
    const double s = rounded(a + b), e = sum_error(a, b, s);
    if (e != e || e == 0) return s;
    unsigned long long u = bits<unsigned long long>(s);
    if ((e > 0) != (s > 0)) u--;
    return bits<double>(u | 1);
}
template <class T>
TT_INLINE T fused(const T& a, const T& b, const T& c) {
    return T(odd_sum((double)float(a) * (double)float(b), (double)float(c)));
}
template <class T>
TT_INLINE T held(float x) {
    return T(x != x || x < 0 ? 0.0f : x > 1 ? 1.0f : x);
}
template <class T>
TT_INLINE T positive(const T& x) {
    return float(x) > 0 || __builtin_isnan(float(x)) ? x : T(0.0f);
}
// Rounds to a neighbor: z towards zero, u up, d down.
template <class T>
TT_INLINE T narrow(float x, char way) {
    T near(x);
    const float back = float(near);
    if (back == x || x != x) return near;
    const bool away = back > x ? x > 0 : x < 0;  // rounded away from zero
    const bool outwards = way == 'z' ? false : (way == 'u') == (x > 0);
    unsigned short u = near.__x;
    if (away && !outwards) u--;
    if (!away && outwards) u++;
    return bits<T>(u);
}
}  // namespace tt_emu

#define TT_READS static inline
#define TT_HALF2(T, NAME, RESULT)                                  \
    TT_READS T##_pair NAME(const T##_pair& a, const T##_pair& b) { \
        return {RESULT(a.x, b.x), RESULT(a.y, b.y)};               \
    }
#define TT_HALF_BINARY(T, NAME, NAME2, RESULT)                                                   \
    TT_READS T __##NAME(const T& a, const T& b) { return RESULT; }                               \
    TT_READS T __##NAME##_rn(const T& a, const T& b) { return RESULT; }                          \
    TT_READS T __##NAME##_sat(const T& a, const T& b) { return tt_emu::held<T>(float(RESULT)); } \
    TT_HALF2(T, __##NAME2, __##NAME)                                                             \
    TT_HALF2(T, __##NAME2##_rn, __##NAME) TT_HALF2(T, __##NAME2##_sat, __##NAME##_sat)
#define TT_HALF_COMPARE(T, NAME, OP)                                                          \
    TT_READS bool __h##NAME(const T& a, const T& b) { return float(a) OP float(b); }          \
    TT_READS bool __h##NAME##u(const T& a, const T& b) {                                      \
        return float(a) OP float(b) || __hisnan(a) || __hisnan(b);                            \
    }                                                                                         \
    TT_READS T##_pair __h##NAME##2(const T##_pair& a, const T##_pair& b) {                    \
        return {T(float(__h##NAME(a.x, b.x))), T(float(__h##NAME(a.y, b.y)))};                \
    }                                                                                         \
    TT_READS unsigned __h##NAME##2_mask(const T##_pair& a, const T##_pair& b) {               \
        return (__h##NAME(a.x, b.x) ? 0xffffu : 0) | (__h##NAME(a.y, b.y) ? 0xffff0000u : 0); \
    }                                                                                         \
    TT_READS bool __hb##NAME##2(const T##_pair& a, const T##_pair& b) {                       \
        return __h##NAME(a.x, b.x) && __h##NAME(a.y, b.y);                                    \
    }
#define TT_HALF_UNARY(T, NAME, RESULT) \
    TT_READS T h##NAME(const T& h) {   \
        const float x = float(h);      \
        return T(RESULT);              \
    }                                  \
    TT_READS T##_pair h2##NAME(const T##_pair& a) { return {h##NAME(a.x), h##NAME(a.y)}; }
#define TT_HALF_FUNCTIONS(T)                                                                                \
    TT_READS bool __hisnan(const T& x) { return isnan(float(x)); }                                          \
    TT_READS int __hisinf(const T& x) { return isinf(float(x)) ? (float(x) > 0 ? 1 : -1) : 0; }             \
    TT_READS T##_pair __hisnan2(const T##_pair& a) {                                                        \
        return {T(float(__hisnan(a.x))), T(float(__hisnan(a.y)))};                                          \
    }                                                                                                       \
    TT_HALF_BINARY(T, hadd, hadd2, a + b)                                                                   \
    TT_HALF_BINARY(T, hsub, hsub2, a - b) TT_HALF_BINARY(T, hmul, hmul2, a* b)                              \
        TT_HALF_BINARY(T, hdiv, h2div, a / b) TT_READS T                                                    \
        __hfma(const T& a, const T& b, const T& c) {                                                        \
        return tt_emu::fused(a, b, c);                                                                      \
    }                                                                                                       \
    TT_READS T __hfma_sat(const T& a, const T& b, const T& c) {                                             \
        return tt_emu::held<T>(float(tt_emu::fused(a, b, c)));                                              \
    }                                                                                                       \
    TT_READS T __hfma_relu(const T& a, const T& b, const T& c) {                                            \
        return tt_emu::positive(tt_emu::fused(a, b, c));                                                    \
    }                                                                                                       \
    TT_READS T##_pair __hfma2(const T##_pair& a, const T##_pair& b, const T##_pair& c) {                    \
        return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};                                              \
    }                                                                                                       \
    TT_READS T##_pair __hfma2_relu(const T##_pair& a, const T##_pair& b, const T##_pair& c) {               \
        return {__hfma_relu(a.x, b.x, c.x), __hfma_relu(a.y, b.y, c.y)};                                    \
    }                                                                                                       \
    TT_READS T __hneg(const T& x) { return -x; }                                                            \
    TT_READS T __habs(const T& x) { return tt_emu::bits<T>((unsigned short)(x.__x & 0x7fff)); }             \
    TT_READS T##_pair __hneg2(const T##_pair& a) { return {-a.x, -a.y}; }                                   \
    TT_READS T##_pair __habs2(const T##_pair& a) { return {__habs(a.x), __habs(a.y)}; }                     \
    TT_READS T __hmax(const T& a, const T& b) { return __hisnan(a) || a < b ? b : a; }                      \
    TT_READS T __hmin(const T& a, const T& b) { return __hisnan(a) || b < a ? b : a; }                      \
    TT_READS T __hmax_nan(const T& a, const T& b) {                                                         \
        return __hisnan(a) ? a : __hisnan(b) ? b : __hmax(a, b);                                            \
    }                                                                                                       \
    TT_READS T __hmin_nan(const T& a, const T& b) {                                                         \
        return __hisnan(a) ? a : __hisnan(b) ? b : __hmin(a, b);                                            \
    }                                                                                                       \
    TT_HALF2(T, __hmax2, __hmax)                                                                            \
    TT_HALF2(T, __hmin2, __hmin) TT_HALF2(T, __hmax2_nan, __hmax_nan) TT_HALF2(T, __hmin2_nan, __hmin_nan)  \
        TT_HALF_COMPARE(T, eq, ==) TT_HALF_COMPARE(T, ne, !=) TT_HALF_COMPARE(T, lt, <) TT_HALF_COMPARE(    \
            T, gt, >) TT_HALF_COMPARE(T, le, <=) TT_HALF_COMPARE(T, ge, >=) TT_HALF_UNARY(T, exp, expf(x))  \
            TT_HALF_UNARY(T, exp2, exp2f(x)) TT_HALF_UNARY(T, exp10, exp10f(x))                             \
                TT_HALF_UNARY(T, log, logf(x)) TT_HALF_UNARY(T, log2, log2f(x))                             \
                    TT_HALF_UNARY(T, log10, log10f(x)) TT_HALF_UNARY(T, sin, sinf(x))                       \
                        TT_HALF_UNARY(T, cos, cosf(x)) TT_HALF_UNARY(T, tanh, tanhf(x))                     \
                            TT_HALF_UNARY(T, tanh_approx, tanhf(x)) TT_HALF_UNARY(T, sqrt, sqrtf(x))        \
                                TT_HALF_UNARY(T, rsqrt, 1.0 / sqrt((double)x))                              \
                                    TT_HALF_UNARY(T, rcp, 1.0f / x) TT_HALF_UNARY(T, floor, floorf(x))      \
                                        TT_HALF_UNARY(T, ceil, ceilf(x)) TT_HALF_UNARY(T, trunc, truncf(x)) \
                                            TT_HALF_UNARY(T, rint, rintf(x)) TT_READS T##_pair              \
                                            operator+(const T##_pair& a, const T##_pair& b) {               \
        return __hadd2(a, b);                                                                               \
    }                                                                                                       \
    TT_READS T##_pair operator-(const T##_pair& a, const T##_pair& b) { return __hsub2(a, b); }             \
    TT_READS T##_pair operator*(const T##_pair& a, const T##_pair& b) { return __hmul2(a, b); }             \
    TT_READS T##_pair operator/(const T##_pair& a, const T##_pair& b) { return __h2div(a, b); }             \
    TT_READS T##_pair& operator+=(T##_pair& a, const T##_pair& b) { return a = a + b; }                     \
    TT_READS T##_pair& operator-=(T##_pair& a, const T##_pair& b) { return a = a - b; }                     \
    TT_READS T##_pair& operator*=(T##_pair& a, const T##_pair& b) { return a = a * b; }                     \
    TT_READS T##_pair& operator/=(T##_pair& a, const T##_pair& b) { return a = a / b; }                     \
    TT_READS T##_pair operator-(const T##_pair& a) { return __hneg2(a); }                                   \
    TT_READS bool operator==(const T##_pair& a, const T##_pair& b) { return __hbeq2(a, b); }                \
    TT_READS bool operator!=(const T##_pair& a, const T##_pair& b) { return !__hbeq2(a, b); }
TT_HALF_FUNCTIONS(__half)
TT_HALF_FUNCTIONS(__nv_bfloat16)
TT_READS __half2 __hcmadd(const __half2& a, const __half2& b, const __half2& c) {  // complex a b + c
    return {__hfma(-a.y, b.y, __hfma(a.x, b.x, c.x)), __hfma(a.y, b.x, __hfma(a.x, b.y, c.y))};
}

// NAME: as in __half2int_rn and __low2half; PAIR: as in __halves2half2.
#define TT_HALF_INTEGER(T, NAME, I, INAME)                                                            \
    TT_READS I __##NAME##2##INAME##_rn(const T& x) { return tt_emu::saturated<I>(rintf(float(x))); }  \
    TT_READS I __##NAME##2##INAME##_rz(const T& x) { return tt_emu::saturated<I>(truncf(float(x))); } \
    TT_READS I __##NAME##2##INAME##_rd(const T& x) { return tt_emu::saturated<I>(floorf(float(x))); } \
    TT_READS I __##NAME##2##INAME##_ru(const T& x) { return tt_emu::saturated<I>(ceilf(float(x))); }  \
    TT_RETURNS T __##INAME##2##NAME##_rn(I x) { return tt_emu::copy_of(T(x)); }
#define TT_HALF_CONVERSIONS(T, NAME, PAIR)                                                       \
    TT_HALF_INTEGER(T, NAME, int, int)                                                           \
    TT_HALF_INTEGER(T, NAME, unsigned, uint) TT_HALF_INTEGER(T, NAME, short, short)              \
        TT_HALF_INTEGER(T, NAME, unsigned short, ushort) TT_HALF_INTEGER(T, NAME, long long, ll) \
            TT_HALF_INTEGER(T, NAME, unsigned long long, ull) TT_RETURNS T                       \
            __float2##NAME##_rz(float x) {                                                       \
        return tt_emu::copy_of(tt_emu::narrow<T>(x, 'z'));                                       \
    }                                                                                            \
    TT_RETURNS T __float2##NAME##_rd(float x) {                                                  \
        return tt_emu::copy_of(tt_emu::narrow<T>(x, 'd'));                                       \
    }                                                                                            \
    TT_RETURNS T __float2##NAME##_ru(float x) {                                                  \
        return tt_emu::copy_of(tt_emu::narrow<T>(x, 'u'));                                       \
    }                                                                                            \
    TT_RETURNS T##_pair __float2##PAIR##_rn(float x) {                                           \
        return tt_emu::copy_of(T##_pair(T(x), T(x)));                                            \
    }                                                                                            \
    TT_READS T##_pair __##NAME##2##PAIR(const T& x) { return {x, x}; }                           \
    TT_READS T##_pair __halves2##PAIR(const T& x, const T& y) { return {x, y}; }                 \
    TT_READS T __low2##NAME(const T##_pair& a) { return a.x; }                                   \
    TT_READS T __high2##NAME(const T##_pair& a) { return a.y; }                                  \
    TT_READS T##_pair __low2##PAIR(const T##_pair& a) { return {a.x, a.x}; }                     \
    TT_READS T##_pair __high2##PAIR(const T##_pair& a) { return {a.y, a.y}; }                    \
    TT_READS T##_pair __lows2##PAIR(const T##_pair& a, const T##_pair& b) { return {a.x, b.x}; } \
    TT_READS T##_pair __highs2##PAIR(const T##_pair& a, const T##_pair& b) { return {a.y, b.y}; }
TT_HALF_CONVERSIONS(__half, half, half2)
TT_HALF_CONVERSIONS(__nv_bfloat16, bfloat16, bfloat162)
TT_READS __half2 __lowhigh2highlow(const __half2& a) { return {a.y, a.x}; }
TT_READS __nv_bfloat162 __lowhigh2highlow(const __nv_bfloat162& a) { return {a.y, a.x}; }
#undef TT_READS
#undef TT_HALF2
#undef TT_HALF_BINARY
#undef TT_HALF_COMPARE
#undef TT_HALF_UNARY
#undef TT_HALF_FUNCTIONS
#undef TT_HALF_INTEGER
#undef TT_HALF_CONVERSIONS
