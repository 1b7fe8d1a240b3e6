// Shared code of the attention kernels: operand layout, block scheduling and masks.
// Scores are in units of log2, so that exp2 makes weights of them: ((q . k) * scale + mask) * log2(e).
#pragma once
#include "common.cuh"

constexpr double LOG2_E = 1.4426950408889634, LN_2 = 0.6931471805599453;

// Strides along the axes (B, H, T, D) of an operand, in elements; 0 where it is broadcast.
struct Steps {
    long long batch, head, row, column;
};

// By value, without padding; in Python struct.Struct("@36qd8i").
struct Problem {
    Steps q, k, v, mask, y, grad, dq, dk, dv;
    double scale;
    int heads;             // H
    int queries, keys;     // Tq, Tk
    int size, value_size;  // D of q and k, of v
    int reach;             // query i attends to the keys up to i + reach
    int mask_kind;         // 0: none, 1: bool, 2: additive, of the type of q
    int unused;
};

// The work of a block: one head, rows from `first` on.
struct Place {
    int batch, head, first;
};

// The blocks of one head are neighbors, so that its keys are in the cache. If the last rows have the most
// visible keys, they come first, so that no long block starts when all others end.
template <int ROWS> __device__ __forceinline__ Place place_of(int rows, int heads, bool last_first) {
    const int tiles = (rows + ROWS - 1) / ROWS, n = blockIdx.x / tiles, tile = blockIdx.x % tiles;
    return {n / heads, n % heads, (last_first ? tiles - 1 - tile : tile) * ROWS};
}

// Index of query i in arrays with one value per query.
__device__ __forceinline__ long long number_of(const Problem& p, const Place& place, int i) {
    return static_cast<long long>(place.batch * p.heads + place.head) * p.queries + i;
}

// One head of an operand: `count` rows of `size` elements.
template <class T> struct Rows {
    T* first;
    long long row, column;
    int count, size;
    bool vectors;  // rows are contiguous and aligned to 16 bytes

    __device__ __forceinline__ Rows(T* p, const Steps& s, const Place& place, int count, int size)
        : first(p + place.batch * s.batch + place.head * s.head),
          row(s.row),
          column(s.column),
          count(count),
          size(size),
          vectors(is_aligned<16 / sizeof(T)>(first) && column == 1 && row % (16 / sizeof(T)) == 0) {}
};

// W neighbors of row n from column d on, at most 16 bytes; zeros beyond the ends.
template <int W, class T>
__device__ __forceinline__ Vec<T, W> load_row(const Rows<const T>& rows, int n, int d) {
    const T* const from = rows.first + n * rows.row + d * rows.column;
    if (rows.vectors && n < rows.count && d + W <= rows.size) return load<W>(from);
    Vec<T, W> x;
#pragma unroll
    for (int w = 0; w < W; w++) {
        x.at[w] = n < rows.count && d + w < rows.size ? from[w * rows.column] : from_acc<T>(0.0f);
    }
    return x;
}

template <int W, class T>
__device__ __forceinline__ void store_row(const Rows<T>& rows, int n, int d, const Vec<T, W>& x) {
    if (n >= rows.count) return;
    T* const to = rows.first + n * rows.row + d * rows.column;
    if (rows.vectors && d + W <= rows.size) {
        store<W>(to, x);
    } else {
#pragma unroll
        for (int w = 0; w < W; w++) {
            if (d + w < rows.size) to[w * rows.column] = x.at[w];
        }
    }
}

// End of the keys that are visible to any query before `last`.
__device__ __forceinline__ int keys_seen(const Problem& p, int last) {
    return min(p.keys, min(last, p.queries) + p.reach);
}

// Whether a query from `i` on may not attend to all keys before `j_end`, or there is a mask.
__device__ __forceinline__ bool has_hidden(const Problem& p, int i, int j_end) {
    return p.mask_kind != 0 || j_end > p.keys || j_end > i + p.reach + 1;
}

// The score of query i and key j after masks; -inf where i does not attend to j.
template <class T, class A>
__device__ __forceinline__ A masked(
    A score, const Problem& p, const Place& place, const void* mask, int i, int j) {
    if (i >= p.queries || j >= p.keys || j > i + p.reach) return -infinity<A>();
    if (p.mask_kind == 0) return score;
    const long long at =
        place.batch * p.mask.batch + place.head * p.mask.head + i * p.mask.row + j * p.mask.column;
    if (p.mask_kind == 1) return static_cast<const bool*>(mask)[at] ? score : -infinity<A>();
    return score + to_acc(static_cast<const T*>(mask)[at]) * A(LOG2_E);
}
