// Fused attention, forward and backward, for float and double: y = softmax(scale * q k' + mask) v, without an
//   array of Tq x Tk.
// Mapping: in attention_forward a block takes ROWS queries of one head and iterates over the keys. In
//   attention_backward it takes every p.parts-th tile of KEYS keys of one head, and for each iterates over
//   the queries: so no two blocks add to one element. dk and dv of a tile are in registers; dq is added up in
//   memory, tile after tile, in one array for each part; attention_add_parts adds those. Fully masked tiles
//   are skipped. Inside a block: attention_tile.cuh.
// Traffic: forward reads q once, k and v once for each block that attends to them, and writes y. Backward
//   reads k and v once, and q, grad and the sums of dq once for each tile of keys. Per unmasked score, with
//   head size D: 4 D flop in forward, 10 D in backward.
// Numerics: forward keeps the running maximum score of each row, and rescales its sums when it grows.
// Source: Milakov, Gimelshein 2018, arXiv:1805.02867; Dao 2023, arXiv:2307.08691.
// Specification: ops/attention/numpy_attention.py. 16-bit floats: attention_mma.cu.
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

template <class T, int HS, int ROWS, int KEYS, bool GENERAL, bool DROPPING>
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
    const Dropout dropout(p, place);
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
        if (count > 0) multiply_rows<ROWS, PK>(s, queries + row, keys + lane * PK, HS);
        __syncthreads();  // weights overwrite the keys
        if (count <= 0) continue;
        Pack<T, R> highest = filled<R>(-infinity<T>());
        const bool hidden = has_hidden(p, warp_i, j0 + KEYS);
        UNROLLED
        for (int j = 0; j < J; j++) {
            if (LANES * j >= count) break;
            UNROLLED
            for (int r = 0; r < R; r++) {
                T& score = s[j].at[r];
                if (hidden) score = masked<T, GENERAL>(score, p, place, mask, i + r, j0 + lane + LANES * j);
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
            if (DROPPING) s[j] = where_kept(s[j], kept_of_queries<R>(dropout, i, j0 + lane + LANES * j));
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
        const bool blind = GENERAL && total.at[r] == 0;  // a fully masked query gives 0
        inverse.at[r] = blind ? T(0) : T(DROPPING ? p.kept : 1.0) / total.at[r];
        if (lse != nullptr && lane == 0 && i + r < p.queries) {
            const T sum = (base.at[r] + log2(total.at[r])) * T(LN_2);
            lse[number_of(p, place, i + r)] = blind ? infinity<T>() : sum;
        }
    }
    store_rows<HS>(Rows<T>(y, p.y, place, p.queries, p.value_size), i, lane, sums.values, inverse);
}

// ---- backward --------------------------------------------------------------------------------------------

// With P = softmax and dP = grad v': dv = P' grad, dS = P * (dP - delta), dk = scale dS' q, dq = scale dS k;
// delta from attention_delta. For dq, a thread has R columns of every LANES-th query.
template <class T, int HS, int KEYS, int QUERIES, bool GENERAL, bool DROPPING>
__global__ void __launch_bounds__(KEYS * sizeof(T) / (HS > 128 ? 1 : 2), 1) attention_backward(
    T* dq, T* dk, T* dv, T* sums, const T* grad, const T* q, const T* k, const T* v, const void* mask,
    const T* lse, const T* delta, Problem p) {
    constexpr int R = rows_at_once<T, HS>, J = QUERIES / LANES, C = HS / LANES, V = neighbors<T, HS>;
    constexpr int PR = HS + vector_width<T>, PW = KEYS + vector_width<T>, GROUPS = KEYS / R;
    T* const keys = reinterpret_cast<T*>(smem);  // (HS, KEYS): transposed
    T* const values = keys + HS * KEYS;          // (HS, KEYS): transposed
    T* const key_rows = values + HS * KEYS;      // (KEYS, PR)
    T* const queries = key_rows + KEYS * PR;     // (QUERIES, PR)
    T* const grads = queries + QUERIES * PR;     // (QUERIES, PR)
    T* const log_sums = grads + QUERIES * PR;    // (QUERIES)
    T* const means = log_sums + QUERIES;         // (QUERIES)
    T* const all_weights = means + QUERIES;      // (QUERIES, PW): P, then dS
    const int lane = threadIdx.x % LANES, row = threadIdx.x / LANES * R;
    T* const weights = all_weights + row;
    const Place place = part_of(p);
    const Rows<const T> q_rows(q, p.q, place, p.queries, p.size), k_rows(k, p.k, place, p.keys, p.size),
        v_rows(v, p.v, place, p.keys, p.value_size), g_rows(grad, p.grad, place, p.queries, p.value_size);
    const Rows<T> dq_rows(dq, p.dq, place, p.queries, p.size), dk_rows(dk, p.dk, place, p.keys, p.size),
        dv_rows(dv, p.dv, place, p.keys, p.value_size);
    const Dropout dropout(p, place);
    const T kept_factor = T(DROPPING ? p.kept : 1.0);
    sums += sums_of<HS>(p, place);

    for (int j0 = place.first * KEYS; j0 < p.keys; j0 += p.parts * KEYS) {
        const int start = first_query<QUERIES>(p, j0), j = j0 + row;
        const int warp_j = j0 + threadIdx.x / 32 * (2 * R);
        const bool begun = j0 >= p.parts * KEYS;  // earlier keys of this part have left sums
        // from these queries on, later keys need the sums
        const int later = j0 + KEYS < p.keys ? first_query<QUERIES>(p, j0 + KEYS) : p.queries;
        __syncthreads();  // the last keys are no longer read
        load_tile<KEYS, HS, KEYS, true>(keys, k_rows, j0, T(1));
        load_tile<KEYS, HS, KEYS, true>(values, v_rows, j0, T(1));
        load_tile<KEYS, HS, PR, false>(key_rows, k_rows, j0, T(1));
        Pack<T, R> k_sum[C], v_sum[C];
        clear(k_sum);
        clear(v_sum);
        for (int i0 = start; i0 < p.queries; i0 += QUERIES) {
            __syncthreads();  // the last tile and dS are no longer read
            load_tile<QUERIES, HS, PR, false>(queries, q_rows, i0, T(p.scale * LOG2_E));
            load_tile<QUERIES, HS, PR, false>(grads, g_rows, i0, T(1));
            for (int n = threadIdx.x; n < QUERIES; n += blockDim.x) {
                const bool inside = i0 + n < p.queries;
                log_sums[n] = inside ? lse[number_of(p, place, i0 + n)] * T(LOG2_E) : infinity<T>();
                means[n] = inside ? delta[number_of(p, place, i0 + n)] : T(0);
            }
            __syncthreads();
            const int begin = max(warp_j - p.reach - i0, 0), end = min(QUERIES, p.queries - i0);
            if (warp_j < p.keys && begin < end) {  // some of these queries attend to keys of the warp
                Pack<T, R> s[J], ds[J];
                multiply_rows<KEYS, PR>(s, keys + row, queries + lane * PR, HS);
                multiply_rows<KEYS, PR>(ds, values + row, grads + lane * PR, HS);
                const bool hidden = has_hidden(p, i0, warp_j + 2 * R);
                UNROLLED
                for (int n = 0; n < J; n++) {
                    const int column = lane + LANES * n;
                    UNROLLED
                    for (int r = 0; r < R; r++) {
                        T& score = s[n].at[r];
                        if (hidden) score = masked<T, GENERAL>(score, p, place, mask, i0 + column, j + r);
                        score = exp2(score - log_sums[column]);
                    }
                    const unsigned kept = DROPPING ? kept_of_keys<R>(dropout, i0 + column, j) : 0;
                    store_pack(weights + column * PW, DROPPING ? where_kept(s[n], kept) : s[n]);
                    if (DROPPING) ds[n] = where_kept(ds[n] * filled<R>(kept_factor), kept);
                    ds[n] = s[n] * (ds[n] - filled<R>(means[column]));
                }
                __syncwarp();
                add_weighted<HS, PW, PR>(v_sum, weights, grads + lane * V, begin, end);
                __syncwarp();
                UNROLLED
                for (int n = 0; n < J; n++) store_pack(weights + (lane + LANES * n) * PW, ds[n]);
                __syncwarp();
                add_weighted<HS, PW, PR>(k_sum, weights, queries + lane * V, begin, end);
            }
            __syncthreads();  // dS is complete, up to the last keys that any of these queries sees
            const int count = (min(KEYS, keys_seen(p, i0 + QUERIES) - j0) + 2 * R - 1) / (2 * R) * (2 * R);
            for (int d = row; d < HS; d += GROUPS * R) {
                Pack<T, R> sum[J];
                multiply_rows<PR, PW>(sum, key_rows + d, all_weights + lane * PW, count);
                UNROLLED
                for (int n = 0; n < J; n++) {
                    const int i = i0 + lane + LANES * n;
                    if (i >= p.queries) break;
                    T* const at = sums + static_cast<long long>(i) * HS + d;
                    if (begun) sum[n] = load_pack<R>(at) + sum[n];
                    if (p.parts > 1 || i0 >= later) store_pack(at, sum[n]);
                    else store_pack(dq_rows, i, d, sum[n] * filled<R>(T(p.scale)));
                }
            }
        }
        store_rows<HS>(dk_rows, j, lane, k_sum, filled<R>(T(LN_2)));  // of its factors, q has scale * log2(e)
        store_rows<HS>(dv_rows, j, lane, v_sum, filled<R>(kept_factor));
    }
}
