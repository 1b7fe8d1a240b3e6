// Shared code of the attention kernels: operand layout, block scheduling and masks.
// Scores are in units of log2, so that exp2 makes weights of them: ((q . k) * scale + mask) * log2(e).
#pragma once
#include "stream.cuh"

constexpr double LOG2_E = 1.4426950408889634, LN_2 = 0.6931471805599453;

// Strides along the axes (B, H, T, D) of an operand, in elements; 0 where it is broadcast.
struct Steps {
    long long batch, head, row, column;
};

// By value, without padding; in Python struct.Struct("@36q2d8iIi"), and the bytes of a Stream.
struct Problem {
    Steps q, k, v, mask, y, grad, dq, dk, dv;
    double scale, kept;    // kept: dropout's factor of the weights that it keeps
    int heads;             // H
    int queries, keys;     // Tq, Tk
    int size, value_size;  // D of q and k, of v
    int reach;             // query i attends to the keys up to i + reach
    int mask_kind;         // 0: none, 1: bool, 2: additive, of the type of q
    int parts;             // backward: blocks that share the keys of a head
    unsigned threshold;    // of dropout: see philox::is_below
    int unused;
    Stream stream;  // of dropout
};

// The work of a block: one head, rows (or tiles of keys) from `first` on.
struct Place {
    int batch, head, first;
};

// The blocks of one head are neighbors, so that its keys are in the cache. If the last rows have the most
// visible keys, they come first, so that no long block starts when all others end.
template <int ROWS> __device__ __forceinline__ Place place_of(int rows, int heads, bool last_first) {
    const int tiles = (rows + ROWS - 1) / ROWS, n = blockIdx.x / tiles, tile = blockIdx.x % tiles;
    return {n / heads, n % heads, (last_first ? tiles - 1 - tile : tile) * ROWS};
}

// In backward: of the tiles of keys of one head every p.parts-th. The parts of a head are neighbors.
__device__ __forceinline__ Place part_of(const Problem& p) {
    const int n = blockIdx.x / p.parts;
    return {n / p.heads, n % p.heads, static_cast<int>(blockIdx.x % p.parts)};
}

// Index of query i in arrays with one value per query.
__device__ __forceinline__ long long number_of(const Problem& p, const Place& place, int i) {
    return static_cast<long long>(place.batch * p.heads + place.head) * p.queries + i;
}

// The weights of one head that dropout keeps. Word j % 4 of block j / 4 of a query is that of key j; the
// blocks of the queries of all heads follow each other. Lanes that share blocks draw one each.
struct Dropout {
    unsigned long long seed, first;
    int blocks;
    unsigned threshold;

    __device__ __forceinline__ Dropout(const Problem& p, const Place& place) {
        const unsigned long long* const state = p.stream.state;
        seed = state == nullptr ? p.stream.seed : state[0];
        blocks = (p.keys + 3) / 4;
        first = (state == nullptr ? 0 : state[1]) + p.stream.offset +
                static_cast<unsigned long long>(number_of(p, place, 0)) * blocks;
        threshold = p.threshold;
    }

    // Bit e: whether the weight of query i and key 4 block + e is kept.
    __device__ __forceinline__ unsigned draw(int i, int block) const {
        const unsigned long long at = static_cast<unsigned long long>(i) * blocks + block;
        const philox::Words words = philox::words(seed, first + at);
        unsigned bits = 0;
#pragma unroll
        for (int e = 0; e < 4; e++) {
            bits |= static_cast<unsigned>(!philox::is_below(words.at[e], threshold)) << e;
        }
        return bits;
    }
};

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

// The first tile of queries of which any sees key j.
template <int QUERIES> __device__ __forceinline__ int first_query(const Problem& p, int j) {
    return max(j - p.reach, 0) / QUERIES * QUERIES;
}

// Whether a query from `i` on may not attend to all keys before `j_end`, or there is a mask.
__device__ __forceinline__ bool has_hidden(const Problem& p, int i, int j_end) {
    return p.mask_kind != 0 || j_end > p.keys || j_end > i + p.reach + 1;
}

// Where the mask has query i and key j.
__device__ __forceinline__ long long mask_at(const Problem& p, const Place& place, int i, int j) {
    return place.batch * p.mask.batch + place.head * p.mask.head + i * p.mask.row + j * p.mask.column;
}

// The score at a place of the mask, after it.
template <class T, class A>
__device__ __forceinline__ A masked(A score, const Problem& p, const void* mask, long long at) {
    if (p.mask_kind == 0) return score;
    if (p.mask_kind == 1) return static_cast<const bool*>(mask)[at] ? score : -infinity<A>();
    return score + to_acc(static_cast<const T*>(mask)[at]) * A(LOG2_E);
}

// The score of query i and key j after the masks; -inf where i does not attend to j.
template <class T, bool GENERAL, class A>
__device__ __forceinline__ A masked(
    A score, const Problem& p, const Place& place, const void* mask, int i, int j) {
    if (i >= p.queries || j >= p.keys || j > i + p.reach) return -infinity<A>();
    return GENERAL ? masked<T>(score, p, mask, mask_at(p, place, i, j)) : score;
}

// ---- backward: before and after the scores ----------------------------------------------------------------

// delta = rowsum(grad * y). Mapping: DELTA_LANES threads for each query.
constexpr int DELTA_LANES = 8;

template <class T>
__global__ void __launch_bounds__(256) attention_delta(
    acc_t<T>* delta, const T* grad, const T* y, Problem p) {
    constexpr int W = 16 / sizeof(T);
    const int tiles = (p.queries + 256 / DELTA_LANES - 1) / (256 / DELTA_LANES);
    const int head = blockIdx.x / tiles, lane = threadIdx.x % DELTA_LANES;
    const int i = blockIdx.x % tiles * (256 / DELTA_LANES) + threadIdx.x / DELTA_LANES;
    const Place place = {head / p.heads, head % p.heads, 0};
    const Rows<const T> g_rows(grad, p.grad, place, p.queries, p.value_size),
        y_rows(y, p.y, place, p.queries, p.value_size);
    acc_t<T> sum = 0;
    for (int d = lane * W; d < p.value_size; d += DELTA_LANES * W) {
        const Vec<T, W> a = load_row<W>(g_rows, i, d), b = load_row<W>(y_rows, i, d);
#pragma unroll
        for (int e = 0; e < W; e++) sum += to_acc(a.at[e]) * to_acc(b.at[e]);
    }
#pragma unroll
    for (int step = DELTA_LANES / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, step);
    if (lane == 0 && i < p.queries) delta[number_of(p, place, i)] = sum;
}

// Where a part of a head has its sums of dq / scale: (batch, head, part, query, HS).
template <int HS> __device__ __forceinline__ long long sums_of(const Problem& p, const Place& place) {
    const long long part = static_cast<long long>(place.batch * p.heads + place.head) * p.parts + place.first;
    return part * p.queries * HS;
}

// dq = scale * the sums of all parts, in order; a part has none for queries that see none of its keys.
// Mapping: a thread has 16 bytes of a row of dq.
template <class T, int HS, int KEYS, int QUERIES>
__global__ void __launch_bounds__(256) attention_add_parts(T* dq, const acc_t<T>* sums, Problem p) {
    constexpr int W = 16 / sizeof(T), VECTORS = HS / W, ROWS = 256 / VECTORS;
    const int tiles = (p.queries + ROWS - 1) / ROWS, head = blockIdx.x / tiles;
    const int i = blockIdx.x % tiles * ROWS + threadIdx.x / VECTORS, d = threadIdx.x % VECTORS * W;
    const Place place = {head / p.heads, head % p.heads, 0};
    if (i >= p.queries || d >= p.size) return;
    const acc_t<T>* from = sums + sums_of<HS>(p, place) + static_cast<long long>(i) * HS + d;
    acc_t<T> sum[W] = {};
    for (int part = 0; part < p.parts; part++, from += static_cast<long long>(p.queries) * HS) {
        if (i < first_query<QUERIES>(p, part * KEYS)) break;
        const Vec<acc_t<T>, W> x = *reinterpret_cast<const Vec<acc_t<T>, W>*>(from);
#pragma unroll
        for (int e = 0; e < W; e++) sum[e] += x.at[e];
    }
    Vec<T, W> x;
#pragma unroll
    for (int e = 0; e < W; e++) x.at[e] = from_acc<T>(sum[e] * static_cast<acc_t<T>>(p.scale));
    store_row(Rows<T>(dq, p.dq, place, p.queries, p.size), i, d, x);
}
