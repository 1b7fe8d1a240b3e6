// Tiles of attention on CUDA cores: operands in shared memory, products in registers.
// Mapping: LANES threads share R rows. Of a tile of scores each has every LANES-th column; of a result, HS /
//   LANES columns, in groups of neighbors that are LANES groups apart.
#pragma once
#include "attention.cuh"
#include "pack.cuh"

constexpr int LANES = 16;

template <class T> constexpr int vector_width = 16 / sizeof(T);

// Number of neighboring columns in a group.
template <class T, int HS>
constexpr int neighbors = HS / LANES < vector_width<T> ? HS / LANES : vector_width<T>;

// R: large heads leave fewer registers for rows. A block has ROWS * sizeof(T) / (HS > 128 ? 1 : 2) threads.
template <class T, int HS> constexpr int rows_at_once = (HS > 128 ? 16 : 32) / sizeof(T);

// N rows, times a factor, to shared memory: element (n, d) at n * PITCH + d; transposed, at d * PITCH + n.
template <int N, int HS, int PITCH, bool TRANSPOSED, class T>
__device__ __forceinline__ void load_tile(T* to, const Rows<const T>& rows, int first, T factor) {
    constexpr int W = vector_width<T>;
    for (int i = threadIdx.x; i < N * (HS / W); i += blockDim.x) {
        const int n = i / (HS / W), d = i % (HS / W) * W;
        Vec<T, W> x = load_row<W>(rows, first + n, d);
        UNROLLED
        for (int w = 0; w < W; w++) {
            x.at[w] *= factor;
            if (TRANSPOSED) to[(d + w) * PITCH + n] = x.at[w];
        }
        if (!TRANSPOSED) store<W>(to + n * PITCH + d, x);
    }
}

template <int C, int R, class T> __device__ __forceinline__ void clear(Pack<T, R> (&sum)[C]) {
    UNROLLED
    for (int c = 0; c < C; c++) sum[c] = filled<R>(T(0));
}

// s[j], row r = sum over d < depth of a(d, r) b(LANES j, d)
template <int PA, int PB, int J, int R, class T>
__device__ __forceinline__ void multiply_rows(Pack<T, R> (&s)[J], const T* a, const T* b, int depth) {
    constexpr int W = vector_width<T>;
    clear(s);
#pragma unroll 1  // a round has enough products, and more of them take registers
    for (int d = 0; d < depth; d += W) {
        Vec<T, W> x[J];
        UNROLLED
        for (int j = 0; j < J; j++) x[j] = load<W>(b + LANES * j * PB + d);
        UNROLLED
        for (int w = 0; w < W; w++) {
            const Pack<T, R> rows = load_pack<R>(a + (d + w) * PA);
            UNROLLED
            for (int j = 0; j < J; j++) add_product(s[j], rows, x[j].at[w]);
        }
    }
}

// sum[c], row r += sum over n from begin to end of a(n, r) b(n, column c)
template <int HS, int PA, int PB, int C, int R, class T>
__device__ __forceinline__ void add_weighted(
    Pack<T, R> (&sum)[C], const T* a, const T* b, int begin, int end) {
    constexpr int V = neighbors<T, HS>;
    Pack<T, R> s[C];  // local, so that it stays in registers on the CPU, too
    UNROLLED
    for (int c = 0; c < C; c++) s[c] = sum[c];
    for (int n = begin; n < end; n++) {
        const Pack<T, R> rows = load_pack<R>(a + n * PA);
        UNROLLED
        for (int c = 0; c < C; c += V) {
            const Vec<T, V> x = load<V>(b + n * PB + LANES * c);
            UNROLLED
            for (int v = 0; v < V; v++) add_product(s[c + v], rows, x.at[v]);
        }
    }
    UNROLLED
    for (int c = 0; c < C; c++) sum[c] = s[c];
}

// Stores rows of a result from row n on, each times its factor.
template <int HS, int C, int R, class T>
__device__ __forceinline__ void store_rows(
    const Rows<T>& to, int n, int lane, const Pack<T, R> (&sum)[C], const Pack<T, R>& factor) {
    constexpr int V = neighbors<T, HS>;
    UNROLLED
    for (int r = 0; r < R; r++) {
        UNROLLED
        for (int c = 0; c < C; c += V) {
            Vec<T, V> x;
            UNROLLED
            for (int v = 0; v < V; v++) x.at[v] = sum[c + v].at[r] * factor.at[r];
            store_row(to, n + r, LANES * c + lane * V, x);
        }
    }
}

// Bit r: whether dropout keeps the weight of query i + r and key j. 4 neighboring lanes have 4 neighboring
// keys, those of one block, and the same rows: of the blocks of 4 rows, each lane draws one.
template <int R> __device__ __forceinline__ unsigned kept_of_queries(const Dropout& dropout, int i, int j) {
    const int lane = threadIdx.x % 32, own_row = lane % 4;
    unsigned kept = 0;
    UNROLLED
    for (int r = 0; r < R; r += 4) {
        const unsigned own = dropout.draw(i + r + own_row, j / 4);
        UNROLLED
        for (int k = 0; k < 4 && k < R; k++) {
            const unsigned bits = __shfl_sync(0xffffffffU, own, lane - own_row + k);
            kept |= (bits >> own_row & 1) << (r + k);
        }
    }
    return kept;
}

// Bit r: the same for query i and key j + r.
template <int R> __device__ __forceinline__ unsigned kept_of_keys(const Dropout& dropout, int i, int j) {
    unsigned kept = 0;
    UNROLLED
    for (int r = 0; r < R; r += 4) kept |= dropout.draw(i, (j + r) / 4) << r;
    return R < 4 ? kept >> j % 4 : kept;
}

// x where the bit is set, elsewhere 0.
template <int R, class T> __device__ __forceinline__ Pack<T, R> where_kept(Pack<T, R> x, unsigned kept) {
    UNROLLED
    for (int r = 0; r < R; r++) x.at[r] = kept >> r & 1 ? x.at[r] : T(0);
    return x;
}

// Stores columns d to d + R - 1 of row n.
template <int R, class T>
__device__ __forceinline__ void store_pack(const Rows<T>& to, int n, int d, const Pack<T, R>& x) {
    constexpr int W = vector_width<T>;
    UNROLLED
    for (int i = 0; i < R; i += W) {
        Vec<T, W> part;
        UNROLLED
        for (int w = 0; w < W; w++) part.at[w] = x.at[i + w];
        store_row(to, n, d + i, part);
    }
}

// Reduces (maximum or sum) the values of LANES threads for their rows. `room` has LANES rows, with columns of
// the warp.
template <bool MAXIMUM, int PITCH, int R, class T>
__device__ __forceinline__ Pack<T, R> across_lanes(Pack<T, R> x, T* room, int lane) {
    store_pack(room + lane * PITCH, x);
    __syncwarp();
    x = load_pack<R>(room);
    UNROLLED
    for (int i = 1; i < LANES; i++) {
        const Pack<T, R> other = load_pack<R>(room + i * PITCH);
        x = MAXIMUM ? maximum(x, other) : x + other;
    }
    __syncwarp();
    return x;
}
