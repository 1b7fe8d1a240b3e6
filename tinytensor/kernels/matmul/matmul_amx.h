// bfloat16 products with AMX tile registers: one instruction adds a 16 x 32 by 32 x 16 product to 16 x 16
// sums in float32, sixteen times the work of a vector instruction.
//
// A tile register has 16 rows of 64 bytes. Of a it holds 16 rows of 16 pairs, of b 16 pairs of rows for 16
// columns: the packed layout for vectors is read unchanged. Four of them hold 32 x 32 sums, two a, two b;
// each load is used by two products.
#pragma once
#include "matmul_bf16.h"

#if defined(__AMX_BF16__) && defined(__AVX512BF16__)
#define HAS_AMX 1
#include <sys/syscall.h>
#include <unistd.h>

struct Amx {
    using Number = Bf16;
    using Unit = Pair;
    using Sum = float;
    static constexpr int STRIP = 32;
    static constexpr Index UNITS = 192, GROUP = 2, STEPS = 16;
    static constexpr bool IN_PLACE = false, ROWS_ALONE = true;

    // On Linux a process must request the registers; they are large, and saved at each context switch.
    static bool allowed() {
        constexpr long REQUEST = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
        static const bool granted = syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
        return granted;
    }

    // Configures all eight tile registers, 16 rows of 64 bytes each; in use by the thread until `end`.
    static void begin() {
        struct {
            unsigned char palette, start, reserved[14];
            unsigned short row_bytes[16];
            unsigned char rows[16];
        } shapes = {1, 0, {}, {}, {}};
        for (int i = 0; i < 8; i++) shapes.row_bytes[i] = 64, shapes.rows[i] = 16;
        _tile_loadconfig(&shapes);
    }
    static void end() { _tile_release(); }

    // Sums 0 1 are those of rows 0 to 15, 2 3 those of rows 16 to 31; registers 4 5 hold a, 6 7 hold b.
    template <int VECTORS>
    static void tile(Index rows, Index units, const Pair* a, Index, const Pair* b, Index b_step, float* y,
                     Index y_row, const float* start, Index start_row, int tail) {
        constexpr Index A_ROW = STRIP_ROW<Amx> * sizeof(Pair);
        const Index b_row = b_step * sizeof(Pair), row = y_row * sizeof(float);
        const bool low = rows > 16,
                   direct = VECTORS == 2 && rows == 32 && tail == 16 && (!start || start == y);
        if (direct && start) {
            _tile_loadd(0, y, row);
            _tile_loadd(1, y + 16, row);
            _tile_loadd(2, y + 16 * y_row, row);
            _tile_loadd(3, y + 16 * y_row + 16, row);
        } else {
            _tile_zero(0);
            _tile_zero(1);
            _tile_zero(2);
            _tile_zero(3);
        }
        for (Index k = 0; k < units; k += 16, b += 16 * b_step) {
            _tile_loadd(4, a + k, A_ROW);
            _tile_loadd(6, b, b_row);
            _tile_dpbf16ps(0, 4, 6);
            if (low) {
                _tile_loadd(5, a + k + 16 * STRIP_ROW<Amx>, A_ROW);
                _tile_dpbf16ps(2, 5, 6);
            }
            if (VECTORS == 2) {
                _tile_loadd(7, b + 16, b_row);
                _tile_dpbf16ps(1, 4, 7);
                if (low) _tile_dpbf16ps(3, 5, 7);
            }
        }
        if (direct) {
            _tile_stored(0, y, row);
            _tile_stored(1, y + 16, row);
            _tile_stored(2, y + 16 * y_row, row);
            _tile_stored(3, y + 16 * y_row + 16, row);
            return;
        }
        alignas(64) float sums[32][32];
        _tile_stored(0, sums[0], 128);
        _tile_stored(1, sums[0] + 16, 128);
        _tile_stored(2, sums[16], 128);
        _tile_stored(3, sums[16] + 16, 128);
        for (Index i = 0; i < rows; i++)
            each_lanes<float>((VECTORS - 1) * 16 + tail, [&](Index j, auto lanes) {
                const Floats sum = load(sums[i] + j, lanes);
                store(y + i * y_row + j, start ? load(start + i * start_row + j, lanes) + sum : sum, lanes);
            });
    }
};

template <>
struct Packing<Amx> : PairPacking<Amx> {
    // A strip with contiguous columns: pairs of 16 rows at a time are transposed.
    static void columns(const Bf16* a, Index a_row, Index a_column, Index rows, Index depth, Pair* to) {
        alignas(64) Pair turned[16][32];
        for (Index k = 0; k < depth; k += 32, a += 32 * a_column, to += 16) {
            for (Index unit = 0; unit < 16; unit++) {
                const Index left = depth - k - 2 * unit;  // elements from this pair on
                const Bf16* even = a + 2 * unit * a_column;
                for (Index i = 0; i < 32; i += 16) {
                    const Index some = most(0, least(16, rows - i));
                    if (left <= 0 || !some)
                        _mm512_store_si512(&turned[unit][i], _mm512_setzero_si512());
                    else if (a_row == 1)
                        _mm512_store_si512(
                            &turned[unit][i],
                            pairs_of(even + i, left > 1 ? even + a_column + i : nullptr, some));
                    else
                        for (Index j = 0; j < some; j++)
                            turned[unit][i + j] = pair_of(even + (i + j) * a_row, a_column, left > 1);
                }
            }
            for (Index i = 0; i < 32; i += 4)
                transpose4((const float*)&turned[0][i], 32, (float*)(to + i * STRIP_ROW<Amx>),
                           STRIP_ROW<Amx>);
        }
    }
};
#endif
