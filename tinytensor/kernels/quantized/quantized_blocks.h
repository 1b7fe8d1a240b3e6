// Blocks of packed weights, as GGUF lays them out. Each struct is a kind: `values` in a block of `nbytes`,
// `group` of them with one scale. load(block, k) gives the integers of 32 values, from 32 k on, as bytes; a
// value is scale * (byte - zero) + offset; floats(block, …) gives the scales and offsets of all groups, the
// latter if the kind has them (`shifted`). Specification: ops/quantized/kinds.py.
#pragma once
#include "vector.h"
#include <stdint.h>
#if defined(__AVX__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

using Byte = const uint8_t*;
typedef uint8_t Bytes16 __attribute__((vector_size(16)));

// A register, and 32 bytes in one or two of them: g++ keeps vectors that are wider than a register in memory.
#if defined(__AVX2__)
constexpr int REGISTER = 32;
#else
constexpr int REGISTER = 16;
#endif
typedef uint8_t Bytes __attribute__((vector_size(REGISTER)));
struct Bytes32 {
    Bytes part[32 / REGISTER];
};

inline Bytes32 operator&(Bytes32 v, uint8_t bits) {
    for (Bytes& part : v.part) part &= bits;
    return v;
}
inline Bytes32 operator^(Bytes32 v, uint8_t bits) {
    for (Bytes& part : v.part) part ^= bits;
    return v;
}
inline Bytes32 operator<<(Bytes32 v, uint8_t count) {
    for (Bytes& part : v.part) part <<= count;
    return v;
}
inline Bytes32 operator>>(Bytes32 v, uint8_t count) {
    for (Bytes& part : v.part) part >>= count;
    return v;
}
inline Bytes32 operator|(Bytes32 v, Bytes32 other) {
    for (int i = 0; i < 32 / REGISTER; i++) v.part[i] |= other.part[i];
    return v;
}

template <class Vector>
inline Vector read(Byte p) {
    Vector v;
    memcpy(&v, p, sizeof v);
    return v;
}

inline Bytes32 joined(Bytes16 low, Bytes16 high) {
#if defined(__AVX2__)
    return {{(Bytes)_mm256_inserti128_si256(_mm256_castsi128_si256((__m128i)low), (__m128i)high, 1)}};
#else
    return {{low, high}};
#endif
}

// A float16.
inline float half_at(Byte p) {
    uint16_t bits;
    memcpy(&bits, p, 2);
#if defined(__F16C__)
    return _cvtsh_ss(bits);
#elif defined(__aarch64__)
    __fp16 half;
    memcpy(&half, &bits, 2);
    return half;
#else
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16, rest = bits & 0x7fff;
    float value;
    if (rest >= 0x7c00) {  // inf and nan
        const uint32_t wide = sign | 0x7f800000 | (rest & 0x3ff) << 13;
        memcpy(&value, &wide, 4);
    } else {
        const uint32_t wide = rest << 13;  // as if the exponent were that of a float: 2^112 too small
        memcpy(&value, &wide, 4);
        value *= sign ? -0x1p112f : 0x1p112f;
    }
    return value;
#endif
}

// 32 bytes of which each is 16 if its bit is set.
inline Bytes32 fifth_bits(Byte p) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    uint32_t bits;
    memcpy(&bits, p, 4);
    return {{(Bytes)_mm256_maskz_set1_epi8(bits, 16)}};
#else
    typedef uint64_t Words __attribute__((vector_size(REGISTER)));
    const Bytes bit = (Bytes)(0x8040201008040201 - Words{});
    Bytes32 v;
    for (int i = 0; i < 32 / REGISTER; i++) {
        Words eight;  // copies of each byte
        for (int e = 0; e < REGISTER / 8; e++) eight[e] = 0x0101010101010101 * p[i * REGISTER / 8 + e];
        v.part[i] = (Bytes)(((Bytes)eight & bit) == bit) & 16;
    }
    return v;
#endif
}

inline Bytes32 nibbles(Byte p) {  // of 16 bytes: the low halves, then the high ones
    const Bytes16 both = read<Bytes16>(p);
    return joined(both & 15, both >> 4);
}

struct Q8_0 {
    static constexpr int values = 32, nbytes = 34, group = 32;
    static constexpr bool shifted = false;
    static constexpr int zero = 128;  // dot products take unsigned bytes
    static Bytes32 load(Byte b, int) { return read<Bytes32>(b + 2) ^ 128; }
    static void floats(Byte b, float* scales, float*) { *scales = half_at(b); }
};

struct Q4_0 {
    static constexpr int values = 32, nbytes = 18, group = 32, zero = 8;
    static constexpr bool shifted = false;
    static Bytes32 load(Byte b, int) { return nibbles(b + 2); }
    static void floats(Byte b, float* scales, float*) { *scales = half_at(b); }
};

struct Q4_1 {
    static constexpr int values = 32, nbytes = 20, group = 32, zero = 0;
    static constexpr bool shifted = true;
    static Bytes32 load(Byte b, int) { return nibbles(b + 4); }
    static void floats(Byte b, float* scales, float* offsets) {
        *scales = half_at(b);
        *offsets = half_at(b + 2);
    }
};

struct Q5_0 {
    static constexpr int values = 32, nbytes = 22, group = 32, zero = 16;
    static constexpr bool shifted = false;
    static Bytes32 load(Byte b, int) { return nibbles(b + 6) | fifth_bits(b + 2); }
    static void floats(Byte b, float* scales, float*) { *scales = half_at(b); }
};

struct Q5_1 {
    static constexpr int values = 32, nbytes = 24, group = 32, zero = 0;
    static constexpr bool shifted = true;
    static Bytes32 load(Byte b, int) { return nibbles(b + 8) | fifth_bits(b + 4); }
    static void floats(Byte b, float* scales, float* offsets) {
        *scales = half_at(b);
        *offsets = half_at(b + 2);
    }
};

// 8 scales and 8 minimums of 6 bits, each a factor of a float.
struct OfSixBits {
    static constexpr int values = 256, group = 32, zero = 0;
    static constexpr bool shifted = true;
    static void floats(Byte b, float* scales, float* offsets) {
        const float scale = half_at(b), start = -half_at(b + 2);
        uint32_t low, high, rest;  // 4 scales, 4 minimums, and 4 bits of 4 more of each
        memcpy(&low, b + 4, 4);
        memcpy(&high, b + 8, 4);
        memcpy(&rest, b + 12, 4);
        const uint32_t words[4] = {low & 0x3f3f3f3f, (rest & 0x0f0f0f0f) | (low >> 2 & 0x30303030),
                                   high & 0x3f3f3f3f, (rest >> 4 & 0x0f0f0f0f) | (high >> 2 & 0x30303030)};
#if defined(__AVX2__)
        const __m128i bits = _mm_setr_epi32(words[0], words[1], words[2], words[3]);  // not through memory
        const __m256i first = _mm256_cvtepu8_epi32(bits);
        const __m256i second = _mm256_cvtepu8_epi32(_mm_srli_si128(bits, 8));
        _mm256_storeu_ps(scales, _mm256_mul_ps(_mm256_set1_ps(scale), _mm256_cvtepi32_ps(first)));
        _mm256_storeu_ps(offsets, _mm256_mul_ps(_mm256_set1_ps(start), _mm256_cvtepi32_ps(second)));
#else
        uint8_t bits[16];
        memcpy(bits, words, 16);
        for (int g = 0; g < 8; g++) {
            scales[g] = scale * (float)bits[g];
            offsets[g] = start * (float)bits[8 + g];
        }
#endif
    }
};

struct Q4_K : OfSixBits {
    static constexpr int nbytes = 144;
    static Bytes32 load(Byte b, int k) {
        const Bytes32 both = read<Bytes32>(b + 16 + k / 2 * 32);
        return k % 2 ? both >> 4 : both & 15;
    }
};

struct Q5_K : OfSixBits {
    static constexpr int nbytes = 176;
    static Bytes32 load(Byte b, int k) {
        const Bytes32 both = read<Bytes32>(b + 48 + k / 2 * 32);
        const Bytes32 high = read<Bytes32>(b + 16) >> (uint8_t)k & 1;
        return (k % 2 ? both >> 4 : both & 15) | high << 4;
    }
};

struct Q6_K {
    static constexpr int values = 256, nbytes = 210, group = 16, zero = 32;
    static constexpr bool shifted = false;
    static Bytes32 load(Byte b, int k) {
        const int half = k / 4, quarter = k % 4;
        const Bytes32 both = read<Bytes32>(b + half * 64 + quarter % 2 * 32);
        const Bytes32 high = read<Bytes32>(b + 128 + half * 32) >> (uint8_t)(2 * quarter) & 3;
        return (quarter / 2 ? both >> 4 : both & 15) | high << 4;
    }
    static void floats(Byte b, float* scales, float*) {
        const float scale = half_at(b + 208);
#if defined(__AVX512F__)
        const __m512i integers = _mm512_cvtepi8_epi32((__m128i)read<Bytes16>(b + 192));
        _mm512_storeu_ps(scales, _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_cvtepi32_ps(integers)));
#else
        for (int g = 0; g < 16; g++) scales[g] = scale * (float)(int8_t)b[192 + g];
#endif
    }
};

// f(Kind()) for the kind with a number in QUANTIZED of ops/quantized/kinds.py; false if there is none.
template <class F>
inline bool of_kind(int number, const F& f) {
    switch (number) {
        case 0: return f(Q8_0());
        case 1: return f(Q4_0());
        case 2: return f(Q4_1());
        case 3: return f(Q5_0());
        case 4: return f(Q5_1());
        case 5: return f(Q4_K());
        case 6: return f(Q5_K());
        case 7: return f(Q6_K());
    }
    return false;
}
