// Fused attention, forward and backward, for 16-bit floats on tensor cores; attention.cu is for float and
//   double.
// Mapping: blocks as in attention.cu; a warp takes 16 of the rows, in forward 32 where they fit. Its scores
//   and sums stay in registers: weights become the left operand of the next product in place.
// Traffic: as attention.cu; the next tile of columns is copied while the warps compute on this one.
// Numerics: products are added in float. Weights, and their gradients, are rounded to T before they are
//   multiplied; their sums are not.
// Architecture: sm_80; see mma.cuh for sm_75.
// Source: Dao 2023, arXiv:2307.08691. Specification: ops/attention/numpy_attention.py.
#include "attention_mma.cuh"

extern __shared__ __align__(16) unsigned char smem[];

// ---- forward ---------------------------------------------------------------------------------------------

template <class T, int HS, int ROWS, int KEYS, bool GENERAL, bool DROPPING>
__global__ void __launch_bounds__(ROWS * (HS > 64 ? 2 : 1), 1) attention_forward(
    T* y, float* lse, const T* q, const T* k, const T* v, const void* mask, Problem p) {
    constexpr int M = HS > 64 ? 1 : 2, N = KEYS / 8, C = HS / 8, P = pitch<HS>;
    constexpr int THREADS = ROWS * (HS > 64 ? 2 : 1);
    constexpr bool KEPT = HS <= 128;             // the queries, in registers
    T* const keys = reinterpret_cast<T*>(smem);  // 2 of (KEYS, P)
    T* const values = keys + 2 * KEYS * P;       // 2 of (KEYS, P)
    T* const queries = values + 2 * KEYS * P;    // (ROWS, P)
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, row = threadIdx.x / 32 * (16 * M);
    const Place place = place_of<ROWS>(p.queries, p.heads, true);
    const Rows<const T> q_rows(q, p.q, place, p.queries, p.size), k_rows(k, p.k, place, p.keys, p.size),
        v_rows(v, p.v, place, p.keys, p.value_size);
    Tiles<KEYS, HS, THREADS, GENERAL, T> k_tiles(k_rows, 0), v_tiles(v_rows, 0);
    const auto fetch = [&](int stage) {
        k_tiles.next(keys + stage * KEYS * P);
        v_tiles.next(values + stage * KEYS * P);
        tt_mma::cp_async_commit();
    };
    Tiles<ROWS, HS, THREADS, GENERAL, T>(q_rows, place.first).next(queries);
    fetch(0);
    tt_mma::cp_async_wait<0>();
    __syncthreads();
    unsigned kept[KEPT ? HS / 16 : 1][M][4];
#pragma unroll
    for (int d = 0; KEPT && d < HS / 16; d++) {
#pragma unroll
        for (int m = 0; m < M; m++) load_left<HS>(kept[d][m], queries + (row + 16 * m) * P + 16 * d);
    }

    const int i0 = place.first + row, end = keys_seen(p, place.first + ROWS);
    const int warp_end = i0 < p.queries ? keys_seen(p, i0 + 16 * M) : 0;
    // Without an additive mask, the scale is applied in the exponent; not 0, since 0 times -inf is nan.
    const float scale = static_cast<float>(p.scale * LOG2_E);
    const bool late = p.scale > 0 && p.mask_kind != 2;
    const float factor = late ? scale : 1.0f;
    const Dropout dropout(p, place);
    Sums<M, C> sums;
    sums.start();
    for (int j0 = 0, stage = 0; j0 < end; j0 += KEYS, stage ^= 1) {
        tt_mma::cp_async_wait<0>();
        __syncthreads();  // this tile has arrived, and the last one is no longer read
        if (j0 + KEYS < end) fetch(stage ^ 1);
        const int count = min(KEYS, warp_end - j0);  // keys visible to the warp
        if (count <= 0) continue;
        float s[M][N][4];
        clear(s);
#pragma unroll
        for (int d = 0; d < HS / 16; d++) {
            const T* const columns = keys + stage * KEYS * P + 16 * d;
            if constexpr (KEPT) {
                add_products<HS, true>(s, kept[d], columns, count);
            } else {
                unsigned left[M][4];
#pragma unroll
                for (int m = 0; m < M; m++) load_left<HS>(left[m], queries + (row + 16 * m) * P + 16 * d);
                add_products<HS, true>(s, left, columns, count);
            }
        }
        if (!late) {
#pragma unroll
            for (int m = 0; m < M; m++) {
#pragma unroll
                for (int n = 0; n < N; n++) {
#pragma unroll
                    for (int e = 0; e < 4; e++) s[m][n][e] *= scale;
                }
            }
        }
        if (has_hidden(p, i0, j0 + KEYS)) {
#pragma unroll
            for (int m = 0; m < M; m++) hide<T, GENERAL>(s[m], p, place, mask, i0 + 16 * m, j0);
        }
        sums.weigh(s, factor);
#pragma unroll
        for (int m = 0; DROPPING && m < M; m++) {
            const unsigned kept = kept_across<N>(dropout, i0 + 16 * m, j0, count);
#pragma unroll
            for (int n = 0; n < N; n++) {
#pragma unroll
                for (int x = 0; x < 4; x++) s[m][n][x] = if_kept<true>(kept, 4 * n + x, s[m][n][x]);
            }
        }
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            if (8 * n >= count) break;
            unsigned left[M][4];
#pragma unroll
            for (int m = 0; m < M; m++) round_left<T>(left[m], s[m], n);
            add_products<HS, false>(sums.values, left, values + (stage * KEYS + 8 * n) * P);
        }
    }

    const Rows<T> to(y, p.y, place, p.queries, p.value_size);
#pragma unroll
    for (int m = 0; m < M; m++) {
        float inverse[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const float total = lanes_sum(sums.total[m][h]);
            const bool blind = GENERAL && total == 0.0f;  // a fully masked query gives 0
            inverse[h] = blind ? 0.0f : (DROPPING ? static_cast<float>(p.kept) : 1.0f) / total;
            const int i = i0 + 16 * m + g + 8 * h;
            if (lse != nullptr && t == 0 && i < p.queries) {
                const float sum = (sums.base(m, h, factor) + log2f(total)) * static_cast<float>(LN_2);
                lse[number_of(p, place, i)] = blind ? infinity<float>() : sum;
            }
        }
        T* const room = queries + (row + 16 * m) * P;
        store_rows<HS>(to, i0 + 16 * m, 0, room, sums.values[m], inverse[0], inverse[1]);
    }
}

// ---- backward --------------------------------------------------------------------------------------------

// With P = softmax and dP = grad v': dv = P' grad, dS = P * (dP - delta), dk = scale dS' q, dq = scale dS k;
// delta from attention_delta. A warp has 16 keys: P' and dS' are its left operands in place. For dq, dS goes
// through shared memory, and a warp takes some of the rows and columns of each tile. For large heads, two
// blocks take half of the columns of dq, dk and dv each.
template <class T, int HS, int KEYS, int QUERIES, bool GENERAL, bool DROPPING>
__global__ void __launch_bounds__(KEYS * 2, 1) attention_backward(
    T* dq, T* dk, T* dv, float* sums, const T* grad, const T* q, const T* k, const T* v, const void* mask,
    const float* lse, const float* delta, Problem p) {
    constexpr int THREADS = KEYS * 2, N = QUERIES / 8, C = (HS > 128 ? 128 : HS) / 8, P = pitch<HS>;
    constexpr int DOWN = KEYS < QUERIES ? KEYS / 16 : QUERIES / 16, ACROSS = KEYS / 16 / DOWN;  // warps
    constexpr int M = QUERIES / 16 / DOWN, ALL = C / ACROSS, CQ = ALL > 4 ? 4 : ALL, PS = QUERIES + 8;
    constexpr bool EARLY = C <= 8;                                        // else registers do not suffice
    T* const queries = reinterpret_cast<T*>(smem);                        // 2 of (QUERIES, P)
    T* const grads = queries + 2 * QUERIES * P;                           // 2 of (QUERIES, P)
    T* const keys = grads + 2 * QUERIES * P;                              // (KEYS, P)
    T* const values = keys + KEYS * P;                                    // (KEYS, P)
    T* const slopes = values + KEYS * P;                                  // (KEYS, PS): dS'
    float* const log_sums = reinterpret_cast<float*>(slopes + KEYS * PS);  // 2 of (QUERIES)
    float* const means = log_sums + 2 * QUERIES;                          // 2 of (QUERIES)
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, warp = threadIdx.x / 32, row = warp * 16;
    const int half = blockIdx.y * (8 * C);  // first column
    const int q_row = warp % DOWN * (16 * M), q_column = half + warp / DOWN * (8 * ALL);
    const Place place = part_of(p);
    const Rows<const T> q_rows(q, p.q, place, p.queries, p.size),
        g_rows(grad, p.grad, place, p.queries, p.value_size);
    const float scale = static_cast<float>(p.scale * LOG2_E), factor = static_cast<float>(p.scale);
    const float kept_factor = DROPPING ? static_cast<float>(p.kept) : 1.0f;
    const Dropout dropout(p, place);
    sums += sums_of<HS>(p, place);

    for (int j0 = place.first * KEYS; j0 < p.keys; j0 += p.parts * KEYS) {
        const int start = first_query<QUERIES>(p, j0), warp_j = j0 + row;
        const bool begun = j0 >= p.parts * KEYS;  // earlier keys of this part have left sums
        // from these queries on, later keys need the sums
        const int later = j0 + KEYS < p.keys ? first_query<QUERIES>(p, j0 + KEYS) : p.queries;
        Tiles<QUERIES, HS, THREADS, GENERAL, T> q_tiles(q_rows, start), g_tiles(g_rows, start);
        const auto fetch = [&](int i0, int stage) {
            q_tiles.next(queries + stage * QUERIES * P);
            g_tiles.next(grads + stage * QUERIES * P);
            tt_mma::cp_async_commit();
            for (int n = threadIdx.x; n < QUERIES; n += THREADS) {
                const bool inside = i0 + n < p.queries;
                const long long at = number_of(p, place, inside ? i0 + n : 0);
                const int here = stage * QUERIES + n;
                log_sums[here] = inside ? lse[at] * static_cast<float>(LOG2_E) : infinity<float>();
                means[here] = inside ? delta[at] : 0.0f;
            }
        };
        __syncthreads();  // the last keys are no longer read
        Tiles<KEYS, HS, THREADS, GENERAL, T>({k, p.k, place, p.keys, p.size}, j0).next(keys);
        Tiles<KEYS, HS, THREADS, GENERAL, T>({v, p.v, place, p.keys, p.value_size}, j0).next(values);
        tt_mma::cp_async_commit();  // without any query no fetch commits it
        if (start < p.queries) fetch(start, 0);

        float k_sum[1][C][4], v_sum[1][C][4];
        clear(k_sum);
        clear(v_sum);
        for (int i0 = start, stage = 0; i0 < p.queries; i0 += QUERIES, stage ^= 1) {
            tt_mma::cp_async_wait<0>();
            __syncthreads();  // this tile has arrived, and the last one and dS are no longer read
            if (i0 + QUERIES < p.queries) fetch(i0 + QUERIES, stage ^ 1);
            T *const q_tile = queries + stage * QUERIES * P, *const g_tile = grads + stage * QUERIES * P;
            float q_sum[M][CQ][4];
            const auto exchange = [&](int column, bool back) {  // with the sums in memory
#pragma unroll
                for (int m = 0; m < M; m++) {
#pragma unroll
                    for (int h = 0; h < 2; h++) {
                        const int i = i0 + q_row + 16 * m + g + 8 * h;
                        if (i >= p.queries) continue;
                        float* const at = sums + static_cast<long long>(i) * HS + column + 2 * t;
#pragma unroll
                        for (int c = 0; c < CQ; c++) {
                            float* const pair = &q_sum[m][c][2 * h];
                            if (back) {
                                store<2>(at + 8 * c, {pair[0], pair[1]});
                            } else {
                                const Vec<float, 2> x = load<2>(at + 8 * c);
                                pair[0] = x.at[0], pair[1] = x.at[1];
                            }
                        }
                    }
                }
            };
            if (EARLY) clear(q_sum);
            if (EARLY && begun) exchange(q_column, false);

            const int begin = max(warp_j - p.reach - i0, 0), end = min(QUERIES, p.queries - i0);
            if (warp_j < p.keys && begin < end) {  // some of these queries attend to keys of the warp
                float s[1][N][4], ds[1][N][4];
                multiply_rows<HS>(s, keys + row * P, q_tile, end);
                weigh<T, GENERAL>(s[0], p, place, mask, i0, warp_j, scale, log_sums + stage * QUERIES);
                const unsigned kept = DROPPING ? kept_down<N>(dropout, i0, warp_j) : 0;
#pragma unroll
                for (int n = 0; n < N; n += 2) {
                    if (8 * n >= end || 8 * n + 16 <= begin) continue;
                    float dropped[2][4];
#pragma unroll
                    for (int x = 0; x < 8; x++) {
                        const float weight = s[0][n + x / 4][x % 4];
                        dropped[x / 4][x % 4] = if_kept<DROPPING>(kept, 4 * n + x, weight);
                    }
                    unsigned left[1][4];
                    round_left<T>(left[0], dropped, 0);
                    add_products<HS, false>(v_sum, left, g_tile + 8 * n * P + half);
                }
                multiply_rows<HS>(ds, values + row * P, g_tile, end);
#pragma unroll
                for (int n = 0; n < N; n++) {
                    const Vec<float, 2> mean = load<2>(means + stage * QUERIES + 8 * n + 2 * t);
#pragma unroll
                    for (int x = 0; x < 4; x++) {
                        const float slope = if_kept<DROPPING>(kept, 4 * n + x, ds[0][n][x] * kept_factor);
                        ds[0][n][x] = s[0][n][x] * (slope - mean.at[x % 2]);
                    }
                }
#pragma unroll
                for (int n = 0; n < N; n += 2) {
                    unsigned left[1][4];
                    round_left<T>(left[0], ds[0], n);
                    unsigned* const to = reinterpret_cast<unsigned*>(slopes + (row + g) * PS + 8 * n + 2 * t);
                    to[0] = left[0][0], to[4] = left[0][2];
                    to[4 * PS] = left[0][1], to[4 * PS + 4] = left[0][3];
                    if (8 * n >= end || 8 * n + 16 <= begin) continue;
                    add_products<HS, false>(k_sum, left, q_tile + 8 * n * P + half);
                }
            }
            __syncthreads();  // dS is complete, and this tile is no longer read

            const int count = min(KEYS, keys_seen(p, i0 + QUERIES) - j0);  // keys that any query sees
#pragma unroll 1
            for (int column = q_column; column < q_column + 8 * ALL; column += 8 * CQ) {
                if (!EARLY || column > q_column) {
                    clear(q_sum);
                    if (begun) exchange(column, false);
                }
#pragma unroll 1
                for (int n = 0; n < count; n += 16) {
                    unsigned left[M][4];
#pragma unroll
                    for (int m = 0; m < M; m++) {
                        const T* const at = slopes + (n + lane / 16 * 8 + lane % 8) * PS + q_row + 16 * m;
                        tt_mma::ldmatrix<4, true>(left[m], at + lane / 8 % 2 * 8);
                    }
                    add_products<HS, false>(q_sum, left, keys + n * P + column);
                }
                if (p.parts > 1 || i0 >= later) {
                    exchange(column, true);
                    continue;
                }
#pragma unroll
                for (int m = 0; m < M; m++) {
                    const Rows<T> to(dq, p.dq, place, p.queries, p.size);
                    T* const room = q_tile + (q_row + 16 * m) * P + column - half;
                    store_rows<HS>(to, i0 + q_row + 16 * m, column, room, q_sum[m], factor, factor);
                }
            }
        }
        tt_mma::cp_async_wait<0>();
        __syncthreads();  // the keys are no longer read; without any query, they have not been waited for
        const Rows<T> dk_rows(dk, p.dk, place, p.keys, p.size);
        const Rows<T> dv_rows(dv, p.dv, place, p.keys, p.value_size);
        store_rows<HS>(dk_rows, warp_j, half, keys + row * P, k_sum[0], factor, factor);
        store_rows<HS>(dv_rows, warp_j, half, values + row * P, v_sum[0], kept_factor, kept_factor);
    }
}
