// Products of any shape: choice of the algorithm, 16-bit results, and batches.
#pragma once
#include "matmul_row.h"

// A product with few sums of very many terms, such as the gradient of a small weight over a large batch, has
// too few tiles for threads. So parts of the depth are summed separately (split-K), and then added in order.
// The split depends on the shape alone: results do not depend on the number of threads.
constexpr Index FEW_TILES = 16;
constexpr Index MOST_PIECES = 16;

template <class E>
Index depth_pieces(const Product<E>& p) {
    const Index tiles = pieces(p.rows, E::STRIP) * pieces(p.columns, PANEL<E>);
    return tiles > FEW_TILES ? 1 : most(1, least(MOST_PIECES, p.depth / (4 * E::UNITS * E::GROUP)));
}

template <class E>
void multiply_piece(const Product<E>& p) {
    is_row(p) ? multiply_row(p) : multiply(p);
}

template <class E>
void multiply_deep(const Product<E>& p, Index count) {
    using Sum = typename E::Sum;
    const Index size = p.rows * p.columns;
    Sum* sums = kept<Sum>(SUMS, count * size);
    run_parts(count, [&](Index n) {
        const Range some = share(p.depth, n, count);
        Product<E> piece = p;
        piece.depth = some.end - some.begin;
        piece.a.data += some.begin * p.a.column;
        piece.b.data += some.begin * p.b.row;
        piece.y = sums + n * size;
        piece.y_row = p.columns;
        piece.start = nullptr;
        piece.finish = {};
        multiply_piece(piece);
    });
    for (Index i = 0; i < p.rows; i++) {
        Sum* y = p.y + i * p.y_row;
        each_lanes<Sum>(p.columns, [&](Index j, auto lanes) {
            Vector<Sum> sum = p.start ? load(p.start + i * p.start_row + j, lanes) : Vector<Sum>{};
            for (Index n = 0; n < count; n++) sum += load(sums + n * size + i * p.columns + j, lanes);
            store(y + j, sum, lanes);
        });
        p.finish(y, i, 0, p.columns);
    }
}

template <class E>
void compute(const Product<E>& p);

// The transposed product, y.T = b.T @ a.T: same elements, operands swapped.
template <class E>
Product<E> turned(const Product<E>& p) {
    return {p.columns, p.rows, p.depth, p.b.transposed(), p.a.transposed(), p.y, 1, p.start, 1, p.finish};
}

// Few columns would leave most lanes of a vector unused. The transposed product has few rows instead, which
// cost no more than necessary; its sums are copied to y afterwards. One column that is contiguous in memory
// needs no copy.
constexpr Index SLIM = 4, SLIM_ROWS = 1 << 16;

template <class E>
bool is_slim(const Product<E>& p) {
    return p.columns <= SLIM && p.rows > 2 * SLIM && p.depth;
}

template <class E>
void multiply_slim(const Product<E>& p) {
    using Sum = typename E::Sum;
    const bool in_place = p.columns == 1 && p.y_row == 1 && (!p.start || p.start_row == 1);
    if (in_place) return compute(turned(p));
    Sum* sums = kept<Sum>(SLIM_SUMS, least(p.rows, SLIM_ROWS) * p.columns);
    for (Index begin = 0; begin < p.rows; begin += SLIM_ROWS) {
        Product<E> some = p;
        some.rows = least(SLIM_ROWS, p.rows - begin);
        some.a.data += begin * p.a.row;
        Product<E> across = turned(some);
        across.y = sums;
        across.y_row = some.rows;
        across.start = nullptr;
        across.finish = {};
        compute(across);
        for (Index i = 0; i < some.rows; i++) {
            Sum* y = p.y + (begin + i) * p.y_row;
            for (Index j = 0; j < p.columns; j++)
                y[j] = sums[j * some.rows + i] + (p.start ? p.start[(begin + i) * p.start_row + j] : 0);
            p.finish(y, begin + i, 0, p.columns);
        }
    }
}

template <class E>
void compute(const Product<E>& p) {
    if (p.rows == 0 || p.columns == 0) return;
    const Index count = depth_pieces(p);
    if (is_slim(p))
        multiply_slim(p);
    else
        count > 1 ? multiply_deep(p, count) : multiply_piece(p);
}

// ---- epilogues --------------------------------------------------------------------------------------------

// y = gate(y), and the slope of the gate if requested.
using GateRow = void (*)(float* y, float* slope, Index columns);

// Columns are adjacent, rows are `row` apart. Slopes have the layout of y.
template <class Y>
struct Output {
    Y* y;
    Index row;
    GateRow gate;
    float* slope;
};

// Results stored in the type of the sums.
template <class E>
void compute(Product<E> p, const Output<typename E::Sum>& out) {
    p.y = out.y;
    p.y_row = out.row;
    if constexpr (sizeof(typename E::Sum) == sizeof(float))
        if (out.gate)
            p.finish = {[](const void* context, float* y, Index row, Index column, Index columns) {
                            const auto& to = *(const Output<float>*)context;
                            to.gate(y, to.slope ? to.slope + row * to.row + column : nullptr, columns);
                        },
                        &out};
    compute(p);
}

// 16-bit results: sums in float32 are rounded as soon as a row is complete.
inline void narrow_row(const void* context, float* sums, Index row, Index column, Index columns) {
    const auto& to = *(const Output<Bf16>*)context;
    const Index at = row * to.row + column;
    if (to.gate) to.gate(sums, to.slope ? to.slope + at : nullptr, columns);
    each_vector(columns, [&](Index j, auto lanes) { store(to.y + at + j, load(sums + j, lanes), lanes); });
}

// Whether the sums of a strip are complete before those of the next one begin.
template <class E>
bool is_at_once(const Product<E>& p) {
    return p.depth && p.depth <= MOST_STEPS<E> && !is_slim(p) && !is_row(p);
}

// Other sums are kept in memory, for as many rows and columns at a time as fit into the cache.
constexpr Index NARROWED_ROWS = 4096, NARROWED_SUMS = 1 << 20;

template <class E>
void compute(const Product<E>& p, const Output<Bf16>& out) {
    if (p.rows == 0 || p.columns == 0) return;
    Product<E> some = p;
    some.y = nullptr;
    some.finish = {narrow_row, &out};
    if (is_at_once(p)) return compute(some);
    const Index rows = least(p.rows, NARROWED_ROWS), room = most(8, NARROWED_SUMS / rows / PANEL<E>);
    const Index columns = least(p.columns, room * PANEL<E>);
    // One column is computed as a row, but its elements are not adjacent where those of the result are
    // not.
    auto row_of = [&](Index columns) { return columns == 1 && out.row != 1 ? 2 : columns; };
    float* sums = kept<float>(NARROWED, rows * most(2, columns));
    for (Index i = 0; i < p.rows; i += rows)
        for (Index j = 0; j < p.columns; j += columns) {
            some.rows = least(rows, p.rows - i);
            some.columns = least(columns, p.columns - j);
            some.a.data = p.a.data + i * p.a.row;
            some.b.data = p.b.data + j * p.b.column;
            some.start = p.start ? p.start + j : nullptr;
            some.y = sums;
            some.y_row = row_of(some.columns);
            const Index at = i * out.row + j;
            const Output<Bf16> here = {out.y + at, out.row, out.gate, out.slope ? out.slope + at : nullptr};
            some.finish.context = &here;
            compute(some);
        }
}

// ---- batches ----------------------------------------------------------------------------------------------

constexpr int MOST_AXES = 64;  // of a NumPy array

// Products for each index of some leading axes. Strides in elements; 0 where an operand is broadcast.
// With `add`, each accumulates into y; else each starts with p.start, the same for all.
template <class E, class Y>
struct Batch {
    Product<E> p;
    Output<Y> out;
    bool add;
    int ndim;
    Index shape[MOST_AXES], y[MOST_AXES], a[MOST_AXES], b[MOST_AXES];
};

// A last axis that is broadcast in b, and merges with the rows of a and y, becomes more rows.
template <class E, class Y>
void fold_rows(Batch<E, Y>& batch) {
    Product<E>& p = batch.p;
    while (batch.ndim) {
        const int last = batch.ndim - 1;
        const Index n = batch.shape[last];
        const bool even =
            p.rows == 1 || (batch.a[last] == p.rows * p.a.row && batch.y[last] == p.rows * batch.out.row);
        if (n != 1 && (batch.b[last] != 0 || !even)) return;
        if (n != 1) {
            if (p.rows == 1) p.a.row = batch.a[last], batch.out.row = batch.y[last];
            p.rows *= n;
        }
        batch.ndim--;
    }
}

template <class E, class Y>
void compute(Batch<E, Y> batch) {
    fold_rows(batch);
    Index count = 1;
    for (int axis = 0; axis < batch.ndim; axis++) count *= batch.shape[axis];
    auto one = [&](Index n) {
        Product<E> p = batch.p;
        Index to = 0;
        for (int axis = batch.ndim - 1; axis >= 0; axis--) {
            const Index i = n % batch.shape[axis];
            n /= batch.shape[axis];
            p.a.data += i * batch.a[axis];
            p.b.data += i * batch.b[axis];
            to += i * batch.y[axis];
        }
        Output<Y> out = batch.out;
        out.y += to;
        if (out.slope) out.slope += to;
        if constexpr (sizeof(Y) == sizeof(typename E::Sum))
            if (batch.add) p.start = out.y, p.start_row = out.row;
        compute(p, out);
    };
    // Threads are distributed over the products if there are enough of them, else within each product.
    if (count >= 2 * thread_count()) {
        const Index work = batch.p.rows * batch.p.columns * batch.p.depth;
        parallel_for(count, LEAST_PART / (work + 1) + 1, [&](Index begin, Index end) {
            for (Index n = begin; n < end; n++) one(n);
        });
    } else {
        for (Index n = 0; n < count; n++) one(n);
    }
}
