// Matrix products on tensor cores: float16, bfloat16, and float32 in TF32.
//
// A block computes a tile of y. It iterates along `inner`, 64 bytes of each line at a time: while one slab of
// each operand is multiplied from shared memory, the next STAGES - 1 are being copied there (cp.async). A
// warp keeps WM × WN sums in registers. For each step of 16 inner elements it reads WM lines of a and WN of
// b, so the larger its part of the tile, the less it reads for each product.
//
// A slab has the same layout in shared as in global memory, in rows of 16-byte chunks: 4 chunks for each line
// if the operand is contiguous along `inner`, else all lines for each inner element. Chunks are swizzled
// within their row, by XOR with the row number, so that the 8 rows of an ldmatrix are in different banks.
//
// Two loops do the same work. The first one, unrolled over the stages, copies whole slabs of aligned memory
// and nothing else: a thread keeps the addresses of its chunks. The second one has the last slabs, and all
// slabs of an operand that is not aligned to 16 bytes: its chunks are assembled element by element. Lines out
// of bounds are copies of one in bounds, since their sums are not stored.
// Traffic: a once per tile across, b once per tile down, y once; 2 * rows * columns * inner operations.
// Numerics: 16-bit products are exact, TF32 rounds each operand to 11 bits; sums are kept in float.
// Specification: ops/matmul/matmul.py. Layout after NVIDIA, CUTLASS 2, "Efficient GEMM in CUDA".
#include "matmul.cuh"
#include "mma.cuh"

constexpr int LINE_CHUNKS = 4;  // of 16 bytes, of each line in a slab
template <class T> constexpr int chunk = 16 / sizeof(T);  // elements of a chunk

// Tensor cores ignore the last 13 bits. Adding half of the last bit used turns this into rounding, ties away
// from zero. Infinities are unchanged, and a nan must not become a zero.
__device__ __forceinline__ unsigned rounded_to_tf32(unsigned bits) {
    return fabsf(__uint_as_float(bits)) < infinity<float>() ? bits + 0x1000U : bits;
}

// Slabs in the body of the first loop. Before sm_80, where copies and products of bfloat16 take many
// instructions, more than one would take minutes to compile.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
template <int STAGES> constexpr int at_once = 1;
#else
template <int STAGES> constexpr int at_once = STAGES;
#endif

// The slab of one operand: LINES lines (rows of a, columns of b); ALONG: it is contiguous along `inner`.
template <class T, int LINES, bool ALONG, int THREADS> struct Slab {
    static constexpr int CHUNKS = LINES * LINE_CHUNKS, MINE = CHUNKS / THREADS;
    static constexpr int ROW = ALONG ? LINE_CHUNKS : LINES / chunk<T>;  // chunks of a row in shared memory
    static constexpr int DEPTH = LINE_CHUNKS * chunk<T>;                // inner elements
    static_assert(CHUNKS % THREADS == 0 && THREADS % ROW == 0, "a thread moves whole chunks of one column");
    using Memory = uint4[CHUNKS];

    const T* next[ALONG ? MINE : 1];  // chunks of this thread in the next slab, or the first of them
    long long row_step;               // of global memory
    int lines;                        // lines in bounds, from the first line of the tile
    bool aligned;

    __device__ __forceinline__ Slab(const T* tile, long long row_step, int lines)
        : row_step(row_step), lines(lines) {
        if constexpr (ALONG) {
#pragma unroll
            for (int v = 0; v < MINE; v++) {
                next[v] = tile + (row(v) < lines ? row(v) : lines - 1) * row_step + column() * chunk<T>;
            }
        } else {
            next[0] = tile + row(0) * row_step + (column() * chunk<T> < lines ? column() * chunk<T> : 0);
        }
        aligned = is_aligned<chunk<T>>(tile) && row_step % chunk<T> == 0;
    }

    __device__ __forceinline__ const T* from(int v) const {
        return ALONG ? next[v] : next[0] + v * (THREADS / ROW) * row_step;
    }

    static __device__ __forceinline__ int row(int v) { return threadIdx.x / ROW + v * (THREADS / ROW); }
    static __device__ __forceinline__ int column() { return threadIdx.x % ROW; }

    // The position of chunk c of row r.
    static __device__ __forceinline__ int place(int r, int c) {
        if constexpr (ALONG) return r * ROW + (c ^ (r / 2 % 4));
        else if constexpr (sizeof(T) == 2) return r * ROW + (c ^ (r % 8));
        else return r * ROW + (c ^ (r % 4 * 2));
    }

    // Whether `copy` may be called: no chunk is unaligned or partly out of bounds.
    __device__ __forceinline__ bool has_whole_chunks() const {
        return aligned && (ALONG || lines >= LINES || lines % chunk<T> == 0);
    }

    // Starts copying the next slab, all inner elements of which are in bounds.
    __device__ __forceinline__ void copy(Memory& to) {
#pragma unroll
        for (int v = 0; v < MINE; v++) {
            tt_mma::cp_async16(&to[place(row(v), column())], next[ALONG ? v : 0]);
            if constexpr (!ALONG) next[0] += THREADS / ROW * row_step;  // after the last one: the next slab
        }
        if constexpr (ALONG) advance();
    }

    // The same for any slab, of which `left` inner elements are in bounds; the others become zeros. An
    // address must be valid even if none of its 16 bytes is copied: `operand`, rounded down, is used then.
    __device__ __forceinline__ void fetch(Memory& to, int left, const T* operand) {
        const int c = column(), here = lines - c * chunk<T>;
#pragma unroll
        for (int v = 0; v < MINE; v++) {
            const int fit = ALONG ? left - c * chunk<T> : row(v) >= left ? 0 : here > 0 ? here : lines;
            uint4* chunk_place = &to[place(row(v), c)];
            if (aligned) {
                const int bytes = fit <= 0 ? 0 : fit >= chunk<T> ? 16 : fit * static_cast<int>(sizeof(T));
                const unsigned long long nothing = reinterpret_cast<unsigned long long>(operand) & ~15ULL;
                const T* source = bytes > 0 ? from(v) : reinterpret_cast<const T*>(nothing);
                tt_mma::cp_async16_zfill(chunk_place, source, bytes);
            } else {
                Vec<T, chunk<T>> x;
#pragma unroll
                for (int j = 0; j < chunk<T>; j++) x.at[j] = j < fit ? from(v)[j] : T(0.0f);
                store<chunk<T>>(reinterpret_cast<T*>(chunk_place), x);
            }
        }
        advance();
    }

    __device__ __forceinline__ void advance() {
#pragma unroll
        for (int v = 0; v < (ALONG ? MINE : 1); v++) next[v] += ALONG ? DEPTH : DEPTH * row_step;
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

// The sums of a warp, plus its products of one slab.
template <class T, int WM, int WN, class Left, class Right>
__device__ __forceinline__ void multiply_slab(
    float (&sums)[WM / 16][WN / 8][4], const typename Left::Memory& left,
    const typename Right::Memory& right, int row, int column) {
#pragma unroll
    for (int step = 0; step < LINE_CHUNKS / 2; step++) {
        unsigned v[WN / 16][4];
#pragma unroll
        for (int j = 0; j < WN / 16; j++) Right::template read<false>(v[j], right, column + j * 16, step);
#pragma unroll
        for (int i = 0; i < WM / 16; i++) {
            unsigned u[4];
            Left::template read<true>(u, left, row + i * 16, step);
#pragma unroll
            for (int j = 0; j < WN / 16; j++) {
                const unsigned first[2] = {v[j][0], v[j][1]}, second[2] = {v[j][2], v[j][3]};
                multiply<T>(sums[i][2 * j], u, first);
                multiply<T>(sums[i][2 * j + 1], u, second);
            }
        }
    }
}

// Blocks that a multiprocessor has registers for: of 256 threads with many sums each, of 384 with few.
template <int WM, int WN, int THREADS> constexpr int resident = (WM * WN >= 2048 ? 256 : 384) / THREADS;

extern __shared__ __align__(128) unsigned char smem[];

template <
    class R, class T, int BM, int BN, int WM, int WN, int STAGES, bool A_ALONG, bool B_ALONG, class Gate>
__global__ void __launch_bounds__(
    BM / WM * (BN / WN) * 32, resident<WM, WN, BM / WM * (BN / WN) * 32>)
    matmul_tensor_cores(R* y, R* before, const T* a, const T* b, const T* bias, Product p) {
    constexpr int THREADS = BM / WM * (BN / WN) * 32, DEPTH = LINE_CHUNKS * chunk<T>;
    using Left = Slab<T, BM, A_ALONG, THREADS>;
    using Right = Slab<T, BN, B_ALONG, THREADS>;
    struct Stage {
        typename Left::Memory left;
        typename Right::Memory right;
    };
    Stage* stages = reinterpret_cast<Stage*>(smem);
    static_assert(BM * (BN + 8) * 2 <= STAGES * sizeof(Stage), "write_tile gathers the tile here");

    const Place at = place_of_tile<BM, BN>(p, blockIdx.x);
    const T* a_tile = a + at.a + at.row * p.a_row + at.first * p.a_inner;
    const T* b_tile = b + at.b + at.column * p.b_column + at.first * p.b_inner;
    Left left(a_tile, A_ALONG ? p.a_row : p.a_inner, p.rows - at.row);
    Right right(b_tile, B_ALONG ? p.b_column : p.b_inner, p.columns - at.column);
    const int warp = threadIdx.x / 32, row = warp % (BM / WM) * WM, column = warp / (BM / WM) * WN;

    float sums[WM / 16][WN / 8][4] = {};
    const int all = at.last - at.first;
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        left.fetch(stages[s].left, all - s * DEPTH, a);
        right.fetch(stages[s].right, all - s * DEPTH, b);
        tt_mma::cp_async_commit();
    }
    int done = 0;
    if (left.has_whole_chunks() && right.has_whole_chunks()) {
        // Each iteration copies the slab STAGES - 1 ahead, which must be whole.
        constexpr int UNROLLED = at_once<STAGES>;
#pragma unroll 1
        for (; all - done >= (2 * STAGES - 1) * DEPTH; done += STAGES * DEPTH) {
#pragma unroll UNROLLED
            for (int now = 0; now < STAGES; now++) {
                tt_mma::cp_async_wait<STAGES - 2>();
                __syncthreads();  // this slab has arrived, and the previous one may be overwritten
                Stage& next = stages[(now + STAGES - 1) % STAGES];
                left.copy(next.left);
                right.copy(next.right);
                tt_mma::cp_async_commit();
                multiply_slab<T, WM, WN, Left, Right>(sums, stages[now].left, stages[now].right, row, column);
            }
        }
    }
    // Addresses anew: kept through the first loop, those for single elements would be registers more.
    const long long ahead = done + (STAGES - 1) * DEPTH;
    left = Left(a_tile + ahead * p.a_inner, left.row_step, left.lines);
    right = Right(b_tile + ahead * p.b_inner, right.row_step, right.lines);
#pragma unroll 1
    for (int now = 0; done < all; done += DEPTH) {
        tt_mma::cp_async_wait<STAGES - 2>();
        __syncthreads();
        Stage& next = stages[now == 0 ? STAGES - 1 : now - 1];
        left.fetch(next.left, all - done - (STAGES - 1) * DEPTH, a);
        right.fetch(next.right, all - done - (STAGES - 1) * DEPTH, b);
        tt_mma::cp_async_commit();
        multiply_slab<T, WM, WN, Left, Right>(sums, stages[now].left, stages[now].right, row, column);
        now = now == STAGES - 1 ? 0 : now + 1;
    }
    tt_mma::cp_async_wait<0>();
    __syncthreads();
    // Of the tile; at.row and at.column would occupy registers until here.
    const int row0 = p.rows - left.lines, column0 = p.columns - right.lines;
    const Output<R, Gate> out = {y, before};
    R* staged = reinterpret_cast<R*>(smem);
    write_tile<BM, BN, WM, WN, THREADS>(out.from(at.y), bias, p, row0, column0, sums, staged);
}
