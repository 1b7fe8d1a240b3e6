// Matrix products on the tensor cores of Hopper: float16 and bfloat16, in tiles of 128 × 256
// or 128 × 192.
// target: sm_90a
//
// A block of three warpgroups stays on its multiprocessor and computes one tile of y after another. One
// thread of the first warpgroup copies slabs of 64 inner elements into a ring of stages (TMA); the others,
// with half of the rows each, multiply them from there (wgmma). `full` of a stage counts the bytes that have
// arrived, `empty` the warps that have read them: so copies run ahead, also into the next tile, while sums
// are stored. On request two more warps, which would be idle, add up the columns of b from the stages: the
// gradient of a bias costs no traffic beside that of its weight.
//
// An operand that is contiguous along `inner` lies in a stage in lines of 64 inner elements; otherwise in
// blocks of 64 lines, with 64 rows of 64 neighbors. Both are swizzled by 128 bytes, by TMA and by wgmma.
// Traffic: a once per tile across, b once per tile down, y once; 2 * rows * columns * inner operations.
// Numerics, and what it computes: matmul_mma.cu, which multiplies what TMA cannot copy (rows that begin
// between multiples of 16 bytes, several batch axes).
// Source: NVIDIA, CUTLASS 3, warp-specialized persistent kernels.
#include "hopper.cuh"
#include "matmul.cuh"

using namespace tt_hopper;

constexpr int ROWS = 128, DEPTH = 64, STAGES = 4;
constexpr int HALF = ROWS / 2, CONSUMERS = 8;  // rows of a warpgroup; warps that multiply
constexpr int SUMMERS = 2;                     // warps 1 and 2, which add up columns
constexpr int PART = 64, PITCH = PART + 8;     // columns that a warp gathers at a time

template <int COLUMNS> struct Stage {
    unsigned short a[ROWS * DEPTH], b[COLUMNS * DEPTH];
};
template <int COLUMNS> struct Memory {
    Stage<COLUMNS> stages[STAGES];
    unsigned short gathered[CONSUMERS][16 * PITCH];
    Barrier full[STAGES], empty[STAGES];
};

extern __shared__ __align__(1024) unsigned char smem[];

// Copies the slab from inner element k on of LINES lines from `line` on.
template <bool ALONG, int LINES>
__device__ __forceinline__ void copy_slab(
    unsigned short* to, const TensorMap* map, int line, int k, int matrix, Barrier* barrier) {
    if constexpr (ALONG) {
        copy_box(to, map, k, line, matrix, barrier);
    } else {
#pragma unroll
        for (int i = 0; i < LINES / 64; i++) {
            copy_box(to + i * 64 * DEPTH, map, line + i * 64, k, matrix, barrier);
        }
    }
}

// Where wgmma finds the lines from `first` on, and step `step` of 16 inner elements, of an operand.
template <bool ALONG>
__device__ __forceinline__ unsigned long long lines_at(const unsigned short* slab, int first, int step) {
    const unsigned at = shared_address(slab) + first * DEPTH * 2;
    return ALONG ? matrix_at(at + step * 32, 1024, 0) : matrix_at(at + step * 16 * 128, 1024, 64 * 128);
}

// The sums of the columns of b over the tiles of this block, for one of the warps that add them up; tiles in
// the first row of y suffice. Eight lanes read a row of 64 neighbors, four rows at a time.
template <class R, class T, int COLUMNS>
__device__ __forceinline__ void sum_columns(
    R* column_sums, Memory<COLUMNS>& memory, const Product& p, unsigned tiles, int rank) {
    constexpr int BLOCKS = (COLUMNS / 64 + SUMMERS - 1) / SUMMERS;
    const int lane = threadIdx.x % 32, chunk = lane % 8;
    Ring<STAGES> ring;
    for (unsigned tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const Place at = place_of_tile<ROWS, COLUMNS>(p, tile);
        float sums[BLOCKS][8] = {};
        for (int k = at.first; k < at.last; k += DEPTH) {
            barrier_wait(&memory.full[ring.stage], ring.parity);
            if (at.row == 0) {
                const T* slab = reinterpret_cast<const T*>(memory.stages[ring.stage].b);
#pragma unroll
                for (int i = 0; i < BLOCKS; i++) {
                    const int block = i * SUMMERS + rank;
                    if (block >= COLUMNS / 64) break;
#pragma unroll 1
                    for (int row = lane / 8; row < DEPTH; row += 16) {  // rows beyond the matrix are 0
                        Vec<T, 8> v[4];
#pragma unroll
                        for (int j = 0; j < 4; j++) {
                            const int r = row + j * 4;
                            v[j] = load<8>(slab + (block * DEPTH + r) * 64 + (chunk ^ r % 8) * 8);
                        }
#pragma unroll
                        for (int e = 0; e < 32; e++) sums[i][e % 8] += to_acc(v[e / 8].at[e % 8]);
                    }
                }
                __syncwarp();
            }
            if (lane == 0) barrier_arrive(&memory.empty[ring.stage]);
            ring.advance();
        }
        if (at.row != 0) continue;
        R* to = column_sums + static_cast<long long>(at.first / p.part) * p.columns;
#pragma unroll
        for (int i = 0; i < BLOCKS; i++) {
#pragma unroll
            for (int e = 0; e < 8; e++) {
                float sum = sums[i][e];
                sum += __shfl_xor_sync(0xffffffffU, sum, 8);
                sum += __shfl_xor_sync(0xffffffffU, sum, 16);
                const int within = (i * SUMMERS + rank) * 64 + chunk * 8 + e, column = at.column + within;
                if (lane < 8 && within < COLUMNS && column < p.columns) to[column] = from_acc<R>(sum);
            }
        }
    }
}

// Stores the sums of a warp: 16 rows. 16-bit elements are gathered to vectors, 64 columns at a time.
template <class R, class Gate, class T, int D>
__device__ __forceinline__ void write_rows(
    const Output<R, Gate>& out, const T* bias, const Product& p, int row0, int column0,
    const float (&sums)[D], unsigned short* memory) {
    constexpr int COLUMNS = 2 * D;
    const int lane = threadIdx.x % 32;
    if constexpr (is_narrow<R>) {
        R* gathered = reinterpret_cast<R*>(memory);
#pragma unroll
        for (int part = 0; part < COLUMNS / PART; part++) {
#pragma unroll
            for (int i = 0; i < PART / 4; i++) {
                const int r = lane / 4 + i % 2 * 8, c = i / 2 * 8 + lane % 4 * 2;
                Vec<R, 2> v;
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    const int column = column0 + part * PART + c + e;
                    const float sum = sums[part * PART / 2 + i * 2 + e];
                    const bool add = bias != nullptr && column < p.columns;
                    v.at[e] = from_acc<R>(add ? sum + to_acc(bias[column]) : sum);
                }
                store<2>(gathered + r * PITCH + c, v);
            }
            __syncwarp();
#pragma unroll
            for (int i = 0; i < 16 * PART / 8 / 32; i++) {
                const int r = i * 4 + lane / 8, c = lane % 8 * 8, column = column0 + part * PART + c;
                write_neighbors(out, p, row0 + r, column, load<8>(gathered + r * PITCH + c));
            }
            __syncwarp();  // before the next columns are gathered
        }
    } else {
#pragma unroll
        for (int i = 0; i < COLUMNS / 4; i++) {
            const float pair[2] = {sums[2 * i], sums[2 * i + 1]};
            write_sums(out, bias, p, row0 + lane / 4 + i % 2 * 8, column0 + i / 2 * 8 + lane % 4 * 2, pair);
        }
    }
}

// `column_sums`: of one matrix b that is contiguous across `inner`, a row for each part; or null.
// `tiles`: of y, times parts, times matrices. `many_a`, `many_b`: whether an operand has a matrix for each.
template <class R, class T, int COLUMNS, bool A_ALONG, bool B_ALONG, class Gate>
__global__ void __launch_bounds__(384, 1) matmul_hopper(
    R* y, R* before, R* column_sums, const T* bias, Product p, unsigned tiles, bool many_a, bool many_b,
    const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b) {
    using Slabs = Stage<COLUMNS>;
    const unsigned begin = -shared_address(smem) & 1023;  // as swizzles need
    Memory<COLUMNS>& memory = *reinterpret_cast<Memory<COLUMNS>*>(smem + begin);
    const int warp = warp_number(), lane = threadIdx.x % 32;
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) {
            barrier_init(&memory.full[s], 1);
            barrier_init(&memory.empty[s], column_sums == nullptr ? CONSUMERS : CONSUMERS + SUMMERS);
        }
        barrier_init_fence();
    }
    __syncthreads();
    Ring<STAGES> ring;
    if (warp < 4) {
        give_registers<72>();
        if constexpr (!B_ALONG) {
            if (column_sums != nullptr && warp > 0 && warp <= SUMMERS) {
                sum_columns<R, T, COLUMNS>(column_sums, memory, p, tiles, warp - 1);
            }
        }
        if (threadIdx.x != 0) return;
        prefetch_map(&a);
        prefetch_map(&b);
        for (unsigned tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
            const Place at = place_of_tile<ROWS, COLUMNS>(p, tile);
            for (int k = at.first; k < at.last; k += DEPTH) {
                Slabs& stage = memory.stages[ring.stage];
                Barrier* full = &memory.full[ring.stage];
                barrier_wait(&memory.empty[ring.stage], ring.parity ^ 1);
                barrier_arrive_and_expect(full, sizeof(Slabs));
                copy_slab<A_ALONG, ROWS>(stage.a, &a, at.row, k, many_a ? at.matrix : 0, full);
                copy_slab<B_ALONG, COLUMNS>(stage.b, &b, at.column, k, many_b ? at.matrix : 0, full);
                ring.advance();
            }
        }
    } else {
        take_registers<216>();
        const int half = warp / 4 - 1;
        for (unsigned tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
            const Place at = place_of_tile<ROWS, COLUMNS>(p, tile);
            float sums[COLUMNS / 2];
            int before_stage = -1;  // the stage that is being read
            for (int k = at.first; k < at.last; k += DEPTH) {
                const Slabs& stage = memory.stages[ring.stage];
                barrier_wait(&memory.full[ring.stage], ring.parity);
                products_begin();
#pragma unroll
                for (int step = 0; step < DEPTH / 16; step++) {
                    const unsigned long long left = lines_at<A_ALONG>(stage.a, half * HALF, step);
                    const unsigned long long right = lines_at<B_ALONG>(stage.b, 0, step);
                    m64k16<T, !A_ALONG, !B_ALONG>(sums, left, right, k > at.first || step > 0);
                }
                products_commit();
                products_wait<1>();  // of the stage before
                if (before_stage >= 0 && lane == 0) barrier_arrive(&memory.empty[before_stage]);
                before_stage = ring.stage;
                ring.advance();
            }
            products_wait<0>();
            if (lane == 0) barrier_arrive(&memory.empty[before_stage]);
            const Output<R, Gate> out = {y, before};
            const int row = at.row + half * HALF + warp % 4 * 16;
            write_rows(out.from(at.y), bias, p, row, at.column, sums, memory.gathered[warp - 4]);
        }
    }
}
