// Tiles of attention on tensor cores: operands in shared memory, products in registers.
// Mapping: a warp has 16 rows of scores and of results, in the layout of mma.cuh: with g = lane / 4 and t =
//   lane % 4, element 2 h + e of a 16x8 product is in row g + 8 h, column 2 t + e.
#pragma once
#include "attention.cuh"
#include "mma.cuh"

// Rows of HS elements have stride HS + 8, so that 8 rows of 16 bytes are in different banks.
template <int HS> constexpr int pitch = HS + 8;

// Reads rows from `first` on into shared memory, N at a time, zeros beyond the ends. Each of the THREADS
// threads of the block reads the same 8 columns of every STEP-th row. If rows are multiples of 16 bytes, at
// aligned addresses, as they are unless GENERAL, copies are asynchronous, and take a comparison, an addition
// and the copy itself.
template <int N, int HS, int THREADS, bool GENERAL, class T> struct Tiles {
    static constexpr int VECTORS = HS / 8, STEP = THREADS / VECTORS;
    static_assert(THREADS % VECTORS == 0 && N % STEP == 0, "all threads read as many vectors");
    const Rows<const T> rows;
    const bool aligned;
    const T* from;
    int left, column, place;  // rows from this thread's on; where it writes

    __device__ __forceinline__ Tiles(const Rows<const T>& rows, int first)
        : rows(rows), aligned(!GENERAL || (rows.vectors && rows.size % 8 == 0)) {
        const int n = threadIdx.x / VECTORS;
        column = threadIdx.x % VECTORS * 8;
        from = rows.first + (first + n) * rows.row + column;
        left = column < rows.size ? rows.count - first - n : 0;
        place = n * pitch<HS> + column;
    }

    __device__ __forceinline__ void next(T* to) {
        to += place;
        if (aligned) {
#pragma unroll
            for (int i = 0; i < N; i += STEP, from += STEP * rows.row) {
                tt_mma::cp_async16_zfill(to + i * pitch<HS>, from, i < left ? 16 : 0);
            }
        } else {
#pragma unroll 1
            for (int i = 0; i < N; i += STEP) {
                store<8>(to + i * pitch<HS>, load_row<8>(rows, rows.count - left + i, column));
            }
        }
        left -= N;
    }
};

// The left operand of a product: 16 rows and columns of a tile.
template <int HS, class T> __device__ __forceinline__ void load_left(unsigned (&a)[4], const T* tile) {
    const int lane = threadIdx.x % 32;
    tt_mma::ldmatrix<4>(a, tile + lane % 16 * pitch<HS> + lane / 16 * 8);
}

template <class T> __device__ __forceinline__ unsigned rounded_pair(float x, float y) {
    if constexpr (same<T, __half>) {
        const __half2 v = __floats2half2_rn(x, y);
        return reinterpret_cast<const unsigned&>(v);
    } else {
        const __nv_bfloat162 v = __floats2bfloat162_rn(x, y);
        return reinterpret_cast<const unsigned&>(v);
    }
}

// The left operand from other products, n and n + 1, rounded to T.
template <class T, int N>
__device__ __forceinline__ void round_left(unsigned (&a)[4], const float (&s)[N][4], int n) {
    a[0] = rounded_pair<T>(s[n][0], s[n][1]), a[1] = rounded_pair<T>(s[n][2], s[n][3]);
    a[2] = rounded_pair<T>(s[n + 1][0], s[n + 1][1]), a[3] = rounded_pair<T>(s[n + 1][2], s[n + 1][3]);
}

// sum[m] += a[m] b, in the first `count` columns of 8 C. The right operand b has 16 rows; the tile holds it
// as it is, or transposed.
template <int HS, bool TRANSPOSED, int M, int C, class T>
__device__ __forceinline__ void add_products(
    float (&sum)[M][C][4], const unsigned (&a)[M][4], const T* tile, int count = 8 * C) {
    constexpr int P = pitch<HS>;
    const int lane = threadIdx.x % 32;
    tile += TRANSPOSED ? (lane / 16 * 8 + lane % 8) * P + lane / 8 % 2 * 8 : lane % 16 * P + lane / 16 * 8;
#pragma unroll
    for (int c = 0; c < C; c += 2) {
        if (8 * c >= count) break;
        unsigned b[4];
        tt_mma::ldmatrix<4, !TRANSPOSED>(b, tile + 8 * c * (TRANSPOSED ? P : 1));
        const unsigned left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
#pragma unroll
        for (int m = 0; m < M; m++) {
            tt_mma::m16n8k16<T>(sum[m][c], a[m], left, sum[m][c]);
            tt_mma::m16n8k16<T>(sum[m][c + 1], a[m], right, sum[m][c + 1]);
        }
    }
}

template <int M, int C> __device__ __forceinline__ void clear(float (&sum)[M][C][4]) {
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int c = 0; c < C; c++) {
#pragma unroll
            for (int e = 0; e < 4; e++) sum[m][c][e] = 0.0f;
        }
    }
}

// s = a b', for 16 rows of a and the first `count` rows of b.
template <int HS, int N, class T>
__device__ __forceinline__ void multiply_rows(float (&s)[1][N][4], const T* a, const T* b, int count) {
    clear(s);
#pragma unroll
    for (int d = 0; d < HS; d += 16) {
        unsigned left[1][4];
        load_left<HS>(left[0], a + d);
        add_products<HS, true>(s, left, b + d, count);
    }
}

// Applies the masks to scores: 16 queries from i0 on down, keys from j0 on across.
template <class T, bool GENERAL, int N>
__device__ __forceinline__ void hide(
    float (&s)[N][4], const Problem& p, const Place& place, const void* mask, int i0, int j0) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, j = j0 + 2 * t;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int i = i0 + g + 8 * h, last = i < p.queries ? min(i + p.reach, p.keys - 1) - j : -1;
        const long long at = GENERAL && p.mask_kind != 0 ? mask_at(p, place, i, j) : 0;
#pragma unroll
        for (int n = 0; n < N; n++) {
#pragma unroll
            for (int e = 0; e < 2; e++) {
                float& score = s[n][2 * h + e];
                if (8 * n + e > last) score = -infinity<float>();
                else if (GENERAL) score = masked<T>(score, p, mask, at + (8 * n + e) * p.mask.column);
            }
        }
    }
}

// Turns scores into weights, exp2(scale * score - log sum), 0 where masked: 16 keys from j0 on down, queries
// from i0 on across.
template <class T, bool GENERAL, int N>
__device__ __forceinline__ void weigh(
    float (&s)[N][4], const Problem& p, const Place& place, const void* mask, int i0, int j0, float scale,
    const float* log_sums) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, i = i0 + 2 * t, j = j0 + g;
    if (GENERAL && p.mask_kind != 0) {
        const long long at = mask_at(p, place, i, j);
#pragma unroll
        for (int n = 0; n < N; n++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int down = 8 * n + e % 2, across = e / 2 * 8;
                s[n][e] *= scale;
                if (i + down >= p.queries || j + across >= p.keys) continue;
                s[n][e] = masked<T>(s[n][e], p, mask, at + down * p.mask.row + across * p.mask.column);
            }
        }
        scale = 1.0f;
    }
#pragma unroll
    for (int n = 0; n < N; n++) {
        const Vec<float, 2> log_sum = load<2>(log_sums + 8 * n + 2 * t);
#pragma unroll
        for (int e = 0; e < 4; e++) s[n][e] = tt_mma::exp2_approx(s[n][e] * scale - log_sum.at[e % 2]);
    }
    if (!has_hidden(p, i0, j0 + 16)) return;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int first = j + 8 * h < p.keys ? j + 8 * h - p.reach - i : 8 * N;  // query that sees the key
#pragma unroll
        for (int n = 0; n < N; n++) {
#pragma unroll
            for (int e = 0; e < 2; e++) s[n][2 * h + e] = 8 * n + e < first ? 0.0f : s[n][2 * h + e];
        }
    }
}

// Bit 4 n + x: whether dropout keeps the weight that is s[n][x] in `hide`. Of the 4 blocks of the rows g and
// g + 8 of a product, each of the 4 lanes draws one.
template <int N>
__device__ __forceinline__ unsigned kept_across(const Dropout& dropout, int i0, int j0, int count) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    unsigned own = 0, kept = 0;
#pragma unroll
    for (int n = 0; n < N; n++) {
        if (8 * n < count) own |= dropout.draw(i0 + g + t / 2 * 8, j0 / 4 + 2 * n + t % 2) << 4 * n;
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const unsigned bits = __shfl_sync(0xffffffffU, own, lane - t + t / 2 + 2 * h) >> t % 2 * 2;
        kept |= (bits & 0x33333333U) << 2 * h;
    }
    return kept;
}

// The same for s[n][x] in `weigh`: the lanes of 4 neighboring keys share the blocks of two queries.
template <int N>
__device__ __forceinline__ unsigned kept_down(const Dropout& dropout, int i0, int j0) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    unsigned own = 0, kept = 0;
#pragma unroll
    for (int n = 0; n < N; n++) {
        own |= dropout.draw(i0 + 8 * n + 2 * t + g % 2, j0 / 4 + g / 4 + g / 2 % 2 * 2) << 4 * n;
    }
#pragma unroll
    for (int x = 0; x < 4; x++) {
        const unsigned bits = __shfl_sync(0xffffffffU, own, (g / 4 * 4 + x % 2 + x / 2 * 2) * 4 + t) >> g % 4;
        kept |= (bits & 0x11111111U) << x;
    }
    return kept;
}

// x if the bit is set, else 0.
template <bool DROPPING> __device__ __forceinline__ float if_kept(unsigned kept, int bit, float x) {
    return !DROPPING || (kept >> bit & 1) != 0 ? x : 0.0f;
}

// Over the 4 lanes that share rows.
__device__ __forceinline__ float lanes_sum(float x) {
    x += __shfl_xor_sync(0xffffffffU, x, 1);
    return x + __shfl_xor_sync(0xffffffffU, x, 2);
}

__device__ __forceinline__ float lanes_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffU, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffU, x, 2));
}

// Of M times 16 rows: the running maximum score, and sums of exp2(factor * score - base) and of its products
// with the values; [h]: row g + 8 h.
template <int M, int C> struct Sums {
    float values[M][C][4], top[M][2], total[M][2];

    __device__ __forceinline__ void start() {
        clear(values);
#pragma unroll
        for (int m = 0; m < M; m++) {
            top[m][0] = top[m][1] = -infinity<float>();
            total[m][0] = total[m][1] = 0.0f;
        }
    }

    // The maximum score times factor, or 0 if all keys so far are masked. Rounded: a maximum that stays the
    // same shrinks nothing.
    __device__ __forceinline__ float base(int m, int h, float factor) const {
        return top[m][h] == -infinity<float>() ? 0.0f : product(top[m][h], factor);
    }

    // Turns scores into weights and sums them.
    template <int N> __device__ __forceinline__ void weigh(float (&s)[M][N][4], float factor) {
#pragma unroll
        for (int m = 0; m < M; m++) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                float highest = top[m][h];
#pragma unroll
                for (int n = 0; n < N; n++) {
                    highest = fmaxf(highest, fmaxf(s[m][n][2 * h], s[m][n][2 * h + 1]));
                }
                const float before = top[m][h];
                top[m][h] = lanes_max(highest);
                const float now = base(m, h, factor);
                const float shrink = tt_mma::exp2_approx(product(before, factor) - now);
                total[m][h] *= shrink;
#pragma unroll
                for (int c = 0; c < C; c++) values[m][c][2 * h] *= shrink, values[m][c][2 * h + 1] *= shrink;
#pragma unroll
                for (int n = 0; n < N; n++) {
#pragma unroll
                    for (int e = 2 * h; e < 2 * h + 2; e++) {
                        s[m][n][e] = tt_mma::exp2_approx(s[m][n][e] * factor - now);
                        total[m][h] += s[m][n][e];
                    }
                }
            }
        }
    }
};

// Stores 16 rows of a result from row n on, times `upper` (rows 0 to 7) or `lower`, through 16 rows of shared
// memory of the warp; its columns begin at `column`.
template <int HS, int C, class T>
__device__ __forceinline__ void store_rows(
    const Rows<T>& to, int n, int column, T* room, const float (&sum)[C][4], float upper, float lower) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int c = 0; c < C; c++) {
        unsigned* const place = reinterpret_cast<unsigned*>(room + g * pitch<HS> + 8 * c + 2 * t);
        place[0] = rounded_pair<T>(sum[c][0] * upper, sum[c][1] * upper);
        place[4 * pitch<HS>] = rounded_pair<T>(sum[c][2] * lower, sum[c][3] * lower);
    }
    __syncwarp();
    for (int i = lane; i < 16 * C; i += 32) {
        store_row(to, n + i / C, column + i % C * 8, load<8>(room + i / C * pitch<HS> + i % C * 8));
    }
}
