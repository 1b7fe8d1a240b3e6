// Activations rounded to 16 bits, and their products with a packed row, by integer dot products of 4 bytes:
// VNNI where the processor has it, else AVX2; SDOT on ARM, else NEON; else a loop. An activation is
// 256 * high + low, of 8 bits each.
#pragma once
#include "quantized_blocks.h"
#include "scratch.h"
#include "threads.h"
#include <math.h>

struct Range {
    Index begin, end;
};

typedef int Sums __attribute__((vector_size(REGISTER)));  // of the products of 4 bytes each
typedef float Scaled __attribute__((vector_size(REGISTER)));

#if defined(__AVX512VNNI__) && defined(__AVX512VL__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
#define TT_DOT_BY_512_BITS 1
#endif

// Whether signed weights are multiplied as such: bytes above 127 may overflow in AVX2, and NEON has none.
#if (defined(__AVX2__) && !defined(TT_DOT_BY_512_BITS)) || defined(__aarch64__)
constexpr bool SIGNED = true;
#else
constexpr bool SIGNED = false;
#endif

// What `load` adds to an integer, as far as the dot product does not undo it.
template <class Kind>
constexpr int zero_of = SIGNED && Kind::zero == 128 ? 0 : Kind::zero;

// sum[i] + the products of bytes 4 i … 4 i + 3 of u (unsigned) and x (signed); where that takes fewer
// instructions, of 4 others of the same group.
template <class Kind>
inline Sums dot(Sums sum, Bytes u, Bytes x) {
#if defined(TT_DOT_BY_512_BITS)
    return (Sums)_mm256_dpbusd_epi32((__m256i)sum, (__m256i)u, (__m256i)x);
#elif defined(__AVX2__)
    if constexpr (Kind::zero == 128) {
        const Bytes q = u ^ 128;
        __m128i a[2], b[2];
        memcpy(a, &q, 32);
        memcpy(b, &x, 32);
        for (int i = 0; i < 2; i++)
            sum += (Sums)_mm256_madd_epi16(_mm256_cvtepi8_epi16(a[i]), _mm256_cvtepi8_epi16(b[i]));
        return sum;
    }
    const __m256i pairs = _mm256_maddubs_epi16((__m256i)u, (__m256i)x);
    return sum + (Sums)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#elif defined(__aarch64__)
    const int8x16_t q = (int8x16_t)(Kind::zero == 128 ? u ^ 128 : u), signs = (int8x16_t)x;
#if defined(__ARM_FEATURE_DOTPROD)
    return (Sums)vdotq_s32((int32x4_t)sum, q, signs);
#else
    const int16x8_t low = vmull_s8(vget_low_s8(q), vget_low_s8(signs)), high = vmull_high_s8(q, signs);
    return (Sums)vpadalq_s16(vpadalq_s16((int32x4_t)sum, low), high);
#endif
#else
    for (int i = 0; i < REGISTER / 4; i++) {
        for (int e = 0; e < 4; e++) sum[i] += (int)u[4 * i + e] * (int)(int8_t)x[4 * i + e];
    }
    return sum;
#endif
}

// ---- four blocks of 32 values at once --------------------------------------------------------------------

// Whether four blocks are multiplied by vectors of 512 bits.
#if defined(TT_DOT_BY_512_BITS)
template <class Kind>
constexpr bool BY_FOURS = Kind::values == 32 && Kind::nbytes != 22 && Kind::nbytes != 24;  // not of 5 bits
#else
template <class Kind>
constexpr bool BY_FOURS = false;
#endif

// Rows of x rounded to 16 bits.
template <class Kind>
class Activations {
    static constexpr float MOST = 127 * 256;
    static constexpr int BLOCK = BY_FOURS<Kind> ? 128 : 32;  // values that are multiplied at once
    Scratch memory;

    // Where the byte of value i of a row lies: by fours, the first halves of four blocks, then the others.
    static Index place(Index i) {
        if (!BY_FOURS<Kind>) return i;
        return i / 128 * 128 + i % 32 / 16 * 64 + i % 128 / 32 * 16 + i % 16;
    }

    void round(const float* x, Index row) {
        memset(high(row), 0, 4 * padded);
        for (Index b = 0; b < width / 32; b++) {
            const float* from = x + 32 * b;
            int top = 0;  // of the bits without sign: those of nan are the largest
            for (int i = 0; i < 32; i++) {
                int bits;
                memcpy(&bits, from + i, 4);
                bits &= 0x7fffffff;
                top = bits > top ? bits : top;
            }
            float size;
            memcpy(&size, &top, 4);
            const bool finite = top < 0x7f800000;
            const float inverse = finite && size >= 1e-30f ? MOST / size : 0;
            const float scale = finite ? size / MOST : NAN;
            int8_t highs[32], lows[32];
            int total = 0;
            for (int i = 0; i < 32; i++) {
                const int q = finite ? (int)__builtin_rintf(from[i] * inverse) : 0;
                highs[i] = (q + 128) >> 8;
                lows[i] = q - 256 * highs[i];
                total += q;
            }
            for (int i = 0; i < 32; i += 16) {
                memcpy(high(row) + place(32 * b + i), highs + i, 16);
                memcpy(low(row) + place(32 * b + i), lows + i, 16);
            }
            if (BY_FOURS<Kind>) {
                for (int e = 0; e < 4; e++) scales(row)[4 * b + e] = scale;
                if (Kind::shifted) sums(row)[2 * b + 1] = scale * (float)total;
            } else {
                scales(row)[b] = scale;
                if (Kind::shifted) sums(row)[b] = scale * (float)total;
            }
        }
        if (zero_of<Kind>) start(row);
    }

    // Dot products begin with -zero times the sum of the activations in a lane.
    void start(Index row) {
        int* to = starts(row);
        for (Index i = 0; i < padded / 4; i++) {
            int total = 0;
            for (Index e = 4 * i; e < 4 * i + 4; e++) total += 256 * high(row)[e] + low(row)[e];
            to[i] = -zero_of<Kind> * total;
        }
        if (!BY_FOURS<Kind>) return;
        for (Index b = 0; b < padded / 128; b++) {  // a lane adds up both halves
            for (int i = 0; i < 16; i++) to[16 * b + i] = to[32 * b + i] + to[32 * b + 16 + i];
        }
    }

 public:
    const Index width, padded;

    Activations(const float* x, Index rows, Index width)
        : memory(rows * ((width + BLOCK - 1) / BLOCK * BLOCK)), width(width),
          padded((width + BLOCK - 1) / BLOCK * BLOCK) {
        for (Index row = 0; memory && row < rows; row++) round(x + row * width, row);
    }
    explicit operator bool() const { return (bool)memory; }

    // A row has 4 bytes for each value: 2 of them, 1/2 byte of scales and 1/4 byte of sums, 1 byte of starts.
    int8_t* high(Index row) const { return (int8_t*)(memory.data() + row * padded); }
    int8_t* low(Index row) const { return high(row) + padded; }
    float* scales(Index row) const { return (float*)(high(row) + 2 * padded); }
    float* sums(Index row) const { return (float*)(high(row) + 2 * padded + padded / 2); }
    int* starts(Index row) const { return (int*)(high(row) + 3 * padded); }
};

#if defined(TT_DOT_BY_512_BITS)
// The same 16 bytes of four blocks.
inline __m512i four(Byte a, Byte b, Byte c, Byte d, int at) {
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i*)(a + at)));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i*)(b + at)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i*)(c + at)), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i*)(d + at)), 3);
}

inline int word(Byte p) {
    int bits;
    memcpy(&bits, p, 4);
    return bits;
}

template <int R, class Kind>
inline void dots_by_fours(float (&found)[R], const Activations<Kind>& x, Index row, Byte weight) {
    const Index count = x.width / 32;
    const __m512i each_scale = _mm512_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6);
    __m512 sums[R] = {};
    __m256 offsets[R] = {};
    for (Index i = 0; i < count; i += 4) {
        // Behind the last block come copies of it, whose activations are 0.
        const Index last = count - 1 - i;
        Byte a = weight + i * Kind::nbytes, b = a + (last < 1 ? last : 1) * Kind::nbytes;
        Byte c = a + (last < 2 ? last : 2) * Kind::nbytes, d = a + (last < 3 ? last : 3) * Kind::nbytes;
        const __m256 halves = _mm256_cvtph_ps(_mm_setr_epi32(word(a), word(b), word(c), word(d)));
        const __m512 scale = _mm512_permutexvar_ps(each_scale, _mm512_castps256_ps512(halves));
        __m512i low, high;
        if constexpr (Kind::zero == 128) {
            const __m512i flip = _mm512_set1_epi8((char)128);
            low = _mm512_xor_si512(four(a, b, c, d, 2), flip);
            high = _mm512_xor_si512(four(a, b, c, d, 18), flip);
        } else {
            const __m512i mask = _mm512_set1_epi8(15), both = four(a, b, c, d, Kind::nbytes - 16);
            low = _mm512_and_si512(both, mask);
            high = _mm512_and_si512(_mm512_srli_epi16(both, 4), mask);
        }
        for (int r = 0; r < R; r++) {
            const int8_t *highs = x.high(row + r) + 32 * i, *lows = x.low(row + r) + 32 * i;
            __m512i large = _mm512_setzero_si512(), small = large;
            if (zero_of<Kind>) small = _mm512_load_si512(x.starts(row + r) + 4 * i);
            large = _mm512_dpbusd_epi32(large, low, _mm512_load_si512(highs));
            small = _mm512_dpbusd_epi32(small, low, _mm512_load_si512(lows));
            large = _mm512_dpbusd_epi32(large, high, _mm512_load_si512(highs + 64));
            small = _mm512_dpbusd_epi32(small, high, _mm512_load_si512(lows + 64));
            const __m512i whole = _mm512_add_epi32(_mm512_slli_epi32(large, 8), small);
            const __m512 both = _mm512_mul_ps(scale, _mm512_load_ps(x.scales(row + r) + 4 * i));
            sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), both, sums[r]);
            if (Kind::shifted) {
                const __m256 totals = _mm256_load_ps(x.sums(row + r) + 2 * i);
                offsets[r] = _mm256_fmadd_ps(halves, totals, offsets[r]);
            }
        }
    }
    for (int r = 0; r < R; r++)
        found[r] = _mm512_reduce_add_ps(_mm512_add_ps(sums[r], _mm512_zextps256_ps512(offsets[r])));
}

// ---- blocks of 256 values, 64 at once --------------------------------------------------------------------

template <int R, class Kind>
inline void dots_by_pairs(float (&found)[R], const Activations<Kind>& x, Index row, Byte weight) {
    constexpr int EACH = 32 / Kind::group;  // groups of 32 values
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i group_of_lane = _mm512_srli_epi32(lanes, EACH == 1 ? 3 : 2);
    const __m512i part_of_group = _mm512_srli_epi32(lanes, EACH == 1 ? 0 : 1);
    __m512 sums[R] = {};
    __m256 offsets[R] = {};
    alignas(64) float scales[16] = {}, starts[8] = {};
    for (Index i = 0; i < x.width / 32; i += 8, weight += Kind::nbytes) {
        Kind::floats(weight, scales, starts);
        // Not more than was stored at once: a load across two stores waits for both.
        const __m512 of_groups =
            EACH == 1 ? _mm512_castps256_ps512(_mm256_load_ps(scales)) : _mm512_load_ps(scales);
        __m512 both[R];  // scales of the groups and of their activations
        for (int r = 0; r < R; r++) {
            const __m512 of_parts = _mm512_castps256_ps512(_mm256_loadu_ps(x.scales(row + r) + i));
            both[r] = _mm512_permutexvar_ps(part_of_group, of_parts) * of_groups;
        }
        for (int k = 0; k < 8; k += 2) {
            const __m512i first = _mm512_castsi256_si512((__m256i)Kind::load(weight, k).part[0]);
            const __m512i u = _mm512_inserti64x4(first, (__m256i)Kind::load(weight, k + 1).part[0], 1);
            const __m512i groups = _mm512_add_epi32(group_of_lane, _mm512_set1_epi32(k * EACH));
            for (int r = 0; r < R; r++) {
                const Index at = 32 * (i + k);
                __m512i large = _mm512_setzero_si512(), small = large;
                if (zero_of<Kind>) small = _mm512_loadu_si512(x.starts(row + r) + at / 4);
                large = _mm512_dpbusd_epi32(large, u, _mm512_loadu_si512(x.high(row + r) + at));
                small = _mm512_dpbusd_epi32(small, u, _mm512_loadu_si512(x.low(row + r) + at));
                const __m512i whole = _mm512_add_epi32(_mm512_slli_epi32(large, 8), small);
                const __m512 scale = _mm512_permutexvar_ps(groups, both[r]);
                sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, sums[r]);
            }
        }
        for (int r = 0; Kind::shifted && r < R; r++) {
            const __m256 totals = _mm256_loadu_ps(x.sums(row + r) + i);
            offsets[r] = _mm256_fmadd_ps(_mm256_load_ps(starts), totals, offsets[r]);
        }
    }
    for (int r = 0; r < R; r++)
        found[r] = _mm512_reduce_add_ps(_mm512_add_ps(sums[r], _mm512_zextps256_ps512(offsets[r])));
}
#endif

// ---- any kind --------------------------------------------------------------------------------------------

// The scales of the first and the second half of 32 bytes, in the lanes of register n of them.
inline Scaled scale_of(float first, float second, int n) {
#if defined(__AVX2__)
    (void)n;
    return Scaled{first, first, first, first, second, second, second, second};
#else
    return (n ? second : first) - Scaled{};
#endif
}

template <int R, class Kind>
inline void dots_of_blocks(float (&found)[R], const Activations<Kind>& x, Index row, Byte weight) {
    constexpr int PARTS = Kind::values / 32, EACH = 32 / REGISTER;  // of a block; registers of each
    Scaled sums[R][EACH] = {};
    float offsets[R] = {};
    float scales[Kind::values / Kind::group], starts[Kind::values / Kind::group];
    for (Index i = 0; i < x.width / 32; i += PARTS, weight += Kind::nbytes) {
        Kind::floats(weight, scales, starts);
        for (int k = 0; k < PARTS; k++) {
            const Bytes32 u = Kind::load(weight, k);
            const float first = scales[k * 32 / Kind::group], second = scales[(k * 32 + 16) / Kind::group];
            for (int r = 0; r < R; r++) {
                for (int n = 0; n < EACH; n++) {
                    const Index at = 32 * (i + k) + n * REGISTER, lane = 8 * (i + k) + n * REGISTER / 4;
                    Sums large = {}, small = {};
                    if (zero_of<Kind>) small = read<Sums>((Byte)(x.starts(row + r) + lane));
                    large = dot<Kind>(large, u.part[n], read<Bytes>((Byte)x.high(row + r) + at));
                    small = dot<Kind>(small, u.part[n], read<Bytes>((Byte)x.low(row + r) + at));
                    const Scaled whole = __builtin_convertvector(large * 256 + small, Scaled);
                    sums[r][n] += whole * (scale_of(first, second, n) * x.scales(row + r)[i + k]);
                }
            }
        }
        for (int r = 0; Kind::shifted && r < R; r++)
            for (int k = 0; k < PARTS; k++)
                offsets[r] += starts[k] * x.sums(row + r)[i + k];
    }
    for (int r = 0; r < R; r++) {
        float s[8];
        memcpy(s, sums[r], 32);
        found[r] = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])) + offsets[r];
    }
}

// The products of R rows of x, from `row` on, with a packed row.
template <int R, class Kind>
inline void dots(float (&found)[R], const Activations<Kind>& x, Index row, Byte weight) {
#if defined(TT_DOT_BY_512_BITS)
    if constexpr (BY_FOURS<Kind>) return dots_by_fours<R>(found, x, row, weight);
    if constexpr (Kind::values == 256) return dots_by_pairs<R>(found, x, row, weight);
#endif
    dots_of_blocks<R>(found, x, row, weight);
}
