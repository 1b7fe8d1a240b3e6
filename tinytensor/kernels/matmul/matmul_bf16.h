// bfloat16 products with float32 sums: in pairs, if the processor has an instruction that adds
// x0 * y0 + x1 * y1 to each lane; else elements are widened when they are packed, and multiplied as float32.
#pragma once
#include "matmul_pack.h"

#if !defined(__AVX512BF16__)
using OfBf16 = Plain<Bf16, float>;
#else

struct Pair {  // two consecutive elements along the depth, the first one in the lower half
    unsigned bits;
};

struct Pairs {
    using Number = Bf16;
    using Unit = Pair;
    using Sum = float;
    static constexpr int STRIP = REGISTERS / 2 - 2;
    static constexpr Index UNITS = 384, GROUP = 2;
    static constexpr bool IN_PLACE = false;

    static INLINE __m512bh row(const Pair* b) { return (__m512bh)_mm512_loadu_si512(b); }
    static INLINE Floats add(Floats sum, Pair x, __m512bh row) {
        return (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)x.bits), row);
    }
};

// 16 pairs of lanes of two rows: (even[i], odd[i]). The first n lanes are read; `odd` may be missing.
INLINE __m512i pairs_of(const Bf16* even, const Bf16* odd, Index n) {
    const __mmask16 lanes = (__mmask16)((1u << n) - 1);
    const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, even));
    if (!odd) return low;
    const __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, odd));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}
INLINE Pair pair_of(const Bf16* p, Index step, bool whole) {
    return {p[0].bits | (whole ? (unsigned)p[step].bits << 16 : 0u)};
}

template <>
struct Packing<Pairs> {
    static void rows(const Bf16* a, Index a_row, Index rows, Index depth, Pair* to) {
        const Index units = rounded_up(depth, 2);  // in elements
        for (Index i = 0; i < rows; i++, a += a_row, to += STRIP_ROW<Pairs>) {
            Index k = 0;
            for (; k + 32 <= depth; k += 32) _mm512_storeu_si512(to + k / 2, _mm512_loadu_si512(a + k));
            for (; k < units; k += 32) {
                const __mmask32 there = k < depth ? (__mmask32)((1ull << (depth - k)) - 1) : 0;
                const __mmask16 stored = (__mmask16)((1u << least(16, (units - k) / 2)) - 1);
                _mm512_mask_storeu_epi32(to + k / 2, stored, _mm512_maskz_loadu_epi16(there, a + k));
            }
        }
    }

    static void columns(const Bf16* a, Index a_row, Index a_column, Index rows, Index depth, Pair* to) {
        for (Index k = 0; k < depth; k += 2, a += 2 * a_column, to += STRIP_STEP<Pairs>) {
            const bool whole = k + 1 < depth;
            if (a_row == 1)
                for (Index i = 0; i < rows; i += 16)
                    _mm512_storeu_si512(
                        to + i, pairs_of(a + i, whole ? a + a_column + i : nullptr, least(rows - i, 16)));
            else
                for (Index i = 0; i < rows; i++) to[i] = pair_of(a + i * a_row, a_column, whole);
        }
    }

    static void panel(const Bf16* b, Index b_row, Index b_column, Index depth, Index columns, Pair* to) {
        const Index width = rounded_up(columns, 16), units = pieces(depth, 2);
        for (Index j = 0; j < width; j += 16, to += 16, b += 16 * b_column) {
            const Index some = least(columns - j, 16);
            Index k = 0;  // in units
            if (b_column == 1)
                for (; 2 * k < depth; k++) {
                    const Bf16* even = b + 2 * k * b_row;
                    const __m512i pairs = pairs_of(even, 2 * k + 1 < depth ? even + b_row : nullptr, some);
                    _mm512_storeu_si512(to + k * width, pairs);
                }
            else if (b_row == 1 && some == 16 && b_column % 2 == 0)  // pairs are copied as floats
                for (; 2 * k + 8 <= depth; k += 4)
                    transpose4((const float*)(b + 2 * k), b_column / 2, (float*)(to + k * width), width);
            for (; k < units; k++)
                for (Index i = 0; i < 16; i++) {
                    const Bf16* from = b + 2 * k * b_row + i * b_column;
                    const bool there = i < some && 2 * k < depth;
                    to[k * width + i] = there ? pair_of(from, b_row, 2 * k + 1 < depth) : Pair{0};
                }
        }
    }
};

using OfBf16 = Pairs;
#endif
