// Mathematical functions and integer intrinsics that NVRTC declares implicitly.
//
// Plain names call the C library, which is at least as accurate as the GPU's. The fast intrinsics (__expf)
// are not less accurate here. Subnormals are not flushed, as with NVRTC's -ftz=false.
#pragma once

// ---- the C library ----------------------------------------------------------------------------------------

#ifndef TT_PROGRAM  // whose host code includes its headers
#define TT_MATH1(NAME)               \
    extern "C" double NAME(double);  \
    extern "C" float NAME##f(float); \
    TT_INLINE float NAME(float x) { return NAME##f(x); }
#define TT_MATH2(NAME)                      \
    extern "C" double NAME(double, double); \
    extern "C" float NAME##f(float, float); \
    TT_INLINE float NAME(float x, float y) { return NAME##f(x, y); }

TT_MATH1(sqrt) TT_MATH1(cbrt) TT_MATH1(fabs)
TT_MATH1(exp) TT_MATH1(exp2) TT_MATH1(expm1) TT_MATH1(log) TT_MATH1(log2) TT_MATH1(log10) TT_MATH1(log1p)
TT_MATH1(sin) TT_MATH1(cos) TT_MATH1(tan) TT_MATH1(asin) TT_MATH1(acos) TT_MATH1(atan)
TT_MATH1(sinh) TT_MATH1(cosh) TT_MATH1(tanh) TT_MATH1(asinh) TT_MATH1(acosh) TT_MATH1(atanh)
TT_MATH1(erf) TT_MATH1(erfc) TT_MATH1(lgamma) TT_MATH1(tgamma) TT_MATH1(logb)
TT_MATH1(floor) TT_MATH1(ceil) TT_MATH1(trunc) TT_MATH1(round) TT_MATH1(rint) TT_MATH1(nearbyint)
TT_MATH2(pow) TT_MATH2(atan2) TT_MATH2(hypot) TT_MATH2(fmod) TT_MATH2(remainder) TT_MATH2(nextafter)
TT_MATH2(fmin) TT_MATH2(fmax) TT_MATH2(fdim) TT_MATH2(copysign)
#undef TT_MATH1
#undef TT_MATH2

                            extern "C" double fma(double, double, double);
extern "C" float fmaf(float, float, float);
extern "C" double ldexp(double, int);
extern "C" float ldexpf(float, int);
extern "C" double frexp(double, int*);
extern "C" float frexpf(float, int*);
extern "C" double modf(double, double*);
extern "C" float modff(float, float*);
extern "C" int ilogb(double);
extern "C" int ilogbf(float);
TT_INLINE float fma(float x, float y, float z) { return fmaf(x, y, z); }
TT_INLINE float ldexp(float x, int n) { return ldexpf(x, n); }
TT_INLINE float frexp(float x, int* n) { return frexpf(x, n); }
TT_INLINE float modf(float x, float* whole) { return modff(x, whole); }
TT_INLINE int ilogb(float x) { return ilogbf(x); }
TT_INLINE double scalbn(double x, int n) { return ldexp(x, n); }
TT_INLINE float scalbnf(float x, int n) { return ldexpf(x, n); }
TT_INLINE float scalbn(float x, int n) { return ldexpf(x, n); }
#endif

TT_INLINE double rsqrt(double x) { return 1.0 / sqrt(x); }
TT_INLINE float rsqrtf(float x) { return 1.0f / sqrtf(x); }
TT_INLINE float rsqrt(float x) { return rsqrtf(x); }
TT_INLINE double rcbrt(double x) { return 1.0 / cbrt(x); }
TT_INLINE float rcbrtf(float x) { return 1.0f / cbrtf(x); }
TT_INLINE float rcbrt(float x) { return rcbrtf(x); }
#ifndef TT_PROGRAM
TT_INLINE double exp10(double x) { return pow(10.0, x); }
TT_INLINE float exp10f(float x) { return powf(10.0f, x); }
TT_INLINE void sincos(double x, double* s, double* c) { *s = sin(x), *c = cos(x); }
TT_INLINE void sincosf(float x, float* s, float* c) { *s = sinf(x), *c = cosf(x); }
#endif
TT_INLINE float exp10(float x) { return exp10f(x); }
TT_INLINE void sincos(float x, float* s, float* c) { sincosf(x, s, c); }

#ifndef TT_PROGRAM
#define TT_PREDICATE(NAME)                                        \
    TT_INLINE bool NAME(double x) { return __builtin_##NAME(x); } \
    TT_INLINE bool NAME(float x) { return __builtin_##NAME(x); }
TT_PREDICATE(isnan) TT_PREDICATE(isinf) TT_PREDICATE(isfinite) TT_PREDICATE(signbit)
#undef TT_PREDICATE

TT_INLINE int abs(int x) { return x < 0 ? -x : x; }
TT_INLINE long long abs(long long x) { return x < 0 ? -x : x; }
TT_INLINE long long llabs(long long x) { return x < 0 ? -x : x; }
TT_INLINE float abs(float x) { return fabsf(x); }
TT_INLINE double abs(double x) { return fabs(x); }
#endif

// As in CUDA: NaN is ignored if one operand is a number; integers of mixed types are compared as unsigned.
TT_INLINE float min(float a, float b) { return fminf(a, b); }
TT_INLINE double min(double a, double b) { return fmin(a, b); }
TT_INLINE double min(float a, double b) { return fmin((double)a, b); }
TT_INLINE double min(double a, float b) { return fmin(a, (double)b); }
TT_INLINE float max(float a, float b) { return fmaxf(a, b); }
TT_INLINE double max(double a, double b) { return fmax(a, b); }
TT_INLINE double max(float a, double b) { return fmax((double)a, b); }
TT_INLINE double max(double a, float b) { return fmax(a, (double)b); }
#define TT_EXTREMES(RESULT, A, B)                                                            \
    TT_INLINE RESULT min(A a, B b) { return (RESULT)a < (RESULT)b ? (RESULT)a : (RESULT)b; } \
    TT_INLINE RESULT max(A a, B b) { return (RESULT)a > (RESULT)b ? (RESULT)a : (RESULT)b; }
TT_EXTREMES(int, int, int) TT_EXTREMES(unsigned, unsigned, unsigned)
TT_EXTREMES(unsigned, int, unsigned) TT_EXTREMES(unsigned, unsigned, int)
TT_EXTREMES(long long, long long, long long)
TT_EXTREMES(unsigned long long, unsigned long long, unsigned long long)
TT_EXTREMES(unsigned long long, long long, unsigned long long)
TT_EXTREMES(unsigned long long, unsigned long long, long long)
#undef TT_EXTREMES

// ---- fast intrinsics, and those that say how they round ---------------------------------------------------

namespace tt_emu {
// A value opaque to the compiler: keeps rounded results, without a fused multiply-add.
#if defined(__x86_64__)
TT_INLINE float rounded(float x) { asm("" : "+x"(x)); return x; }
TT_INLINE double rounded(double x) { asm("" : "+x"(x)); return x; }
#else
TT_INLINE float rounded(float x) { asm("" : "+w"(x)); return x; }
TT_INLINE double rounded(double x) { asm("" : "+w"(x)); return x; }
#endif
}  // namespace tt_emu

#ifdef TT_PROGRAM  // the C library declares functions of these names
#define __expf tt_fast_expf
#define __exp10f tt_fast_exp10f
#define __logf tt_fast_logf
#define __log2f tt_fast_log2f
#define __log10f tt_fast_log10f
#define __sinf tt_fast_sinf
#define __cosf tt_fast_cosf
#define __tanf tt_fast_tanf
#define __sincosf tt_fast_sincosf
#define __powf tt_fast_powf
#endif
TT_INLINE float __expf(float x) { return expf(x); }
TT_INLINE float __exp10f(float x) { return exp10f(x); }
TT_INLINE float __logf(float x) { return logf(x); }
TT_INLINE float __log2f(float x) { return log2f(x); }
TT_INLINE float __log10f(float x) { return log10f(x); }
TT_INLINE float __sinf(float x) { return sinf(x); }
TT_INLINE float __cosf(float x) { return cosf(x); }
TT_INLINE float __tanf(float x) { return tanf(x); }
TT_INLINE void __sincosf(float x, float* s, float* c) { *s = sinf(x), *c = cosf(x); }
TT_INLINE float __powf(float x, float y) { return powf(x, y); }
TT_INLINE float __fdividef(float x, float y) { return x / y; }
TT_INLINE float fdividef(float x, float y) { return x / y; }
TT_INLINE float __saturatef(float x) { return fminf(fmaxf(x, 0.0f), 1.0f); }
TT_INLINE float __frsqrt_rn(float x) { return rsqrtf(x); }

#define TT_ROUNDED(T, P, NAME)                                             \
    TT_INLINE T __##P##add_rn(T x, T y) { return tt_emu::rounded(x + y); } \
    TT_INLINE T __##P##sub_rn(T x, T y) { return tt_emu::rounded(x - y); } \
    TT_INLINE T __##P##mul_rn(T x, T y) { return tt_emu::rounded(x * y); } \
    TT_INLINE T __##P##div_rn(T x, T y) { return tt_emu::rounded(x / y); } \
    TT_INLINE T __##P##rcp_rn(T x) { return tt_emu::rounded(T(1) / x); }   \
    TT_INLINE T __##P##sqrt_rn(T x) { return tt_emu::rounded(sqrt(x)); }   \
    TT_INLINE T NAME(T x, T y, T z) { return fma(x, y, z); }
TT_ROUNDED(float, f, __fmaf_rn)
TT_ROUNDED(double, d, __fma_rn)
#undef TT_ROUNDED

// ---- floats and integers: conversions that saturate, NaN becomes 0 ----------------------------------------

namespace tt_emu {
template <class I, class F>
TT_INLINE I saturated(F x) {  // x is a whole number, or no number
    constexpr I highest = I(-1) > I(0) ? I(-1) : I((~0ull >> 1) >> (64 - 8 * sizeof(I)));
    constexpr I lowest = I(-1) > I(0) ? I(0) : I(-highest - 1);
    return x != x ? I(0) : x >= F(highest) ? highest : x <= F(lowest) ? lowest : I(x);
}
}  // namespace tt_emu

#define TT_TO_INTEGER(F, FNAME, I, INAME)                                                \
    TT_INLINE I __##FNAME##2##INAME##_rn(F x) { return tt_emu::saturated<I>(rint(x)); }  \
    TT_INLINE I __##FNAME##2##INAME##_rz(F x) { return tt_emu::saturated<I>(trunc(x)); } \
    TT_INLINE I __##FNAME##2##INAME##_rd(F x) { return tt_emu::saturated<I>(floor(x)); } \
    TT_INLINE I __##FNAME##2##INAME##_ru(F x) { return tt_emu::saturated<I>(ceil(x)); }
TT_TO_INTEGER(float, float, int, int)
TT_TO_INTEGER(float, float, unsigned, uint)
TT_TO_INTEGER(float, float, long long, ll)
TT_TO_INTEGER(float, float, unsigned long long, ull)
TT_TO_INTEGER(double, double, int, int)
TT_TO_INTEGER(double, double, unsigned, uint)
TT_TO_INTEGER(double, double, long long, ll)
TT_TO_INTEGER(double, double, unsigned long long, ull)
#undef TT_TO_INTEGER
#ifndef TT_PROGRAM
TT_INLINE long long llrint(double x) { return __double2ll_rn(x); }
TT_INLINE long long llrintf(float x) { return __float2ll_rn(x); }
TT_INLINE long long llround(double x) { return tt_emu::saturated<long long>(round(x)); }
TT_INLINE long long llroundf(float x) { return tt_emu::saturated<long long>(roundf(x)); }
#endif
TT_INLINE float __int2float_rn(int x) { return (float)x; }
TT_INLINE float __uint2float_rn(unsigned x) { return (float)x; }
TT_INLINE float __ll2float_rn(long long x) { return (float)x; }
TT_INLINE float __ull2float_rn(unsigned long long x) { return (float)x; }
TT_INLINE double __int2double_rn(int x) { return x; }
TT_INLINE double __uint2double_rn(unsigned x) { return x; }
TT_INLINE double __ll2double_rn(long long x) { return (double)x; }
TT_INLINE double __ull2double_rn(unsigned long long x) { return (double)x; }
TT_INLINE float __double2float_rn(double x) { return (float)x; }

// ---- bits -------------------------------------------------------------------------------------------------

TT_INLINE float __int_as_float(int x) { return tt_emu::bits<float>(x); }
TT_INLINE int __float_as_int(float x) { return tt_emu::bits<int>(x); }
TT_INLINE float __uint_as_float(unsigned x) { return tt_emu::bits<float>(x); }
TT_INLINE unsigned __float_as_uint(float x) { return tt_emu::bits<unsigned>(x); }
TT_INLINE double __longlong_as_double(long long x) { return tt_emu::bits<double>(x); }
TT_INLINE long long __double_as_longlong(double x) { return tt_emu::bits<long long>(x); }
TT_INLINE int __double2hiint(double x) { return (int)(tt_emu::bits<long long>(x) >> 32); }
TT_INLINE int __double2loint(double x) { return (int)tt_emu::bits<long long>(x); }
TT_INLINE double __hiloint2double(int high, int low) {
    return tt_emu::bits<double>((long long)((unsigned long long)(unsigned)high << 32 | (unsigned)low));
}

TT_INLINE int __popc(unsigned x) { return __builtin_popcount(x); }
TT_INLINE int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
TT_INLINE int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
TT_INLINE int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
TT_INLINE int __ffs(int x) { return __builtin_ffs(x); }
TT_INLINE int __ffsll(long long x) { return __builtin_ffsll(x); }
TT_INLINE unsigned __brev(unsigned x) {
    x = (x >> 1 & 0x55555555u) | (x & 0x55555555u) << 1;
    x = (x >> 2 & 0x33333333u) | (x & 0x33333333u) << 2;
    x = (x >> 4 & 0x0f0f0f0fu) | (x & 0x0f0f0f0fu) << 4;
    return __builtin_bswap32(x);
}
TT_INLINE unsigned long long __brevll(unsigned long long x) {
    return (unsigned long long)__brev((unsigned)x) << 32 | __brev((unsigned)(x >> 32));
}
TT_INLINE unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    unsigned long long bytes = (unsigned long long)y << 32 | x;
    unsigned result = 0;
    for (int i = 0; i < 4; i++) result |= (unsigned)(bytes >> (selector >> 4 * i & 7) * 8 & 255) << 8 * i;
    return result;
}
TT_INLINE unsigned __umulhi(unsigned x, unsigned y) { return (unsigned)((unsigned long long)x * y >> 32); }
TT_INLINE int __mulhi(int x, int y) { return (int)((long long)x * y >> 32); }
TT_INLINE unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
    return (unsigned long long)((unsigned __int128)x * y >> 64);
}
TT_INLINE long long __mul64hi(long long x, long long y) { return (long long)((__int128)x * y >> 64); }
TT_INLINE int __mul24(int x, int y) {
    return ((int)((unsigned)x << 8) >> 8) * ((int)((unsigned)y << 8) >> 8);
}
TT_INLINE unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return (unsigned)(((unsigned long long)high << 32 | low) << (shift & 31) >> 32);
}
TT_INLINE unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return (unsigned)(((unsigned long long)high << 32 | low) >> (shift & 31));
}
