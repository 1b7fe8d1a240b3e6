// The micro-kernel of a matrix product: a tile of the result, accumulated in registers.
//
// A tile has STRIP rows and two vectors of columns: with AVX-512 14 x 32 sums in 28 of the 32 registers. For
// each step along the inner axis (`depth`) it reads 2 vectors of b and STRIP elements of a, which are
// broadcast to a vector each, and does 2 * STRIP vector fused multiply-adds: 28 of them for 16 reads, so it
// is compute-bound. Each sum is one chain over `depth` in order, for any tile.
#pragma once
#include "matmul_vectors.h"

// The kind of arithmetic of a tile. Plain<N, T>: elements are stored as N, packed and accumulated as T.
// matmul_bf16.h has other kinds, which pack pairs of elements.
template <class N, class T>
struct Plain {
    using Number = N;                                // of the operands
    using Unit = T;                                  // of packed operands
    using Sum = T;                                   // of the result
    static constexpr int STRIP = REGISTERS / 2 - 2;  // rows: two registers remain for b, one for a
    static constexpr Index UNITS =
        1536 / sizeof(Unit);           // a strip of so many steps, 21 KB, stays in the L1 cache
    static constexpr Index GROUP = 1;  // elements in a unit
    static constexpr bool IN_PLACE = sizeof(N) == sizeof(T);  // operands may be read without packing

    static INLINE Vector<Sum> row(const Unit* b) { return load(b); }
    // x in all lanes. Not 0 + x, which turns -0 into 0 and so costs an addition.
    static INLINE Vector<Sum> add(Vector<Sum> sum, Unit x, Vector<Sum> row) {
        return sum + (x - Vector<Sum>{}) * row;
    }
};

constexpr int PANEL_VECTORS = 2;
template <class E>
constexpr Index LANES_OF = WIDTH<typename E::Sum>;
template <class E>
constexpr Index PANEL = PANEL_VECTORS * LANES_OF<E>;  // columns
// Stride of the rows of a packed strip, in units: not a power of two, which would cause cache conflicts
// between rows.
template <class E>
constexpr Index STRIP_ROW = E::UNITS + 64 / sizeof(typename E::Unit);

// y[i][j] = start[i][j] + sum over k of a[i][k] * b[k][j], for k < `units`. a is read as a[i * STRIP_ROW + k]
// if its strip is stored in rows, else as a[k * a_step + i]; row k of b begins at b + k * b_step and is as
// long as the tile is wide. Without `start` sums begin with 0. The last vector of y has `tail` columns.
template <class E>
using Tile = void (*)(Index rows, Index units, const typename E::Unit* a, Index a_step,
                      const typename E::Unit* b, Index b_step, typename E::Sum* y, Index y_row,
                      const typename E::Sum* start, Index start_row, int tail);

template <class E, int ROWS, int VECTORS, bool IN_ROWS>
void tile(Index, Index units, const typename E::Unit* __restrict a, Index a_step,
          const typename E::Unit* __restrict b, Index b_step, typename E::Sum* y, Index y_row,
          const typename E::Sum* start, Index start_row, int tail) {
    using Sums = Vector<typename E::Sum>;
    constexpr Index LANES = LANES_OF<E>;
    Sums sums[ROWS][VECTORS];
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        UNROLL
        for (int j = 0; j < VECTORS; j++) sums[i][j] = Sums{};
        __builtin_prefetch(y + i * y_row, 1);  // fetched while the sums are computed
        __builtin_prefetch(y + i * y_row + (VECTORS - 1) * LANES, 1);
    }
#pragma GCC unroll 4
    for (Index k = 0; k < units; k++) {
        decltype(E::row(b)) row[VECTORS];
        UNROLL
        for (int j = 0; j < VECTORS; j++) row[j] = E::row(b + j * LANES);
        UNROLL
        for (int i = 0; i < ROWS; i++) {
            const typename E::Unit x = a[IN_ROWS ? i * STRIP_ROW<E> : i];
            UNROLL
            for (int j = 0; j < VECTORS; j++) sums[i][j] = E::add(sums[i][j], x, row[j]);
        }
        a += IN_ROWS ? 1 : a_step;
        b += b_step;
    }
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        UNROLL
        for (int j = 0; j < VECTORS; j++) {
            typename E::Sum* to = y + i * y_row + j * LANES;
            const typename E::Sum* from = start + i * start_row + j * LANES;
            if (j < VECTORS - 1 || tail == LANES)
                store(to, start ? load(from) + sums[i][j] : sums[i][j]);
            else
                store(to, start ? load(from, Part{tail}) + sums[i][j] : sums[i][j], Part{tail});
        }
    }
}

// The tile for a height from 1 to STRIP, so that remaining rows cost no more than necessary.
template <class E, int VECTORS, bool IN_ROWS, int ROWS = E::STRIP>
Tile<E> tile_of(Index rows) {
    if constexpr (ROWS > 1) {
        if (rows < ROWS) return tile_of<E, VECTORS, IN_ROWS, ROWS - 1>(rows);
    }
    return tile<E, ROWS, VECTORS, IN_ROWS>;
}

template <class E, int VECTORS>
Tile<E> tile_for(Index rows, bool in_rows) {
    return in_rows ? tile_of<E, VECTORS, true>(rows) : tile_of<E, VECTORS, false>(rows);
}
