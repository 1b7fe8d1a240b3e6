// Shared code of the matrix product kernels: operand layout, assignment of tiles to blocks, and the epilogue
// (bias, gate, store).
//
// y = gate(a @ b + bias) for every index of the batch axes: a is rows × inner, b is inner × columns, y is
// C-contiguous but for a gap after each row; bias and gate are optional. The operands are read through their
// strides; each matrix has one stride of 1. So a transposed operand needs no copy, and an operand that is
// broadcast along the batch has stride 0 there.
//
// Grid: one axis. Tiles of y come first, 8 tiles down by all tiles across, so that blocks that run together
// share operands in the L2 cache; then the parts into which `inner` is cut; then the batch.
#pragma once
#include "elementwise/gelu.cuh"

// By value. In Python: struct.Struct("@8i14q").
struct Product {
    int rows, columns, inner;
    int part, parts;  // length of a part of `inner` (of the last one: at most that), and how many there are
    int batch[3];     // sizes of the batch axes except the first, which is not needed
    long long size;   // of y, in elements, without the gaps
    long long y_row;  // from row to row of y: at least columns
    long long a_row, a_inner, b_inner, b_column;  // strides, in elements
    long long a_batch[4], b_batch[4];
};

// The work of a block, or of a group of threads.
struct Place {
    int row, column;  // first row and column of its tile of y
    int first, last;  // range of inner elements that it sums
    long long a, b;   // offsets of the matrices of its batch index
    long long y;      // likewise in y, or in the sums of the parts
    int matrix;       // batch index, of all axes together
};

__device__ __forceinline__ Place place_of_matrix(const Product& p, unsigned matrix) {
    Place at;
    const unsigned part = matrix % p.parts, batch = matrix / p.parts;
    at.matrix = static_cast<int>(batch);
    at.first = static_cast<int>(part) * p.part;
    at.last = p.inner - at.first < p.part ? p.inner : at.first + p.part;
    at.y = part * p.size + static_cast<long long>(batch) * p.rows * p.y_row;
    at.a = at.b = 0;
    unsigned index = batch;
#pragma unroll
    for (int d = 3; d >= 0; d--) {
        const unsigned rest = d > 0 ? index / p.batch[d > 0 ? d - 1 : 0] : 0;
        const long long here = d > 0 ? index - rest * p.batch[d > 0 ? d - 1 : 0] : index;
        at.a += here * p.a_batch[d];
        at.b += here * p.b_batch[d];
        index = rest;
    }
    return at;
}

template <int ROWS, int COLUMNS>
__device__ __forceinline__ Place place_of_tile(const Product& p, unsigned index) {
    constexpr int GROUP = 8;
    const int down = (p.rows - 1) / ROWS + 1, across = (p.columns - 1) / COLUMNS + 1;
    const unsigned tiles = static_cast<unsigned>(down) * across, matrix = index / tiles;
    const int tile = static_cast<int>(index - matrix * tiles);
    Place at = place_of_matrix(p, matrix);
    const int group = tile / (GROUP * across), within = tile - group * GROUP * across;
    const int height = down - group * GROUP < GROUP ? down - group * GROUP : GROUP;
    at.row = (group * GROUP + within % height) * ROWS;
    at.column = within / height * COLUMNS;
    return at;
}

// The identity gate.
struct Plain {};

// Destination of results: y = gate(z), and z in `before`, unless null. The gate gets z rounded as stored.
template <class R, class Gate> struct Output {
    R *y, *before;
    __device__ __forceinline__ Output from(long long offset) const {
        return {y + offset, before == nullptr ? nullptr : before + offset};
    }
};

// W neighbors, of which `inside` are in bounds.
template <int W, class R>
__device__ __forceinline__ void write_inside(R* to, int inside, const Vec<R, W>& values) {
    if (inside >= W && is_aligned<W>(to)) {
        store<W>(to, values);
    } else {
#pragma unroll
        for (int j = 0; j < W; j++) {
            if (j < inside) to[j] = values.at[j];
        }
    }
}

// Epilogue for the sums z of W neighbors in row `row` of a matrix in y, as far as they are in bounds.
template <int W, class R, class Gate>
__device__ __forceinline__ void write_neighbors(
    const Output<R, Gate>& out, const Product& p, int row, int column, const Vec<R, W>& z) {
    if (row >= p.rows) return;
    const long long at = static_cast<long long>(row) * p.y_row + column;
    if constexpr (same<Gate, Plain>) {
        write_inside(out.y + at, p.columns - column, z);
    } else {
        if (out.before != nullptr) write_inside(out.before + at, p.columns - column, z);
        Vec<R, W> y;
#pragma unroll
        for (int j = 0; j < W; j++) y.at[j] = from_acc<R>(Gate()(to_acc(z.at[j])));
        write_inside(out.y + at, p.columns - column, y);
    }
}

// Likewise for W sums, with the bias added.
template <int W, class R, class Gate, class T, class A>
__device__ __forceinline__ void write_sums(
    const Output<R, Gate>& out, const T* bias, const Product& p, int row, int column, const A (&sums)[W]) {
    Vec<R, W> values;
#pragma unroll
    for (int j = 0; j < W; j++) {
        const bool add = bias != nullptr && column + j < p.columns;
        const A sum = add ? sums[j] + static_cast<A>(to_acc(bias[column + j])) : sums[j];
        values.at[j] = from_acc<R>(static_cast<acc_t<R>>(sum));
    }
    write_neighbors(out, p, row, column, values);
}
