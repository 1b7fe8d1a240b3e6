// float16 and bfloat16, rounding to nearest, ties to even. Each operation computes in float and rounds once:
// with 24 bits the second rounding of a sum, product, quotient or root never differs from a single one.
//
// Functions that read a number in memory (`this`, a reference) are compiled with the checks of a kernel, so
// that the access is instrumented; g++ does not instrument passing a number by value.
#pragma once

#define TT_OF_FLOATS(T, RESULT, OPERATOR)                     \
    friend RESULT operator OPERATOR(const T& a, const T& b) { \
        return float(a) OPERATOR float(b);                    \
    }
#define TT_STEP(T, OPERATOR)                                                        \
    T& operator OPERATOR##OPERATOR() { return *this = float(*this) OPERATOR 1.0f; } \
    T operator OPERATOR##OPERATOR(int) {                                            \
        T old = *this;                                                              \
        OPERATOR##OPERATOR *this;                                                   \
        return old;                                                                 \
    }
// The member has the name of CUDA's headers.
#define TT_HALF(T, ENCODE, DECODE)                                                 \
    struct alignas(2) T {                                                          \
        unsigned short __x;                                                        \
        T() = default;                                                             \
        TT_NOSAN T(float f) : __x(tt_emu::ENCODE(f)) {}                            \
        TT_NOSAN T(double f) : __x(tt_emu::ENCODE(tt_emu::sticky(f))) {}           \
        TT_NOSAN T(int i) : T((double)i) {}                                        \
        TT_NOSAN T(unsigned i) : T((double)i) {}                                   \
        TT_NOSAN T(short i) : T((float)i) {}                                       \
        TT_NOSAN T(unsigned short i) : T((float)i) {}                              \
        TT_NOSAN T(long long i) : T((double)i) {}                                  \
        TT_NOSAN T(unsigned long long i) : T((double)i) {}                         \
        operator float() const { return tt_emu::DECODE(__x); }                     \
        explicit operator bool() const { return (__x & 0x7fff) != 0; }             \
        TT_OF_FLOATS(T, T, +) TT_OF_FLOATS(T, T, -)                                \
        TT_OF_FLOATS(T, T, *) TT_OF_FLOATS(T, T, /)                                \
        T& operator+=(const T& b) { return *this = *this + b; }                    \
        T& operator-=(const T& b) { return *this = *this - b; }                    \
        T& operator*=(const T& b) { return *this = *this * b; }                    \
        T& operator/=(const T& b) { return *this = *this / b; }                    \
        T operator+() const { return *this; }                                      \
        T operator-() const { return tt_emu::bits<T>((unsigned short)(__x ^ 0x8000)); }\
        TT_STEP(T, +) TT_STEP(T, -)                                                \
        TT_OF_FLOATS(T, bool, ==) TT_OF_FLOATS(T, bool, !=) TT_OF_FLOATS(T, bool, <)\
        TT_OF_FLOATS(T, bool, >) TT_OF_FLOATS(T, bool, <=) TT_OF_FLOATS(T, bool, >=)\
    };                                                                             \
    struct alignas(4) T##_pair {                                                   \
        T x, y;                                                                    \
        T##_pair() = default;                                                      \
        TT_NOSAN T##_pair(T x, T y) : x(x), y(y) {}                                \
    };
TT_HALF(__half, half_bits, half_value)
TT_HALF(__nv_bfloat16, bfloat16_bits, bfloat16_value)
#undef TT_HALF
#undef TT_OF_FLOATS
#undef TT_STEP

typedef __half_pair __half2;
typedef __nv_bfloat16_pair __nv_bfloat162;
#ifndef TT_PROGRAM  // where these are names of the program, unless it includes the headers
#include "run/include/cuda_fp16.h"
#include "run/include/cuda_bf16.h"
#endif

#define TT_READS static inline
#define TT_CONVERSIONS(T, T2, NAME, NAME2)                                          \
    TT_READS float __##NAME##2float(const T& x) { return float(x); }                \
    TT_RETURNS T __float2##NAME(float x) { return tt_emu::copy_of(T(x)); }          \
    TT_RETURNS T __float2##NAME##_rn(float x) { return tt_emu::copy_of(T(x)); }     \
    TT_RETURNS T __double2##NAME(double x) { return tt_emu::copy_of(T(x)); }        \
    TT_READS unsigned short __##NAME##_as_ushort(const T& x) { return x.__x; }      \
    TT_READS short __##NAME##_as_short(const T& x) { return (short)x.__x; }         \
    TT_RETURNS T __ushort_as_##NAME(unsigned short x) {                             \
        return tt_emu::copy_of(tt_emu::bits<T>(x));                                 \
    }                                                                               \
    TT_RETURNS T __short_as_##NAME(short x) {                                       \
        return tt_emu::copy_of(tt_emu::bits<T>(x));                                 \
    }                                                                               \
    TT_READS float2 __##NAME2##2float2(const T2& x) {                               \
        return {float(x.x), float(x.y)};                                            \
    }                                                                               \
    TT_RETURNS T2 __floats2##NAME2##_rn(float x, float y) {                         \
        return tt_emu::copy_of(T2(T(x), T(y)));                                     \
    }                                                                               \
    TT_RETURNS T2 __float22##NAME2##_rn(float2 x) {                                 \
        return tt_emu::copy_of(T2(T(x.x), T(x.y)));                                 \
    }                                                                               \
    TT_RETURNS T2 make_##NAME2(T x, T y) { return tt_emu::copy_of(T2(x, y)); }      \
    TT_READS float __low2float(const T2& x) { return float(x.x); }                  \
    TT_READS float __high2float(const T2& x) { return float(x.y); }
TT_CONVERSIONS(__half, __half2, half, half2)
TT_CONVERSIONS(__nv_bfloat16, __nv_bfloat162, bfloat16, bfloat162)
#undef TT_CONVERSIONS
#undef TT_READS
