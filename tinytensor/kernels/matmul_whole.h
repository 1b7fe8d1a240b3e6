// A product of any shape: which way it is computed, and batches of products.
#pragma once
#include "matmul_row.h"

// A product with few sums of very many terms, such as the gradient of a small weight over a large batch, has
// too few tiles for threads. So pieces of the depth are summed on their own, and then added in order. The cut
// depends on the shape alone: results do not depend on the number of threads.
constexpr Index FEW_TILES = 16;
constexpr Index MOST_PIECES = 16;

template <class T>
Index depth_pieces(const Product<T>& p) {
    const Index tiles = pieces(p.rows, STRIP) * pieces(p.columns, PANEL<T>);
    return tiles > FEW_TILES ? 1 : most(1, least(MOST_PIECES, p.depth / (4 * DEPTH<T>)));
}

template <class T>
void multiply_piece(const Product<T>& p) {
    is_row(p.rows, p.b.row, p.b.column) ? multiply_row(p) : multiply(p);
}

template <class T>
void multiply_deep(const Product<T>& p, Index count) {
    const Index size = p.rows * p.columns;
    T* sums = kept<T>(SUMS, count * size);
    run_parts(count, [&](Index n) {
        const Range some = share(p.depth, n, count);
        Product<T> piece = p;
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
        T* y = p.y + i * p.y_row;
        each_lanes<T>(p.columns, [&](Index j, auto lanes) {
            Vector<T> sum = p.start ? load(p.start + i * p.start_row + j, lanes) : Vector<T>{};
            for (Index n = 0; n < count; n++) sum += load(sums + n * size + i * p.columns + j, lanes);
            store(y + j, sum, lanes);
        });
        p.finish(y, p.columns);
    }
}

// The same elements as the product of the transposed operands, the second one first.
template <class T>
Product<T> turned(const Product<T>& p) {
    return {p.columns, p.rows, p.depth, p.b.transposed(), p.a.transposed(), p.y, 1, p.start, 1, p.finish};
}

template <class T>
void compute(const Product<T>& p) {
    if (p.rows == 0 || p.columns == 0) return;
    // A column is a row of the transposed product, if it lies in memory as a row does.
    if (p.columns == 1 && p.rows > 1 && p.y_row == 1 && (!p.start || p.start_row == 1))
        return compute(turned(p));
    const Index count = depth_pieces(p);
    count > 1 ? multiply_deep(p, count) : multiply_piece(p);
}

// ---- batches ----------------------------------------------------------------------------------------------

constexpr int MOST_AXES = 64;  // of a NumPy array

// Products for each index of some leading axes. Strides in elements; 0 where an operand is the same for all.
// Where `add` says so, each begins with what y holds; else with p.start, the same for all.
template <class T>
struct Batch {
    Product<T> p;
    bool add;
    int ndim;
    Index shape[MOST_AXES], y[MOST_AXES], a[MOST_AXES], b[MOST_AXES];
};

// A last axis along which b is the same and the rows of a and y step on evenly is more rows.
template <class T>
void fold_rows(Batch<T>& batch) {
    Product<T>& p = batch.p;
    while (batch.ndim) {
        const int last = batch.ndim - 1;
        const Index n = batch.shape[last];
        const bool even =
            p.rows == 1 || (batch.a[last] == p.rows * p.a.row && batch.y[last] == p.rows * p.y_row);
        if (n != 1 && (batch.b[last] != 0 || !even)) return;
        if (n != 1) {
            if (p.rows == 1) p.a.row = batch.a[last], p.y_row = batch.y[last];
            p.rows *= n;
        }
        batch.ndim--;
    }
}

template <class T>
void compute(Batch<T> batch) {
    fold_rows(batch);
    Index count = 1;
    for (int axis = 0; axis < batch.ndim; axis++) count *= batch.shape[axis];
    auto one = [&](Index n) {
        Product<T> p = batch.p;
        for (int axis = batch.ndim - 1; axis >= 0; axis--) {
            const Index i = n % batch.shape[axis];
            n /= batch.shape[axis];
            p.a.data += i * batch.a[axis];
            p.b.data += i * batch.b[axis];
            p.y += i * batch.y[axis];
        }
        if (batch.add) p.start = p.y, p.start_row = p.y_row;
        compute(p);
    };
    // Threads share the products if there are enough of them, else each product.
    if (count >= 2 * thread_count()) {
        const Index work = batch.p.rows * batch.p.columns * batch.p.depth;
        parallel_for(count, LEAST_PART / (work + 1) + 1, [&](Index begin, Index end) {
            for (Index n = begin; n < end; n++) one(n);
        });
    } else {
        for (Index n = 0; n < count; n++) one(n);
    }
}
