// One row times a matrix (GEMV), the product of token-by-token generation. Each element of the matrix is used
// once, so the product is memory-bound; nothing is packed, and the matrix is read in memory order.
#pragma once
#include "matmul_product.h"

constexpr Index ROWS_AT_ONCE = 8;          // of b, each a separate stream
constexpr Index LEAST_ROW_PART = 1 << 16;  // elements of b: about 10 microseconds
constexpr Index COLUMN_GRAIN = 64;         // whole cache lines

// Some columns of y, if rows of b are contiguous: y += x[k] * b[k] for ROWS_AT_ONCE rows in one pass, which
// reads and writes y once, in the L1 cache.
template <class E>
void row_by_rows(const Product<E>& p, Range columns) {
    using Sum = typename E::Sum;
    const Index n = columns.end - columns.begin;
    const typename E::Number* b = p.b.data + columns.begin;
    Sum* y = p.y + columns.begin;
    each_lanes<Sum>(n, [&](Index j, auto lanes) {
        store(y + j, p.start ? load(p.start + columns.begin + j, lanes) : Vector<Sum>{}, lanes);
    });
    Index k = 0;
    for (; k + ROWS_AT_ONCE <= p.depth; k += ROWS_AT_ONCE, b += ROWS_AT_ONCE * p.b.row) {
        Sum x[ROWS_AT_ONCE];
        for (Index i = 0; i < ROWS_AT_ONCE; i++) x[i] = value(p.a.data[(k + i) * p.a.column]);
        each_lanes<Sum>(n, [&](Index j, auto lanes) {
            Vector<Sum> sum = load(y + j, lanes);
            UNROLL
            for (Index i = 0; i < ROWS_AT_ONCE; i++) sum += x[i] * load(b + i * p.b.row + j, lanes);
            store(y + j, sum, lanes);
        });
    }
    for (; k < p.depth; k++, b += p.b.row) {
        const Sum x = value(p.a.data[k * p.a.column]);
        each_lanes<Sum>(n, [&](Index j, auto lanes) {
            store(y + j, load(y + j, lanes) + x * load(b + j, lanes), lanes);
        });
    }
}

// A column of y, if columns of b are contiguous: a dot product. One at a time: the hardware prefetcher
// follows one stream, and with four at once a matrix larger than the caches was read at half the speed.
template <class E>
typename E::Sum dot(const Product<E>& p, const typename E::Number* b) {
    using Sums = Vector<typename E::Sum>;
    constexpr Index LANES = LANES_OF<E>;
    Sums even = {}, odd = {};
    Index k = 0;
    for (; k + 2 * LANES <= p.depth; k += 2 * LANES) {
        even += load(p.a.data + k) * load(b + k);
        odd += load(p.a.data + k + LANES) * load(b + k + LANES);
    }
    for (; k < p.depth; k += LANES) {
        const Part rest = {int(least(p.depth - k, LANES))};
        even += load(p.a.data + k, rest) * load(b + k, rest);
    }
    return total(even + odd);
}

template <class E>
void row_by_columns(const Product<E>& p, Range columns) {
    for (Index j = columns.begin; j < columns.end; j++)
        p.y[j] = dot(p, p.b.data + j * p.b.column) + (p.start ? p.start[j] : 0);
}

// Whether b is contiguous along its rows or its columns, and a is one row.
template <class E>
bool is_row(const Product<E>& p) {
    return p.rows == 1 && (p.b.row == 1 || p.b.column == 1);
}

template <class E>
void multiply_row(Product<E> p) {
    const bool by_rows = p.b.column == 1;
    if (!by_rows && p.a.column != 1) {  // a copy of one row is cheap
        auto* dense = kept<typename E::Number>(STRIPS, p.depth);
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
        p.finish(p.y + columns.begin, 0, columns.begin, columns.end - columns.begin);
    });
}
