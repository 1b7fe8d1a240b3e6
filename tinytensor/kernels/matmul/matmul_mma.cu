// Matrix products on tensor cores: float16, bfloat16, and float32 in TF32.
//
// A block computes a tile of y. It iterates along `inner`, 128 bytes of each line at a time: while one slab
// of each operand is multiplied from shared memory, the next STAGES - 1 are being copied there (cp.async). A
// warp keeps WM × WN sums in registers. For each step of 32 bytes of a line it reads WM lines of a and WN of
// b, so the larger its part of the tile, the less it reads for each product.
//
// A slab has the same layout in shared as in global memory, in rows of 16-byte chunks: 8 chunks for each line
// if the operand is contiguous along `inner`, else all lines for each inner element. Chunks are swizzled
// within their row, by XOR with the row number, so that the 8 rows of an ldmatrix are in different banks.
//
// Two loops do the same work. The first one, unrolled over the stages, copies whole slabs of aligned memory
// and nothing else: each address is a register plus a constant. The second one has the last slabs, and all
// slabs of an operand that is not aligned to 16 bytes (its chunks are assembled element by element), or has
// fewer lines than the tile and is not contiguous along `inner`. Lines out of bounds are copies of one in
// bounds, or zeros: their sums are not stored.
// Traffic: a once per tile across, b once per tile down, y once; 2 * rows * columns * inner operations.
// Numerics: 16-bit products are exact, TF32 rounds each operand to 11 bits; sums are kept in float.
// Specification: ops/matmul/matmul.py. Layout after NVIDIA, CUTLASS 2, "Efficient GEMM in CUDA".
#include "matmul.cuh"
#include "mma.cuh"

constexpr int LINE_CHUNKS = 8;  // of 16 bytes, of each line in a slab
template <class T> constexpr int chunk = 16 / sizeof(T);          // elements of a chunk
template <class T> constexpr int depth = LINE_CHUNKS * chunk<T>;  // inner elements of a slab

// Slabs in the body of the first loop. Before sm_80, where copies and products of bfloat16 take many
// instructions, more than one would take minutes to compile.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
template <int SLABS> constexpr int at_once = 1;
#else
template <int SLABS> constexpr int at_once = SLABS;
#endif

// Tensor cores ignore the last 13 bits. Adding half of the last bit used turns this into rounding, ties away
// from zero. Infinities are unchanged, and a nan must not become a zero.
__device__ __forceinline__ unsigned rounded_to_tf32(unsigned bits) {
    return fabsf(__uint_as_float(bits)) < infinity<float>() ? bits + 0x1000U : bits;
}

// The slab of one operand: LINES lines (rows of a, columns of b); ALONG: it is contiguous along `inner`.
template <class T, int LINES, bool ALONG, int THREADS> struct Slab {
    static constexpr int CHUNKS = LINES * LINE_CHUNKS, DEPTH = depth<T>;
    static constexpr int ROW = ALONG ? LINE_CHUNKS : LINES / chunk<T>;  // chunks of a row
    static constexpr bool BY_WORD = !ALONG && sizeof(T) == 4;           // ldmatrix transposes 16 bits alone
    using Memory = uint4[CHUNKS];

    // 4 threads (8, if there are few rows) copy a row: a thread has ROWS × COLUMNS chunks, so far apart.
    static constexpr int COLUMN_APART = CHUNKS / ROW < THREADS / 4 ? 8 : 4;
    static constexpr int ROW_APART = THREADS / COLUMN_APART;
    static constexpr int ROWS = CHUNKS / ROW / ROW_APART, COLUMNS = ROW / COLUMN_APART;
    static_assert(ROWS * ROW_APART * ROW == CHUNKS && ROW % 8 == 0, "a thread copies whole chunks");

    const T* next[ROWS];     // the first chunk of this thread in each of its rows of the next slab
    int targets[2];          // where its first chunk goes, and the one 4 further, in bytes
    int step;                // from one inner element to the next, in global memory
    int lines;               // lines in bounds, from the first line of the tile
    bool aligned, is_whole;  // whether chunks are aligned; whether `copy` may be called

    __device__ __forceinline__ Slab(const T* tile, long long row_step, long long step, int lines)
        : step(static_cast<int>(step)), lines(lines) {
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const int r = row(i);
            next[i] = tile + (ALONG && r >= lines ? lines - 1 : r) * row_step + column(0) * chunk<T>;
        }
#pragma unroll
        for (int j = 0; j < 2; j++) targets[j] = tt_mma::kept(place(row(0), column(0) + 4 * j));
        aligned = is_aligned<chunk<T>>(tile) && row_step % chunk<T> == 0;
        is_whole = aligned && (ALONG || (lines >= LINES && this->step == step));
    }

    // 8 threads write to shared memory together: in one row, or 4 in each of two rows whose chunks are then
    // in different banks.
    static __device__ __forceinline__ int row(int i) {
        const int lane = threadIdx.x % 32, other = lane / 4 % 2;
        const int within = BY_WORD ? other * 2 + lane / 8 % 2 + lane / 16 * 4 : other * 4 + lane / 8;
        return (COLUMN_APART == 8 ? threadIdx.x / 8 : threadIdx.x / 32 * 8 + within) + i * ROW_APART;
    }
    static __device__ __forceinline__ int column(int j) {
        return threadIdx.x % COLUMN_APART + j * COLUMN_APART;
    }

    // The position of chunk c of row r in shared memory, in bytes.
    static __device__ __forceinline__ int place(int r, int c) {
        return (r * ROW + (c ^ (BY_WORD ? r % 4 * 2 : r % 8))) * 16;
    }

    // That of chunk j in row i of this thread: the last bits of row(i) and row(0) are the same.
    __device__ __forceinline__ T* target(Memory& to, int i, int j) const {
        const int c = j * COLUMN_APART, offset = targets[c / 4 % 2] + (i * ROW_APART * ROW + c / 8 * 8) * 16;
        return reinterpret_cast<T*>(reinterpret_cast<unsigned char*>(to) + offset);
    }

    // Starts copying slab `ahead` behind the next one; all its inner elements are in bounds.
    __device__ __forceinline__ void copy(Memory& to, int ahead) {
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
#pragma unroll
            for (int j = 0; j < COLUMNS; j++) {
                const T* from = next[i] + j * COLUMN_APART * chunk<T> + (ALONG ? ahead * DEPTH : 0);
                tt_mma::cp_async16(target(to, i, j), from);
            }
        }
        if constexpr (!ALONG) advance(1);
    }

    // After `copy` of so many slabs.
    __device__ __forceinline__ void copied(int slabs) {
        if constexpr (ALONG) advance(slabs);
    }

    // One instruction for each pointer, since `step` has 32 bits.
    __device__ __forceinline__ void advance(int slabs) {
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            next[i] += static_cast<long long>(tt_mma::kept(step)) * (slabs * DEPTH);
        }
    }

    // Starts copying any slab, of which `left` inner elements are in bounds; the others become zeros. An
    // address must be valid even if none of its 16 bytes is copied: `operand`, rounded down, is used then.
    __device__ __forceinline__ void fetch(Memory& to, int left, const T* operand, long long step) {
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
#pragma unroll
            for (int j = 0; j < COLUMNS; j++) {
                const int here = (ALONG ? left : lines) - column(j) * chunk<T>;
                const int fit = !ALONG && row(i) >= left ? 0 : here;
                const T* from = next[i] + j * COLUMN_APART * chunk<T>;
                if (aligned) {
                    const int bytes = fit <= 0 ? 0 : fit >= chunk<T> ? 16 : fit * static_cast<int>(sizeof(T));
                    const unsigned long long nothing = reinterpret_cast<unsigned long long>(operand) & ~15ULL;
                    const T* source = bytes > 0 ? from : reinterpret_cast<const T*>(nothing);
                    tt_mma::cp_async16_zfill(target(to, i, j), source, bytes);
                } else {
                    Vec<T> x;
#pragma unroll
                    for (int e = 0; e < chunk<T>; e++) x.at[e] = e < fit ? from[e] : T(0.0f);
                    store<chunk<T>>(target(to, i, j), x);
                }
            }
            next[i] += step * DEPTH;
        }
    }

    // Where this lane reads the part of its warp, which begins at `line`, in the first slab; see `read`.
    template <bool IS_A>
    static __device__ __forceinline__ void find(const unsigned char* (&at)[4], const Memory& slab, int line) {
        const int lane = threadIdx.x % 32;
        const int eight = IS_A ? lane / 8 % 2 : lane / 16, half = IS_A ? lane / 16 : lane / 8 % 2;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int offset;
            if constexpr (ALONG) offset = place(line + eight * 8 + lane % 8, i * 2 + half);
            else if constexpr (BY_WORD) offset = place(lane % 4, line / 4 + i * 2 + lane / 16);
            else offset = place(half * 8 + lane % 8, line / 8 + i * 2 + eight);
            if constexpr (BY_WORD) offset += lane / 4 % 4 * 4;
            at[i] = tt_mma::kept_shared(reinterpret_cast<const unsigned char*>(slab) + offset);
        }
    }

    // Loads the registers of a warp for 16 lines, number i, and 32 bytes along `inner`: the matrix A of a
    // product, or, with the inner two registers swapped, the matrices B of two products, of 8 lines each.
    // `stage`: from the first slab to this one, in bytes.
    template <bool IS_A>
    static __device__ __forceinline__ void read(
        unsigned (&r)[4], const unsigned char* const (&at)[4], int stage, int i, int step) {
        if constexpr (ALONG) {
            tt_mma::ldmatrix<4>(r, at[step] + (stage + i * 16 * ROW * 16));
        } else if constexpr (!BY_WORD) {
            tt_mma::ldmatrix<4, true>(r, at[i] + (stage + step * 16 * ROW * 16));
        } else {
#pragma unroll
            for (int q = 0; q < 4; q++) {
                const int eight = IS_A ? q % 2 : q / 2, half = IS_A ? q / 2 : q % 2;
                const int offset = stage + i / 2 * 128 + (step * 8 + half * 4) * ROW * 16;
                r[q] = *reinterpret_cast<const unsigned*>(at[i % 2 * 2 + eight] + offset);
            }
        }
        if constexpr (sizeof(T) == 4) {
#pragma unroll
            for (int q = 0; q < 4; q++) r[q] = rounded_to_tf32(r[q]);
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
    float (&sums)[WM / 16][WN / 8][4], const unsigned char* const (&left_at)[4],
    const unsigned char* const (&right_at)[4], int stage) {
#pragma unroll
    for (int step = 0; step < LINE_CHUNKS / 2; step++) {
        unsigned v[WN / 16][4];
#pragma unroll
        for (int j = 0; j < WN / 16; j++) Right::template read<false>(v[j], right_at, stage, j, step);
#pragma unroll
        for (int i = 0; i < WM / 16; i++) {
            unsigned u[4];
            Left::template read<true>(u, left_at, stage, i, step);
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
    constexpr int THREADS = BM / WM * (BN / WN) * 32, DEPTH = depth<T>;
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
    Left left(a_tile, A_ALONG ? p.a_row : p.a_inner, p.a_inner, p.rows - at.row);
    Right right(b_tile, B_ALONG ? p.b_column : p.b_inner, p.b_inner, p.columns - at.column);
    const int warp = threadIdx.x / 32;
    const unsigned char *left_at[4], *right_at[4];
    Left::template find<true>(left_at, stages[0].left, warp % (BM / WM) * WM);
    Right::template find<false>(right_at, stages[0].right, warp / (BM / WM) * WN);

    float sums[WM / 16][WN / 8][4] = {};
    const int all = at.last - at.first;
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        left.fetch(stages[s].left, all - s * DEPTH, a, p.a_inner);
        right.fetch(stages[s].right, all - s * DEPTH, b, p.b_inner);
        tt_mma::cp_async_commit();
    }
    int done = 0;
    if (left.is_whole && right.is_whole) {
        // Each slab is multiplied while the one STAGES - 1 ahead, which must be whole, is copied.
        constexpr int SLABS = 2 * STAGES, UNROLLED = at_once<SLABS>;
#pragma unroll 1
        for (; all - done >= (SLABS + STAGES - 1) * DEPTH; done += SLABS * DEPTH) {
#pragma unroll UNROLLED
            for (int s = 0; s < SLABS; s++) {
                tt_mma::cp_async_wait<STAGES - 2>();
                __syncthreads();  // this slab has arrived, and the previous one may be overwritten
                const int now = s % STAGES * static_cast<int>(sizeof(Stage));
                Stage& next = stages[(s + STAGES - 1) % STAGES];
                left.copy(next.left, s);
                right.copy(next.right, s);
                tt_mma::cp_async_commit();
                multiply_slab<T, WM, WN, Left, Right>(sums, left_at, right_at, now);
            }
            left.copied(SLABS);
            right.copied(SLABS);
        }
    }
    // Addresses anew: kept through the first loop, those for single elements would be registers more.
    const long long ahead = done + (STAGES - 1) * DEPTH;
    left = Left(a_tile + ahead * p.a_inner, A_ALONG ? p.a_row : p.a_inner, p.a_inner, left.lines);
    right = Right(b_tile + ahead * p.b_inner, B_ALONG ? p.b_column : p.b_inner, p.b_inner, right.lines);
#pragma unroll 1
    for (int now = 0; done < all; done += DEPTH) {
        tt_mma::cp_async_wait<STAGES - 2>();
        __syncthreads();
        Stage& next = stages[now == 0 ? STAGES - 1 : now - 1];
        const int more = all - done - (STAGES - 1) * DEPTH;  // inner elements of the slab to copy
        if (more > 0) {
            left.fetch(next.left, more, a, p.a_inner);
            right.fetch(next.right, more, b, p.b_inner);
        }
        tt_mma::cp_async_commit();
        multiply_slab<T, WM, WN, Left, Right>(sums, left_at, right_at, now * static_cast<int>(sizeof(Stage)));
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
