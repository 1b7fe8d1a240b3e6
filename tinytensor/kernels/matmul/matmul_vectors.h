// Vector types of the C++ matrix products, in addition to vector.h and bfloat16.h: float64 vectors, the
// number of vector registers, and a small transpose.
//
// Everything else is plain C++ on the vector types of GCC and clang. The instruction set is known at compile
// time, since compilation happens on the machine that runs the code.
#pragma once
#include "bfloat16.h"

#define INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int REGISTERS = 32;
#else
constexpr int REGISTERS = 16;
#endif

typedef double Doubles __attribute__((vector_size(sizeof(Floats))));

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
    typedef Floats type;
};
template <>
struct VectorOf<double> {
    typedef Doubles type;
};
template <class T>
using Vector = typename VectorOf<T>::type;
template <class T>
constexpr int WIDTH = sizeof(Floats) / sizeof(T);  // lanes of a vector

INLINE Doubles load(const double* p, Whole = {}) {
    Doubles v;
    memcpy(&v, p, sizeof v);  // one instruction, at any address
    return v;
}
INLINE void store(double* p, Doubles v, Whole = {}) { memcpy(p, &v, sizeof v); }
#if defined(__AVX512F__)
INLINE Doubles load(const double* p, Part part) {
    return (Doubles)_mm512_maskz_loadu_pd((__mmask8)((1u << part.count) - 1), p);
}
INLINE void store(double* p, Doubles v, Part part) {
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << part.count) - 1), (__m512d)v);
}
#else
INLINE Doubles load(const double* p, Part part) {
    Doubles v = {};
    for (int i = 0; i < part.count; i++) v[i] = p[i];
    return v;
}
INLINE void store(double* p, Doubles v, Part part) {
    for (int i = 0; i < part.count; i++) p[i] = v[i];
}
#endif

INLINE double total(Doubles v) {
    double sum = 0;
    for (int i = 0; i < WIDTH<double>; i++) sum += v[i];
    return sum;
}

INLINE float value(float x) { return x; }
INLINE double value(double x) { return x; }
template <class N>
INLINE N number(int x) {
    return (N)x;
}
template <>
INLINE Bf16 number<Bf16>(int x) {  // exact for small numbers
    const float wide = (float)x;
    unsigned bits;
    memcpy(&bits, &wide, sizeof bits);
    return {(unsigned short)(bits >> 16)};
}

// body(i, lanes) for each vector of n numbers of type T.
template <class T, class Body>
INLINE void each_lanes(Index n, const Body& body) {
    Index i = 0;
    for (; i + WIDTH<T> <= n; i += WIDTH<T>) body(i, Whole{});
    if (i < n) body(i, Part{(int)(n - i)});
}

// WIDTH rows of 4 elements, `row` apart, become 4 rows of WIDTH elements, `to_row` apart: for packing a
// transposed matrix.
template <class N, class T>
INLINE void transpose4(const N* from, Index row, T* to, Index to_row) {
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < WIDTH<T>; i++) to[k * to_row + i] = value(from[i * row + k]);
}
#if defined(__AVX512F__)
// Four rows, 4 apart, are side by side in each register; then four transposes of 4 x 4 run at once.
INLINE void transpose4(const float* from, Index row, float* to, Index to_row) {
    __m512 r[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        __m512 t = _mm512_castps128_ps512(_mm_loadu_ps(from + i * row));
        t = _mm512_mask_broadcast_f32x4(t, 0x00f0, _mm_loadu_ps(from + (4 + i) * row));
        t = _mm512_mask_broadcast_f32x4(t, 0x0f00, _mm_loadu_ps(from + (8 + i) * row));
        r[i] = _mm512_mask_broadcast_f32x4(t, 0xf000, _mm_loadu_ps(from + (12 + i) * row));
    }
    const __m512d a = (__m512d)_mm512_unpacklo_ps(r[0], r[1]), b = (__m512d)_mm512_unpackhi_ps(r[0], r[1]);
    const __m512d c = (__m512d)_mm512_unpacklo_ps(r[2], r[3]), d = (__m512d)_mm512_unpackhi_ps(r[2], r[3]);
    _mm512_storeu_ps(to, (__m512)_mm512_unpacklo_pd(a, c));
    _mm512_storeu_ps(to + to_row, (__m512)_mm512_unpackhi_pd(a, c));
    _mm512_storeu_ps(to + 2 * to_row, (__m512)_mm512_unpacklo_pd(b, d));
    _mm512_storeu_ps(to + 3 * to_row, (__m512)_mm512_unpackhi_pd(b, d));
}
#endif

// Spin-wait hint, for waits of some hundred cycles for another thread.
INLINE void relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}
