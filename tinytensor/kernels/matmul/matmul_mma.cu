// Matrix products on tensor cores: float16, bfloat16, and float32 in TF32.
//
// A block computes a tile of y. It iterates along `inner`, 64 bytes of each line at a time: while one slab of
// each operand is multiplied from shared memory, the next two are being copied there (cp.async). A warp keeps
// WM × WN sums in registers.
//
// A slab has the same layout in shared as in global memory, in rows of 16-byte chunks: 4 chunks for each line
// if the operand is contiguous along `inner`, else all lines for each inner element. Chunks are swizzled
// within their row, by XOR with the row number, so that the 8 rows of an ldmatrix are in different banks.
// If memory is not aligned to 16 bytes, chunks are assembled element by element.
// Traffic: a once per tile across, b once per tile down, y once; 2 * rows * columns * inner operations.
// Numerics: 16-bit products are exact, TF32 rounds each operand to 11 bits; sums are kept in float.
// Specification: ops/matmul/matmul.py. Layout after NVIDIA, CUTLASS 2, "Efficient GEMM in CUDA".
#include "matmul.cuh"
#include "mma.cuh"

constexpr int STAGES = 3;       // slabs in shared memory
constexpr int LINE_CHUNKS = 4;  // of 16 bytes, of each line in a slab
template <class T> constexpr int chunk = 16 / sizeof(T);  // elements of a chunk

// Tensor cores ignore the last 13 bits. Adding half of the last bit used turns this into rounding, ties away
// from zero. Infinities are unchanged, and a nan must not become a zero.
__device__ __forceinline__ unsigned rounded_to_tf32(unsigned bits) {
    return fabsf(__uint_as_float(bits)) < infinity<float>() ? bits + 0x1000U : bits;
}

// The slab of one operand: LINES lines (rows of a, columns of b); ALONG: it is contiguous along `inner`.
template <class T, int LINES, bool ALONG, int THREADS> struct Slab {
    static constexpr int CHUNKS = LINES * LINE_CHUNKS;
    static constexpr int ROW = ALONG ? LINE_CHUNKS : LINES / chunk<T>;  // chunks of a row in shared memory
    static_assert(CHUNKS % THREADS == 0 && THREADS % ROW == 0, "a thread moves whole chunks of one column");
    using Memory = uint4[CHUNKS];

    const T* next;  // first chunk of this thread in the next slab
    int lines;      // lines in bounds, from the first line of the tile
    bool aligned;

    __device__ __forceinline__ Slab(const T* tile, long long row_step, int lines) : lines(lines) {
        next = tile + threadIdx.x / ROW * row_step + threadIdx.x % ROW * chunk<T>;
        aligned = is_aligned<chunk<T>>(tile) && row_step % chunk<T> == 0;
    }

    // The position of chunk c of row r.
    static __device__ __forceinline__ int place(int r, int c) {
        if constexpr (ALONG) return r * ROW + (c ^ (r / 2 % 4));
        else if constexpr (sizeof(T) == 2) return r * ROW + (c ^ (r % 8));
        else return r * ROW + (c ^ (r % 4 * 2));
    }

    // Starts copying the next slab, of which `left` inner elements are in bounds; the others become zeros. An
    // address must be valid even if none of its 16 bytes is copied: `operand`, rounded down, is used then.
    __device__ __forceinline__ void fetch(Memory& to, int left, long long row_step, const T* operand) {
        const int c = threadIdx.x % ROW;
        const bool inside = aligned && lines >= LINES && left >= LINE_CHUNKS * chunk<T>;
#pragma unroll
        for (int v = 0; v < CHUNKS / THREADS; v++) {
            const int r = threadIdx.x / ROW + v * (THREADS / ROW);
            if (inside) {  // the common case, in few instructions
                tt_mma::cp_async16(&to[place(r, c)], next + v * (THREADS / ROW) * row_step);
                continue;
            }
            const int down = lines - (ALONG ? r : c * chunk<T>), deep = left - (ALONG ? c * chunk<T> : r);
            const int fit = down <= 0 || deep <= 0 ? 0 : ALONG ? deep : down;
            const T* from = next + v * (THREADS / ROW) * row_step;
            uint4* chunk_place = &to[place(r, c)];
            if (aligned) {
                const int bytes = fit >= chunk<T> ? 16 : fit * static_cast<int>(sizeof(T));
                const unsigned long long nothing = reinterpret_cast<unsigned long long>(operand) & ~15ULL;
                tt_mma::cp_async16_zfill(
                    chunk_place, fit > 0 ? from : reinterpret_cast<const T*>(nothing), bytes);
            } else {
                Vec<T, chunk<T>> x;
#pragma unroll
                for (int j = 0; j < chunk<T>; j++) x.at[j] = j < fit ? from[j] : T(0.0f);
                store<chunk<T>>(reinterpret_cast<T*>(chunk_place), x);
            }
        }
        next += ALONG ? LINE_CHUNKS * chunk<T> : LINE_CHUNKS * chunk<T> * row_step;
    }

    // Loads the registers of a warp for 16 lines and 32 bytes along `inner`: the matrix A of a product, or,
    // with the inner two registers swapped, the matrices B of two products, of 8 lines each.
    template <bool IS_A>
    static __device__ __forceinline__ void read(unsigned (&r)[4], const Memory& from, int line, int step) {
        const int lane = threadIdx.x % 32;
        const int eight = IS_A ? lane / 8 % 2 : lane / 16, half = IS_A ? lane / 16 : lane / 8 % 2;
        if constexpr (ALONG) {
            tt_mma::ldmatrix<4>(r, &from[place(line + eight * 8 + lane % 8, step * 2 + half)]);
        } else if constexpr (sizeof(T) == 2) {
            tt_mma::ldmatrix<4, true>(r, &from[place(step * 16 + half * 8 + lane % 8, line / 8 + eight)]);
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int inner = step * 8 + (IS_A ? i / 2 : i % 2) * 4 + lane % 4;
                const int at = line + (IS_A ? i % 2 : i / 2) * 8 + lane / 4;
                r[i] = reinterpret_cast<const unsigned*>(&from[place(inner, at / 4)])[at % 4];
            }
        }
        if constexpr (sizeof(T) == 4) {
#pragma unroll
            for (int i = 0; i < 4; i++) r[i] = rounded_to_tf32(r[i]);
        }
    }
};

template <class T>
__device__ __forceinline__ void multiply(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    if constexpr (sizeof(T) == 2) tt_mma::m16n8k16<T>(sums, a, b, sums);
    else tt_mma::m16n8k8_tf32(sums, a, b, sums);
}

// Of each 16 × 8 product of its warp, a lane has 2 neighbors in row lane / 4 and 2 in row lane / 4 + 8.
// Pairs of float fill whole sectors of memory; of 16-bit elements 8 neighbors are first gathered by shuffles.
template <int BM, int BN, int WM, int WN, int THREADS, class R, class Gate, class T>
__device__ __forceinline__ void write_tile(
    const Output<R, Gate>& out, const T* bias, const Product& p, int row0, int column0,
    const float (&sums)[WM / 16][WN / 8][4], R* staged) {
    constexpr int PITCH = BN + 8;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int down = warp % (BM / WM) * WM + lane / 4, across = warp / (BM / WM) * WN + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < WN / 8; j++) {
#pragma unroll
        for (int i = 0; i < WM / 16; i++) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const int r = down + i * 16 + h * 8, c = across + j * 8;
                const float pair[2] = {sums[i][j][2 * h], sums[i][j][2 * h + 1]};
                if constexpr (is_narrow<R>) {
                    Vec<R, 2> v;
#pragma unroll
                    for (int e = 0; e < 2; e++) {
                        const bool add = bias != nullptr && column0 + c + e < p.columns;
                        v.at[e] = from_acc<R>(add ? pair[e] + to_acc(bias[column0 + c + e]) : pair[e]);
                    }
                    store<2>(staged + r * PITCH + c, v);
                } else {
                    write_sums(out, bias, p, row0 + r, column0 + c, pair);
                }
            }
        }
    }
    if constexpr (is_narrow<R>) {
        __syncthreads();
#pragma unroll
        for (int i = threadIdx.x; i < BM * BN / 8; i += THREADS) {
            const int r = i / (BN / 8), c = i % (BN / 8) * 8;
            write_neighbors(out, p, row0 + r, column0 + c, load<8>(staged + r * PITCH + c));
        }
    }
}

// Registers for 512 threads on a multiprocessor; TF32 with both operands transposed needs more of them.
template <class R, class T, int BM, int BN, int WM, int WN, bool A_ALONG, bool B_ALONG, class Gate>
__global__ void __launch_bounds__(
    BM / WM * (BN / WN) * 32, sizeof(T) == 4 && !A_ALONG && B_ALONG ? 1 : 512 / (BM / WM * (BN / WN) * 32))
    matmul_tensor_cores(R* y, R* before, const T* a, const T* b, const T* bias, Product p) {
    constexpr int THREADS = BM / WM * (BN / WN) * 32, DEPTH = LINE_CHUNKS * chunk<T>;
    using Left = Slab<T, BM, A_ALONG, THREADS>;
    using Right = Slab<T, BN, B_ALONG, THREADS>;
    struct Stage {
        typename Left::Memory left;
        typename Right::Memory right;
    };
    __shared__ __align__(128) Stage stages[STAGES];
    static_assert(BM * (BN + 8) * 2 <= sizeof(stages), "write_tile gathers the tile here");

    const Place at = place_of_tile<BM, BN>(p);
    const long long a_step = A_ALONG ? p.a_row : p.a_inner, b_step = B_ALONG ? p.b_column : p.b_inner;
    Left left(a + at.a + at.row * p.a_row + at.first * p.a_inner, a_step, p.rows - at.row);
    Right right(b + at.b + at.column * p.b_column + at.first * p.b_inner, b_step, p.columns - at.column);
    const int warp = threadIdx.x / 32, row = warp % (BM / WM) * WM, column = warp / (BM / WM) * WN;

    float sums[WM / 16][WN / 8][4] = {};
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        left.fetch(stages[s].left, at.last - at.first - s * DEPTH, a_step, a);
        right.fetch(stages[s].right, at.last - at.first - s * DEPTH, b_step, b);
        tt_mma::cp_async_commit();
    }
    int now = 0;
    for (int rest = at.last - at.first; rest > 0; rest -= DEPTH) {
        tt_mma::cp_async_wait<STAGES - 2>();
        __syncthreads();  // this slab has arrived, and the previous one may be overwritten
        const int next = now == 0 ? STAGES - 1 : now - 1;
#pragma unroll
        for (int step = 0; step < LINE_CHUNKS / 2; step++) {
            unsigned v[WN / 16][4];
#pragma unroll
            for (int j = 0; j < WN / 16; j++) {
                Right::template read<false>(v[j], stages[now].right, column + j * 16, step);
            }
#pragma unroll
            for (int i = 0; i < WM / 16; i++) {
                unsigned u[4];
                Left::template read<true>(u, stages[now].left, row + i * 16, step);
#pragma unroll
                for (int j = 0; j < WN / 16; j++) {
                    const unsigned first[2] = {v[j][0], v[j][1]}, second[2] = {v[j][2], v[j][3]};
                    multiply<T>(sums[i][2 * j], u, first);
                    multiply<T>(sums[i][2 * j + 1], u, second);
                }
            }
        }
        left.fetch(stages[next].left, rest - (STAGES - 1) * DEPTH, a_step, a);
        right.fetch(stages[next].right, rest - (STAGES - 1) * DEPTH, b_step, b);
        tt_mma::cp_async_commit();
        now = now == STAGES - 1 ? 0 : now + 1;
    }
    tt_mma::cp_async_wait<0>();
    __syncthreads();
    // Of the tile; at.row and at.column would occupy registers until here.
    const int row0 = p.rows - left.lines, column0 = p.columns - right.lines;
    const Output<R, Gate> out = {y, before};
    R* staged = reinterpret_cast<R*>(stages);
    write_tile<BM, BN, WM, WN, THREADS>(out.from(at.y), bias, p, row0, column0, sums, staged);
}
