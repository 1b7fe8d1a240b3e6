// Fused attention, forward, on the tensor cores of Hopper: float16 and bfloat16, heads of up to 64 or 128.
// target: sm_90a
//
// A block of three warpgroups has 128 queries of one head. One thread of the first warpgroup copies the
// queries, and then tiles of keys and of values in turns into a ring of stages (TMA); the others, with half
// of the queries each, multiply them from there (wgmma). `full` of a stage counts the bytes that have
// arrived, `empty` the warps that have read them. Scores stay in registers, and weights are the left operand
// of the next product in place.
//
// Queries and keys lie in lines of 64 columns, the values in the same lines, which run across the columns of
// the result. All are swizzled by 128 bytes, by TMA and by wgmma. Columns beyond the end of a head, and rows
// beyond the last, are zeros.
// Traffic: as attention.cu.
// Numerics, and what it computes: attention_mma.cu, which has the same sums in the same order where its tiles
// have as many keys; and all that does not fit here: masks, rows that begin between multiples of 16 bytes.
// Source: Shah et al. 2024, arXiv:2407.08608, without overlapping softmax and products of one warpgroup: the
// other warpgroups of a multiprocessor compute in between.
#include "attention_mma.cuh"
#include "hopper.cuh"

using namespace tt_hopper;

constexpr int ROWS = 128, HALF = ROWS / 2, CONSUMERS = 8;  // queries; of a warpgroup; warps that multiply

template <class T, int HS> struct Memory {
    static constexpr int KEYS = HS, STAGES = HS > 64 ? 4 : 6;  // of a tile; tiles of keys or values
    T queries[ROWS * HS];
    T stages[STAGES][KEYS * HS];
    T gathered[CONSUMERS][16 * pitch<HS>];
    Barrier arrived, full[STAGES], empty[STAGES];
};

extern __shared__ __align__(1024) unsigned char smem[];

// Copies LINES rows of a head from `first` on, in blocks of 64 columns.
template <int LINES, int HS, class T>
__device__ __forceinline__ void copy_rows(
    T* to, const TensorMap* map, int first, const Place& place, Barrier* barrier) {
    barrier_arrive_and_expect(barrier, LINES * HS * sizeof(T));
#pragma unroll
    for (int d = 0; d < HS; d += 64) {
        copy_box(to + LINES * d, map, d, first, place.head, place.batch, barrier);
    }
}

// Where wgmma finds the rows from `first` on, and columns from d on, of LINES rows whose products with others
// are summed along their columns.
template <int LINES, class T>
__device__ __forceinline__ unsigned long long rows_at(const T* tile, int first, int d) {
    return matrix_at(shared_address(tile + LINES * (d / 64 * 64) + first * 64 + d % 64), 1024, 0);
}

// The same of 16 of LINES rows, from `first` on, that are summed: lines run across.
template <int LINES, class T>
__device__ __forceinline__ unsigned long long columns_at(const T* tile, int first) {
    return matrix_at(shared_address(tile + first * 64), 1024, LINES * 128);
}

template <class T, int HS, bool DROPPING>
__global__ void __launch_bounds__(384, HS > 64 ? 1 : 2) attention_forward_hopper(
    T* y, float* lse, Problem p, const __grid_constant__ TensorMap q, const __grid_constant__ TensorMap k,
    const __grid_constant__ TensorMap v) {
    using Parts = Memory<T, HS>;
    constexpr int KEYS = Parts::KEYS, N = KEYS / 8, C = HS / 8, STAGES = Parts::STAGES;
    Parts& memory = *reinterpret_cast<Parts*>(smem + (-shared_address(smem) & 1023));  // as swizzles need
    const int warp = warp_number(), lane = threadIdx.x % 32;
    if (threadIdx.x == 0) {
        barrier_init(&memory.arrived, 1);
        for (int s = 0; s < STAGES; s++) {
            barrier_init(&memory.full[s], 1);
            barrier_init(&memory.empty[s], CONSUMERS);
        }
        barrier_init_fence();
    }
    __syncthreads();
    const Place place = place_of<ROWS>(p.queries, p.heads, true);
    Ring<STAGES> ring;
    if (warp < 4) {
        give_registers<HS == 64 ? 32 : 40>();
        if (threadIdx.x != 0) return;
        copy_rows<ROWS, HS>(memory.queries, &q, place.first, place, &memory.arrived);
        const int end = keys_seen(p, place.first + ROWS);
        for (int j0 = 0; j0 < end; j0 += KEYS) {
#pragma unroll
            for (int of_values = 0; of_values < 2; of_values++) {
                barrier_wait(&memory.empty[ring.stage], ring.parity ^ 1);
                const TensorMap* const map = of_values ? &v : &k;
                copy_rows<KEYS, HS>(memory.stages[ring.stage], map, j0, place, &memory.full[ring.stage]);
                ring.advance();
            }
        }
        return;
    }
    take_registers<HS == 64 ? 104 : 232>();
    const int half = warp / 4 - 1, i0 = place.first + half * HALF + warp % 4 * 16;
    // What the first half does not read is at the end: nothing waits for room there.
    const int end = keys_seen(p, place.first + (half + 1) * HALF);
    const float factor = static_cast<float>(p.scale * LOG2_E);  // in the exponent
    const Dropout dropout(p, place);
    Sums<1, C> sums;
    sums.start();
    const auto give_back = [&] {
        if (lane == 0) barrier_arrive(&memory.empty[ring.stage]);
        ring.advance();
    };
    barrier_wait(&memory.arrived, 0);
    for (int j0 = 0; j0 < end; j0 += KEYS) {
        float s[1][N][4];
        barrier_wait(&memory.full[ring.stage], ring.parity);
        products_begin();
#pragma unroll
        for (int d = 0; d < HS; d += 16) {
            const unsigned long long left = rows_at<ROWS>(memory.queries, half * HALF, d);
            m64k16<T, false>(s[0], left, rows_at<KEYS>(memory.stages[ring.stage], 0, d), d > 0);
        }
        products_commit();
        products_wait<0>();
        give_back();

        if (has_hidden(p, i0, j0 + KEYS)) hide<T, false>(s[0], p, place, nullptr, i0, j0);
        sums.weigh(s, factor);
#pragma unroll
        for (int part = 0; DROPPING && part < N; part += 8) {
            const int j = j0 + 8 * part;
            const unsigned kept = kept_across<8>(dropout, i0, j, end - j);
#pragma unroll
            for (int n = 0; n < 8; n++) {
#pragma unroll
                for (int x = 0; x < 4; x++) {
                    s[0][part + n][x] = if_kept<true>(kept, 4 * n + x, s[0][part + n][x]);
                }
            }
        }
        unsigned weights[KEYS / 16][4];
#pragma unroll
        for (int n = 0; n < KEYS / 16; n++) round_left<T>(weights[n], s[0], 2 * n);

        barrier_wait(&memory.full[ring.stage], ring.parity);
        products_begin();
#pragma unroll
        for (int n = 0; n < KEYS / 16; n++) {
            m64k16<T, true>(
                sums.values[0], weights[n], columns_at<KEYS>(memory.stages[ring.stage], 16 * n), true);
        }
        products_commit();
        products_wait<0>();
        give_back();
    }

    float inverse[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const float total = lanes_sum(sums.total[0][h]);
        inverse[h] = (DROPPING ? static_cast<float>(p.kept) : 1.0f) / total;
        const int i = i0 + lane / 4 + 8 * h;
        if (lse != nullptr && lane % 4 == 0 && i < p.queries) {
            const float sum = sums.base(0, h, factor) + log2f(total);
            lse[number_of(p, place, i)] = sum * static_cast<float>(LN_2);
        }
    }
    const Rows<T> to(y, p.y, place, p.queries, p.value_size);
    store_rows<HS>(to, i0, 0, memory.gathered[warp - 4], sums.values[0], inverse[0], inverse[1]);
}
