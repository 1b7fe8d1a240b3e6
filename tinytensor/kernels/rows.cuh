// Row-wise kernels: rows processed by a team of threads, in registers; for softmax, norms and cross-entropy.
// Mapping: a team is 8, 16 or 32 lanes of a warp (blockDim.x; blockDim.y teams share a block) or the whole
// block (blockDim.y is 1). A thread loads vectors of 16 bytes, adjacent to those of the next thread; one load
// of the whole team is a piece. Teams take rows in turns: every number of rows works with every grid.
// Traffic: a row of one piece is read once, for any number of passes: it stays in registers. Of longer
// rows, all but one piece are read again in each pass, mostly from the cache.
// In Python: kernels/rows.py, team.
#pragma once
#include "reduce.cuh"

namespace rows {

template <class T> constexpr int neighbors = 16 / sizeof(T);  // elements of a vector
template <class T> constexpr int vectors = 128 / sizeof(acc_t<T>) / neighbors<T>;  // of a thread, in a piece

__device__ __forceinline__ long long first() {
    return static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
}
__device__ __forceinline__ long long step() { return static_cast<long long>(gridDim.x) * blockDim.y; }

// Reduction over all threads of the team, which must all take part; each gets the result.
template <class F, class A> __device__ __forceinline__ A team_reduce(A x) {
    return blockDim.x <= 32 ? part_reduce<F>(x, blockDim.x, threadIdx.x) : block_reduce<F>(x);
}
template <class A> __device__ __forceinline__ A team_sum(A x) { return team_reduce<tt_reduce::Sum>(x); }
template <class A> __device__ __forceinline__ A team_max(A x) { return team_reduce<tt_reduce::Max>(x); }

__device__ __forceinline__ bool inside(int column, int width) {
    return static_cast<unsigned>(column) < static_cast<unsigned>(width);
}

// The vector that begins at a column; a null row is all `fill`. Columns outside the row give `fill`.
template <class T, int W = neighbors<T>>
__device__ __forceinline__ Vec<T, W> read(const T* row, int column, int width, float fill = 0) {
    if (row != nullptr && column >= 0 && column <= width - W && is_aligned<W>(row + column)) {
        return load<W>(row + column);
    }
    Vec<T, W> v;
#pragma unroll
    for (int e = 0; e < W; e++) {
        v.at[e] = row != nullptr && inside(column + e, width) ? row[column + e] : from_acc<T>(fill);
    }
    return v;
}

template <int W, class T>
__device__ __forceinline__ void write(T* row, int column, int width, const Vec<T, W>& v) {
    if (column >= 0 && column <= width - W && is_aligned<W>(row + column)) {
        store<W>(row + column, v);
        return;
    }
#pragma unroll
    for (int e = 0; e < W; e++) {
        if (inside(column + e, width)) row[column + e] = v.at[e];
    }
}

// The part of a thread of N rows that are processed together: V vectors of each, from one piece.
template <class T, int N, int V = vectors<T>> struct Pieces {
    static constexpr int W = neighbors<T>;

    const T* row[N];
    int width;
    int shift;   // elements by which the first vector precedes the row, for 16-byte alignment
    int pieces;  // of a row
    int held;    // the piece that is in `part`
    Vec<T> part[V][N];

    // Vectors begin with the row if not `on_boundaries`.
    __device__ __forceinline__ void begin(int columns, bool on_boundaries) {
        const unsigned long long before = reinterpret_cast<unsigned long long>(row[0]) / sizeof(T) % W;
        width = columns;
        shift = on_boundaries ? static_cast<int>(before) : 0;
        const int size = blockDim.x * V * W;
        pieces = (width + shift + size - 1) / size;
        held = -1;
    }

    __device__ __forceinline__ int column(int piece, int v) const {
        return ((piece * V + v) * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)) * W - shift;
    }

    // f(vectors of the N rows, number of the vector, column where they begin) for all of this thread.
    // The piece that is still held comes first. Columns outside the row are 0.
    template <class F> __device__ __forceinline__ void walk(F f) {
        const int start = held < 0 ? 0 : held;
        for (int i = 0; i < pieces; i++) {
            const int piece = start + i < pieces ? start + i : start + i - pieces;
            if (piece != held) {
#pragma unroll
                for (int v = 0; v < V; v++) {
#pragma unroll
                    for (int n = 0; n < N; n++) part[v][n] = read(row[n], column(piece, v), width);
                }
                held = piece;
            }
#pragma unroll
            for (int v = 0; v < V; v++) {
                const int c = column(piece, v);
                if (c < width) f(part[v], v, c);
            }
        }
    }
};

// A row that begins and ends at the boundaries of vectors, and of which each of TEAM threads holds at most V:
// f(number of the vector, column where it begins) for all of this thread.
template <class T, int V, int TEAM, class F> __device__ __forceinline__ void each_vector(int width, F f) {
#pragma unroll
    for (int v = 0; v < V; v++) {
        const int column = (v * TEAM + static_cast<int>(threadIdx.x)) * neighbors<T>;
        if (column < width) f(v, column);
    }
}

// A vector of such a row, or V times `fill` if it is null.
template <class T> __device__ __forceinline__ Vec<T> load_or(const T* row, int column, float fill) {
    if (row != nullptr) return load<neighbors<T>>(row + column);
    Vec<T> v;
#pragma unroll
    for (int e = 0; e < neighbors<T>; e++) v.at[e] = from_acc<T>(fill);
    return v;
}

// Reduction over a team whose size is known to the compiler.
template <int TEAM, class A> __device__ __forceinline__ A sum_of_team(A x) {
    if constexpr (TEAM <= 32) return part_reduce<tt_reduce::Sum>(x, TEAM, threadIdx.x);
    else return block_sum(x);
}

template <class T>
__device__ __forceinline__ Pieces<T, 1> pieces_of(const T* row, int width) {
    Pieces<T, 1> p;
    p.row[0] = row;
    p.begin(width, true);
    return p;
}

}  // namespace rows
