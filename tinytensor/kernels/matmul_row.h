// One row times a matrix: what a model computes for each new token. Each number of the matrix is used once,
// so the time is that of reading it; nothing is packed, and the reads go along memory.
#pragma once
#include "matmul_product.h"

constexpr Index ROWS_AT_ONCE = 8;          // of b, each a stream of its own
constexpr Index LEAST_ROW_PART = 1 << 16;  // numbers of b: some 10 microseconds
constexpr Index COLUMN_GRAIN = 64;         // whole lines of the cache

// Some columns of y, where rows of b are dense: y += x[k] * b[k] for ROWS_AT_ONCE rows in one pass, which
// reads and writes y once, from the first cache.
template <class T>
void row_by_rows(const Product<T>& p, Range columns) {
    const Index n = columns.end - columns.begin;
    T* y = p.y + columns.begin;
    const T *start = p.start ? p.start + columns.begin : nullptr, *b = p.b.data + columns.begin;
    each_lanes<T>(
        n, [&](Index j, auto lanes) { store(y + j, start ? load(start + j, lanes) : Vector<T>{}, lanes); });
    Index k = 0;
    for (; k + ROWS_AT_ONCE <= p.depth; k += ROWS_AT_ONCE, b += ROWS_AT_ONCE * p.b.row) {
        T x[ROWS_AT_ONCE];
        for (Index i = 0; i < ROWS_AT_ONCE; i++) x[i] = p.a.data[(k + i) * p.a.column];
        each_lanes<T>(n, [&](Index j, auto lanes) {
            Vector<T> sum = load(y + j, lanes);
            UNROLL
            for (Index i = 0; i < ROWS_AT_ONCE; i++) sum += x[i] * load(b + i * p.b.row + j, lanes);
            store(y + j, sum, lanes);
        });
    }
    for (; k < p.depth; k++, b += p.b.row) {
        const T x = p.a.data[k * p.a.column];
        each_lanes<T>(n, [&](Index j, auto lanes) {
            store(y + j, load(y + j, lanes) + x * load(b + j, lanes), lanes);
        });
    }
}

// COUNT columns of y, where columns of b are dense: dot products. Each has two sums of vectors, however many
// there are at once.
template <class T, int COUNT>
void dots(const Product<T>& p, Index column) {
    const T* b = p.b.data + column * p.b.column;
    Vector<T> even[COUNT] = {}, odd[COUNT] = {};
    Index k = 0;
    for (; k + 2 * WIDTH<T> <= p.depth; k += 2 * WIDTH<T>) {
        const Vector<T> x = load(p.a.data + k), z = load(p.a.data + k + WIDTH<T>);
        UNROLL
        for (int i = 0; i < COUNT; i++) {
            even[i] += x * load(b + i * p.b.column + k);
            odd[i] += z * load(b + i * p.b.column + k + WIDTH<T>);
        }
    }
    for (; k < p.depth; k += WIDTH<T>) {
        const Part rest = {int(least(p.depth - k, WIDTH<T>))};
        const Vector<T> x = load(p.a.data + k, rest);
        UNROLL
        for (int i = 0; i < COUNT; i++) even[i] += x * load(b + i * p.b.column + k, rest);
    }
    for (int i = 0; i < COUNT; i++)
        p.y[column + i] = total(even[i] + odd[i]) + (p.start ? p.start[column + i] : T(0));
}

template <class T>
void row_by_columns(const Product<T>& p, Range columns) {
    Index j = columns.begin;
    for (; j + 4 <= columns.end; j += 4) dots<T, 4>(p, j);
    for (; j < columns.end; j++) dots<T, 1>(p, j);
}

inline bool is_row(Index rows, Index b_step, Index b_column) {
    return rows == 1 && (b_step == 1 || b_column == 1);
}

// A product with p.rows == 1 whose b is dense along its rows or its columns.
template <class T>
void multiply_row(Product<T> p) {
    const bool by_rows = p.b.column == 1;
    if (!by_rows && p.a.column != 1) {  // a copy of one row is cheap
        T* dense = kept<T>(STRIPS, p.depth);
        for (Index k = 0; k < p.depth; k++) dense[k] = p.a.data[k * p.a.column];
        p.a.data = dense;
    }
    const Index grains = pieces(p.columns, COLUMN_GRAIN);
    const Index wanted = least(p.columns * p.depth / LEAST_ROW_PART, 4 * thread_count());
    const Index parts = thread_count() == 1 ? 1 : most(1, least(wanted, grains));
    run_parts(parts, [&](Index n) {
        const Range some = share(grains, n, parts);
        const Range columns = {some.begin * COLUMN_GRAIN, least(some.end * COLUMN_GRAIN, p.columns)};
        by_rows ? row_by_rows(p, columns) : row_by_columns(p, columns);
        p.finish(p.y + columns.begin, columns.end - columns.begin);
    });
}
