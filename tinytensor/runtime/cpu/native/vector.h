// SIMD vectors of float32, as wide as the registers of the target processor.
//
// A loop over a row processes whole vectors and then, if the length is not a multiple of LANES, a partial
// one; its body is written once, for both:
//
//     each_vector(width, [&](Index i, auto lanes) { store(y + i, load(x + i, lanes) * 2, lanes); });
//
// Missing lanes of a partial vector are read as 0 and never written.
#pragma once
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>  // parsing it takes half a second, so the code for AVX does without
#endif

using Index = long long;

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int Ints __attribute__((vector_size(4 * LANES)));

struct Whole {};  // all lanes
struct Part {     // the first `count` lanes
    int count;
};

// Number of lanes.
inline constexpr int number_of(Whole) { return LANES; }
inline constexpr int number_of(Part part) { return part.count; }

// Numbers and booleans as types: `float sum[number.value]`, `if constexpr (answer())`.
template <int N>
struct Number {
    static constexpr int value = N;
};
struct Yes {
    constexpr bool operator()() const { return true; }
};
struct No {
    constexpr bool operator()() const { return false; }
};

inline Floats all(float x) { return x - Floats{}; }  // not x + 0: that of -0 is 0

inline Floats load(const float* p, Whole = {}) {
    typedef float Anywhere __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
    return *(const Anywhere*)p;
}
inline void store(float* p, Floats v, Whole = {}) {
    typedef float Anywhere __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
    *(Anywhere*)p = v;
}

#if defined(__AVX512F__)
inline __mmask16 mask_of(Part part) { return (__mmask16)((1u << part.count) - 1); }
inline Floats load(const float* p, Part part) { return (Floats)_mm512_maskz_loadu_ps(mask_of(part), p); }
inline void store(float* p, Floats v, Part part) { _mm512_mask_storeu_ps(p, mask_of(part), (__m512)v); }
#elif defined(__AVX__)
inline Ints mask_of(Part part) {
    static const int ones[2 * LANES] = {-1, -1, -1, -1, -1, -1, -1, -1};
    Ints mask;
    memcpy(&mask, ones + LANES - part.count, sizeof mask);
    return mask;
}
inline Floats load(const float* p, Part part) {
    return __builtin_ia32_maskloadps256((const Floats*)p, mask_of(part));
}
inline void store(float* p, Floats v, Part part) {
    __builtin_ia32_maskstoreps256((Floats*)p, mask_of(part), v);
}
#else
inline Floats load(const float* p, Part part) {
    Floats v = {};
    for (int i = 0; i < part.count; i++)
        v[i] = p[i];
    return v;
}
inline void store(float* p, Floats v, Part part) {
    for (int i = 0; i < part.count; i++)
        p[i] = v[i];
}
#endif

// v in active lanes, `other` elsewhere.
inline Floats only(Floats v, Whole, Floats = Floats()) { return v; }
inline Floats only(Floats v, Part part, Floats other = Floats()) {
    Ints lane;
    for (int i = 0; i < LANES; i++)
        lane[i] = i;
    return lane < part.count ? v : other;
}

// Elementwise; b if one of them is nan, as the instruction does.
#if defined(__AVX512F__)
inline Floats larger(Floats a, Floats b) { return (Floats)_mm512_max_ps((__m512)a, (__m512)b); }
inline Floats smaller(Floats a, Floats b) { return (Floats)_mm512_min_ps((__m512)a, (__m512)b); }
#else
inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }
inline Floats smaller(Floats a, Floats b) { return a < b ? a : b; }
#endif

// The exponential function, with an error of less than 2 units in the last place, including subnormal
// results; nan for nan.
inline Floats exponential(Floats x) {
    x = larger(all(-104), smaller(all(89), x));
    constexpr float MAGIC = 12582912;  // 1.5 * 2^23: a number added to it is rounded to an integer
    Floats shifted = x * 1.44269504f + MAGIC;
    Floats n = shifted - MAGIC;
    Floats r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // x - n log(2), in two steps
    Floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1;
#if defined(__AVX512F__)
    return (Floats)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    Ints power = (Ints)shifted - 0x4B400000;  // the bits of MAGIC
    Ints half = power >> 1;                   // 2^power in two factors, since one may not be normal
    return p * (Floats)((half + 127) << 23) * (Floats)((power - half + 127) << 23);
#endif
}

// The natural logarithm of positive normal numbers, inf or nan, with an error of less than 2 units in the
// last place.
inline Floats logarithm(Floats x) {
    Ints bits = (Ints)x, power = (bits - 0x3F3504F3) >> 23;  // x = m 2^power, m from sqrt(1/2) to sqrt(2)
    Floats m = (Floats)(bits - (power << 23)) - 1, n = __builtin_convertvector(power, Floats);
    Floats p = m * 7.0376836292e-2f - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    Floats square = m * m;
    Floats log = n * 0.693359375f + (m + (p * m * square - square * 0.5f + n * -2.12194440e-4f));
    return x < __builtin_inff() ? log : x;
}

// a0 b0 a1 b1 …, from the first or the second halves of a and b.
#if defined(__AVX512F__)
inline Floats mixed(Floats a, Floats b, bool second) {
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    __m512i places = _mm512_add_epi32(first, _mm512_set1_epi32(second ? 8 : 0));
    return (Floats)_mm512_permutex2var_ps((__m512)a, places, (__m512)b);
}
#elif defined(__AVX__)
inline Floats mixed(Floats a, Floats b, bool second) {
#if defined(__clang__)
    return second ? __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
                  : __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
    return second ? __builtin_shuffle(a, b, Ints{4, 12, 5, 13, 6, 14, 7, 15})
                  : __builtin_shuffle(a, b, Ints{0, 8, 1, 9, 2, 10, 3, 11});
#endif
}
#else
inline Floats mixed(Floats a, Floats b, bool second) {
    Floats v = {};
    for (int i = 0; i < LANES; i++)
        v[i] = (i % 2 ? b : a)[i / 2 + (second ? LANES / 2 : 0)];
    return v;
}
#endif

// Transpose a square tile of elements.
inline void transpose(Floats (&rows)[LANES]) {
    for (int stage = 1; stage < LANES; stage *= 2) {
        Floats from[LANES];
        for (int i = 0; i < LANES; i++)
            from[i] = rows[i];
        for (int i = 0; i < LANES; i++)
            rows[i] = mixed(from[i / 2], from[i / 2 + LANES / 2], i % 2);
    }
}

// Sum and largest of all lanes, by halves.
#if defined(__AVX512F__)
inline float total(Floats v) { return _mm512_reduce_add_ps((__m512)v); }
inline float highest(Floats v) { return _mm512_reduce_max_ps((__m512)v); }
#else
template <class Join>
inline float halved(Floats v, const Join& join) {
    float lane[LANES];
    memcpy(lane, &v, sizeof v);
    for (int half = LANES / 2; half; half /= 2) {
        for (int i = 0; i < half; i++)
            lane[i] = join(lane[i], lane[i + half]);
    }
    return lane[0];
}
inline float total(Floats v) {
    return halved(v, [](float a, float b) { return a + b; });
}
inline float highest(Floats v) {
    return halved(v, [](float a, float b) { return a > b ? a : b; });
}
#endif

// body(i, lanes) for each vector of n elements.
template <class Body>
inline void each_vector(Index n, const Body& body) {
    Index i = 0;
    for (; i + LANES <= n; i += LANES)
        body(i, Whole{});
    if (i < n) body(i, Part{(int)(n - i)});
}

// The sum over a row of term(i, lanes), a vector. Four independent sums hide the latency of additions; a long
// row is divided into runs, whose sums are added in double: one long sum would lose precision.
template <class Term>
inline float sum_of(Index n, const Term& term) {
    constexpr Index RUN = 4096;  // elements of a run: a multiple of 4 * LANES
    double sum = 0;
    for (Index i = 0; i < n;) {
        const Index end = n - i > RUN ? i + RUN : n;
        Floats a = {}, b = {}, c = {}, d = {};
        for (; i + 4 * LANES <= end; i += 4 * LANES) {
            a += term(i, Whole{});
            b += term(i + LANES, Whole{});
            c += term(i + 2 * LANES, Whole{});
            d += term(i + 3 * LANES, Whole{});
        }
        for (; i + LANES <= end; i += LANES)
            a += term(i, Whole{});
        if (i < end) {
            Part part{(int)(end - i)};
            b += only(term(i, part), part);
            i = end;
        }
        sum += total((a + b) + (c + d));
    }
    return (float)sum;
}

// Maximum of n elements, ignoring nan; -inf if there is none.
inline float largest_of(const float* x, Index n) {
    Floats top = all(-__builtin_inff());
    each_vector(n, [&](Index i, auto lanes) { top = larger(only(load(x + i, lanes), lanes, top), top); });
    return highest(top);
}
