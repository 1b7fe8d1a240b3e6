// The heart of a matrix product: a tile of the result, held in registers while the sums are formed.
//
// A tile has STRIP rows and two vectors of columns: with AVX-512 14 x 32 sums in 28 of the 32 registers. For
// each step along the inner axis (`depth`) it reads 2 vectors of b and STRIP numbers of a, which are spread
// over a vector each, and does 2 * STRIP fused multiply-adds of vectors: 28 of them for 16 reads, so the
// arithmetic and not the reading sets the pace. Each sum is one chain over `depth` in its order, whatever the
// tile is.
#pragma once
#include "matmul_vectors.h"

constexpr int STRIP = REGISTERS / 2 - 2;  // rows: two registers are left for b, one for a
constexpr int PANEL_VECTORS = 2;
template <class T>
constexpr int PANEL = PANEL_VECTORS * WIDTH<T>;  // columns
template <class T>
constexpr Index DEPTH = 1536 / sizeof(T);  // a strip of so many steps, 21 KB, stays in the first cache
// Rows of a packed strip are this far apart: not a power of two, whose rows would fight for places in the
// cache.
template <class T>
constexpr Index STRIP_ROW = DEPTH<T> + 64 / sizeof(T);

// y[i][j] = start[i][j] + sum over k of a[i][k] * b[k][j]. a is read as a[i * STRIP_ROW + k] if its strip
// lies in rows, else as a[k * a_step + i]; row k of b begins at b + k * b_step and is as long as the tile is
// wide. Without `start` sums begin with 0. The last vector of y has `tail` columns.
template <class T>
using Tile = void (*)(Index depth, const T* a, Index a_step, const T* b, Index b_step, T* y, Index y_row,
                      const T* start, Index start_row, int tail);

template <class T, int ROWS, int VECTORS, bool IN_ROWS>
void tile(Index depth, const T* __restrict a, Index a_step, const T* __restrict b, Index b_step, T* y,
          Index y_row, const T* start, Index start_row, int tail) {
    Vector<T> sums[ROWS][VECTORS];
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        UNROLL
        for (int j = 0; j < VECTORS; j++) sums[i][j] = Vector<T>{};
        __builtin_prefetch(y + i * y_row, 1);  // on its way while the sums are formed
        __builtin_prefetch(y + i * y_row + (VECTORS - 1) * WIDTH<T>, 1);
    }
#pragma GCC unroll 4
    for (Index k = 0; k < depth; k++) {
        Vector<T> row[VECTORS];
        UNROLL
        for (int j = 0; j < VECTORS; j++) row[j] = load(b + j * WIDTH<T>);
        UNROLL
        for (int i = 0; i < ROWS; i++) {
            // In all lanes. Not 0 + a, which makes -0 to 0 and so is an addition.
            const Vector<T> x = a[IN_ROWS ? i * STRIP_ROW<T> : i] - Vector<T>{};
            UNROLL
            for (int j = 0; j < VECTORS; j++) sums[i][j] += x * row[j];
        }
        a += IN_ROWS ? 1 : a_step;
        b += b_step;
    }
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        UNROLL
        for (int j = 0; j < VECTORS; j++) {
            T* to = y + i * y_row + j * WIDTH<T>;
            const T* from = start + i * start_row + j * WIDTH<T>;
            if (j < VECTORS - 1 || tail == WIDTH<T>)
                store(to, start ? load(from) + sums[i][j] : sums[i][j]);
            else
                store(to, start ? load(from, Part{tail}) + sums[i][j] : sums[i][j], Part{tail});
        }
    }
}

// The tile of a height from 1 to STRIP: rows that are left over cost no more than they must.
template <class T, int VECTORS, bool IN_ROWS, int ROWS = STRIP>
Tile<T> tile_of(Index rows) {
    if constexpr (ROWS > 1) {
        if (rows < ROWS) return tile_of<T, VECTORS, IN_ROWS, ROWS - 1>(rows);
    }
    return tile<T, ROWS, VECTORS, IN_ROWS>;
}
