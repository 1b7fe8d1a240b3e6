// Fused attention, forward and backward, for float and double: y = softmax(scale * q k' + mask) v, without an
//   array of Tq x Tk.
// Mapping: a block takes ROWS rows of one head. In attention_forward and attention_backward_queries they are
//   queries, and the block iterates over the keys; in attention_backward_keys they are keys, and it iterates
//   over the queries: so no two blocks add to one element. Fully masked tiles are skipped. Inside a block:
//   attention_tile.cuh.
// Traffic: forward reads q once, k and v once for each block that attends to them, and writes y. Backward
//   reads the rows of a block once, and the operands that it iterates over once for each block. Per unmasked
//   score, with head size D: 4 D flop in forward, 14 D in backward.
// Numerics: forward keeps the running maximum score of each row, and rescales its sums when it grows.
// Source: Milakov, Gimelshein 2018, arXiv:1805.02867; Dao 2023, arXiv:2307.08691.
// Specification: ops/attention/numpy_blocks.py. 16-bit floats: attention_mma.cu.
#include "attention_tile.cuh"

extern __shared__ __align__(16) unsigned char smem[];

// ---- forward ---------------------------------------------------------------------------------------------

// Of R rows: the running maximum score, and sums of exp2(score - base) and of its products with the values.
template <class T, int R, int C> struct Sums {
    Pack<T, R> values[C], top, total;

    // The maximum score, or 0 if all keys so far are masked.
    __device__ __forceinline__ Pack<T, R> base() const {
        Pack<T, R> x;
        UNROLLED
        for (int r = 0; r < R; r++) x.at[r] = top.at[r] == -infinity<T>() ? T(0) : top.at[r];
        return x;
    }

    __device__ __forceinline__ void raise(const Pack<T, R>& highest) {
        const Pack<T, R> before = top;
        top = maximum(top, highest);
        const Pack<T, R> now = base();
        Pack<T, R> shrink;
        UNROLLED
        for (int r = 0; r < R; r++) {
            shrink.at[r] = before.at[r] == top.at[r] ? T(1) : exp2(before.at[r] - now.at[r]);
        }
        total = total * shrink;
        UNROLLED
        for (int c = 0; c < C; c++) values[c] = values[c] * shrink;
    }
};

template <class T, int HS, int ROWS, int KEYS>
__global__ void __launch_bounds__(ROWS * sizeof(T) / (HS > 128 ? 1 : 2), 1) attention_forward(
    T* y, T* lse, const T* q, const T* k, const T* v, const void* mask, Problem p) {
    constexpr int R = rows_at_once<T, HS>, J = KEYS / LANES, C = HS / LANES, V = neighbors<T, HS>;
    constexpr int PK = HS + vector_width<T>, PW = ROWS + vector_width<T>;
    T* const queries = reinterpret_cast<T*>(smem);  // (HS, ROWS): transposed
    T* const values = queries + HS * ROWS;          // (KEYS, HS)
    T* const keys = values + KEYS * HS;             // (KEYS, PK), then weights: (KEYS, PW)
    const int lane = threadIdx.x % LANES, row = threadIdx.x / LANES * R;
    T* const weights = keys + row;
    const Place place = place_of<ROWS>(p.queries, p.heads, true);
    const Rows<const T> q_rows(q, p.q, place, p.queries, p.size), k_rows(k, p.k, place, p.keys, p.size),
        v_rows(v, p.v, place, p.keys, p.value_size);
    load_tile<ROWS, HS, ROWS, true>(queries, q_rows, place.first, T(p.scale * LOG2_E));

    const int i = place.first + row, warp_i = place.first + threadIdx.x / 32 * (2 * R);
    const int end = keys_seen(p, place.first + ROWS);
    const int warp_end = warp_i < p.queries ? keys_seen(p, warp_i + 2 * R) : 0;
    Sums<T, R, C> sums;
    clear(sums.values);
    sums.top = filled<R>(-infinity<T>());
    sums.total = filled<R>(T(0));
    for (int j0 = 0; j0 < end; j0 += KEYS) {
        const int count = min(KEYS, warp_end - j0);  // keys visible to the warp
        __syncthreads();                             // the last tile is no longer read
        load_tile<KEYS, HS, PK, false>(keys, k_rows, j0, T(1));
        load_tile<KEYS, HS, HS, false>(values, v_rows, j0, T(1));
        __syncthreads();
        Pack<T, R> s[J];
        if (count > 0) multiply_rows<HS, ROWS, PK>(s, queries + row, keys + lane * PK);
        __syncthreads();  // weights overwrite the keys
        if (count <= 0) continue;
        Pack<T, R> highest = filled<R>(-infinity<T>());
        const bool hidden = has_hidden(p, warp_i, j0 + KEYS);
        UNROLLED
        for (int j = 0; j < J; j++) {
            if (LANES * j >= count) break;
            UNROLLED
            for (int r = 0; r < R; r++) {
                if (hidden) s[j].at[r] = masked<T>(s[j].at[r], p, place, mask, i + r, j0 + lane + LANES * j);
            }
            highest = maximum(s[j], highest);
        }
        sums.raise(across_lanes<true, PW>(highest, weights, lane));
        const Pack<T, R> base = sums.base();
        UNROLLED
        for (int j = 0; j < J; j++) {
            if (LANES * j >= count) break;
            s[j] = s[j] - base;
            UNROLLED
            for (int r = 0; r < R; r++) s[j].at[r] = exp2(s[j].at[r]);
            sums.total = sums.total + s[j];
            store_pack(weights + (lane + LANES * j) * PW, s[j]);
        }
        __syncwarp();
        add_weighted<HS, PW, HS>(sums.values, weights, values + lane * V, 0, count);
    }

    __syncthreads();
    const Pack<T, R> total = across_lanes<false, PW>(sums.total, weights, lane), base = sums.base();
    Pack<T, R> inverse;
    UNROLLED
    for (int r = 0; r < R; r++) {
        const bool blind = total.at[r] == 0 && p.mask_kind != 0;  // a fully masked query gives 0
        inverse.at[r] = blind ? T(0) : 1 / total.at[r];
        if (lse != nullptr && lane == 0 && i + r < p.queries) {
            const T sum = (base.at[r] + log2(total.at[r])) * T(LN_2);
            lse[number_of(p, place, i + r)] = blind ? infinity<T>() : sum;
        }
    }
    store_rows<HS>(Rows<T>(y, p.y, place, p.queries, p.value_size), i, lane, sums.values, inverse);
}

// ---- backward --------------------------------------------------------------------------------------------

// With P = softmax, dP = grad v' and delta = rowsum(grad * y), which is written for attention_backward_keys:
// dS = P * (dP - delta), dq = scale dS k.
template <class T, int HS, int ROWS, int KEYS>
__global__ void __launch_bounds__(ROWS * sizeof(T) / (HS > 128 ? 1 : 2), 1) attention_backward_queries(
    T* dq, T* delta, const T* grad, const T* q, const T* k, const T* v, const void* mask, const T* y,
    const T* lse, Problem p) {
    constexpr int R = rows_at_once<T, HS>, J = KEYS / LANES, C = HS / LANES, V = neighbors<T, HS>;
    constexpr int PK = HS + vector_width<T>, PW = ROWS + vector_width<T>;
    T* const queries = reinterpret_cast<T*>(smem);  // (HS, ROWS): transposed
    T* const grads = queries + HS * ROWS;           // (HS, ROWS): transposed
    T* const keys = grads + HS * ROWS;              // (KEYS, PK)
    T* const values = keys + KEYS * PK;             // (KEYS, PK)
    const int lane = threadIdx.x % LANES, row = threadIdx.x / LANES * R;
    T* const weights = values + KEYS * PK + row;  // (KEYS, PW)
    const Place place = place_of<ROWS>(p.queries, p.heads, true);
    const Rows<const T> q_rows(q, p.q, place, p.queries, p.size), k_rows(k, p.k, place, p.keys, p.size),
        v_rows(v, p.v, place, p.keys, p.value_size), g_rows(grad, p.grad, place, p.queries, p.value_size),
        y_rows(y, p.y, place, p.queries, p.value_size);
    load_tile<ROWS, HS, ROWS, true>(queries, q_rows, place.first, T(p.scale * LOG2_E));
    load_tile<ROWS, HS, ROWS, true>(grads, g_rows, place.first, T(1));
    __syncthreads();

    const int i = place.first + row, warp_i = place.first + threadIdx.x / 32 * (2 * R);
    Pack<T, R> log_sum = filled<R>(infinity<T>()), mean = filled<R>(T(0));
    UNROLLED
    for (int r = 0; r < R; r++) {
        if (i + r >= p.queries) break;
        log_sum.at[r] = lse[number_of(p, place, i + r)] * T(LOG2_E);
        for (int d = lane; d < p.value_size; d += LANES) {
            mean.at[r] += grads[d * ROWS + row + r] * y_rows.first[(i + r) * y_rows.row + d * y_rows.column];
        }
    }
    mean = across_lanes<false, PW>(mean, weights, lane);
    UNROLLED
    for (int r = 0; r < R; r++) {
        if (lane == 0 && i + r < p.queries) delta[number_of(p, place, i + r)] = mean.at[r];
    }

    const int end = keys_seen(p, place.first + ROWS);
    const int warp_end = warp_i < p.queries ? keys_seen(p, warp_i + 2 * R) : 0;
    Pack<T, R> sum[C];
    clear(sum);
    for (int j0 = 0; j0 < end; j0 += KEYS) {
        __syncthreads();  // the last tile is no longer read
        load_tile<KEYS, HS, PK, false>(keys, k_rows, j0, T(1));
        load_tile<KEYS, HS, PK, false>(values, v_rows, j0, T(1));
        __syncthreads();
        const int count = min(KEYS, warp_end - j0);  // keys visible to the warp
        if (count <= 0) continue;
        Pack<T, R> s[J], ds[J];
        multiply_rows<HS, ROWS, PK>(s, queries + row, keys + lane * PK);
        multiply_rows<HS, ROWS, PK>(ds, grads + row, values + lane * PK);
        const bool hidden = has_hidden(p, warp_i, j0 + KEYS);
        UNROLLED
        for (int j = 0; j < J; j++) {
            if (LANES * j >= count) break;
            UNROLLED
            for (int r = 0; r < R; r++) {
                if (hidden) s[j].at[r] = masked<T>(s[j].at[r], p, place, mask, i + r, j0 + lane + LANES * j);
                s[j].at[r] = exp2(s[j].at[r] - log_sum.at[r]);
            }
            store_pack(weights + (lane + LANES * j) * PW, s[j] * (ds[j] - mean));
        }
        __syncwarp();
        add_weighted<HS, PW, PK>(sum, weights, keys + lane * V, 0, count);
    }
    const Rows<T> to(dq, p.dq, place, p.queries, p.size);
    store_rows<HS>(to, i, lane, sum, filled<R>(T(p.scale)));
}

// dv = P' grad, dk = scale dS' q.
template <class T, int HS, int ROWS, int QUERIES>
__global__ void __launch_bounds__(ROWS * sizeof(T) / (HS > 128 ? 1 : 2), 1) attention_backward_keys(
    T* dk, T* dv, const T* grad, const T* q, const T* k, const T* v, const void* mask, const T* lse,
    const T* delta, Problem p) {
    constexpr int R = rows_at_once<T, HS>, J = QUERIES / LANES, C = HS / LANES, V = neighbors<T, HS>;
    constexpr int PQ = HS + vector_width<T>, PW = ROWS + vector_width<T>;
    T* const keys = reinterpret_cast<T*>(smem);  // (HS, ROWS): transposed
    T* const values = keys + HS * ROWS;          // (HS, ROWS): transposed
    T* const queries = values + HS * ROWS;       // (QUERIES, PQ)
    T* const grads = queries + QUERIES * PQ;     // (QUERIES, PQ)
    T* const log_sums = grads + QUERIES * PQ;    // (QUERIES)
    T* const means = log_sums + QUERIES;         // (QUERIES)
    const int lane = threadIdx.x % LANES, row = threadIdx.x / LANES * R;
    T* const weights = means + QUERIES + row;  // (QUERIES, PW)
    const Place place = place_of<ROWS>(p.keys, p.heads, false);
    const Rows<const T> q_rows(q, p.q, place, p.queries, p.size), k_rows(k, p.k, place, p.keys, p.size),
        v_rows(v, p.v, place, p.keys, p.value_size), g_rows(grad, p.grad, place, p.queries, p.value_size);
    load_tile<ROWS, HS, ROWS, true>(keys, k_rows, place.first, T(1));
    load_tile<ROWS, HS, ROWS, true>(values, v_rows, place.first, T(1));

    const int j = place.first + row, warp_j = place.first + threadIdx.x / 32 * (2 * R);
    Pack<T, R> k_sum[C], v_sum[C];
    clear(k_sum);
    clear(v_sum);
    const int start = max(place.first - p.reach, 0) / QUERIES * QUERIES;
    for (int i0 = start; i0 < p.queries; i0 += QUERIES) {
        __syncthreads();  // the last tile is no longer read
        load_tile<QUERIES, HS, PQ, false>(queries, q_rows, i0, T(p.scale * LOG2_E));
        load_tile<QUERIES, HS, PQ, false>(grads, g_rows, i0, T(1));
        for (int n = threadIdx.x; n < QUERIES; n += blockDim.x) {
            const bool inside = i0 + n < p.queries;
            log_sums[n] = inside ? lse[number_of(p, place, i0 + n)] * T(LOG2_E) : infinity<T>();
            means[n] = inside ? delta[number_of(p, place, i0 + n)] : T(0);
        }
        __syncthreads();
        const int begin = max(warp_j - p.reach - i0, 0), end = min(QUERIES, p.queries - i0);
        if (warp_j >= p.keys || begin >= end) continue;  // none of these queries attends to keys of the warp
        Pack<T, R> s[J], ds[J];
        multiply_rows<HS, ROWS, PQ>(s, keys + row, queries + lane * PQ);
        multiply_rows<HS, ROWS, PQ>(ds, values + row, grads + lane * PQ);
        const bool hidden = has_hidden(p, i0, warp_j + 2 * R);
        UNROLLED
        for (int n = 0; n < J; n++) {
            if (LANES * n >= end || LANES * (n + 1) <= begin) continue;
            const int column = lane + LANES * n;
            UNROLLED
            for (int r = 0; r < R; r++) {
                if (hidden) s[n].at[r] = masked<T>(s[n].at[r], p, place, mask, i0 + column, j + r);
                s[n].at[r] = exp2(s[n].at[r] - log_sums[column]);
            }
            store_pack(weights + column * PW, s[n]);
            ds[n] = s[n] * (ds[n] - filled<R>(means[column]));
        }
        __syncwarp();
        add_weighted<HS, PW, PQ>(v_sum, weights, grads + lane * V, begin, end);
        __syncwarp();
        UNROLLED
        for (int n = 0; n < J; n++) store_pack(weights + (lane + LANES * n) * PW, ds[n]);
        __syncwarp();
        add_weighted<HS, PW, PQ>(k_sum, weights, queries + lane * V, begin, end);
    }
    const Rows<T> dk_rows(dk, p.dk, place, p.keys, p.size), dv_rows(dv, p.dv, place, p.keys, p.value_size);
    store_rows<HS>(dk_rows, j, lane, k_sum, filled<R>(T(LN_2)));  // of its factors, q holds scale * log2(e)
    store_rows<HS>(dv_rows, j, lane, v_sum, filled<R>(T(1)));
}
