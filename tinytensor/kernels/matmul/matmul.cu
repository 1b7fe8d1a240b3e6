// Matrix products on CUDA cores, for every real dtype, and products with one row (GEMV).
//
// matmul_tiles: a block computes a tile of y. It iterates along `inner`, DEPTH elements at a time: while one
// slab of each operand is multiplied from shared memory, the next one is loaded into registers. Threads of a
// warp are 4 down by 8 across; each accumulates TM × TN sums, in groups of 4 neighbors, so that the shared
// memory reads of a warp are contiguous.
// Traffic: a once per tile across, b once per tile down, y once; 2 * rows * columns * inner operations.
//
// matmul_row_by_lines, matmul_row_by_columns: one row times a matrix that is read once. If it is
// contiguous along `inner`, 8 threads or a whole block sum an element of y; if it is contiguous along
// columns, a block sums 32 neighbors.
// matmul_sum: adds up the split-K parts, and those of column sums. Reads them once, writes y once.
//
// Sums of 16-bit floats are kept in float; integers wrap around. The order of additions depends on the shapes
// and on the number of multiprocessors alone, so results are deterministic.
// Specification: matmul.py. Tiling: Nath, Tomov, Dongarra 2010, "An improved MAGMA GEMM for Fermi GPUs".
#include "matmul.cuh"
#include "reduce.cuh"

template <class T> using total_t = wrapping<acc_t<T>>;  // the type of sums

// The slab of one operand: LINES lines (rows of a, columns of b), DEPTH inner elements of each.
template <class T, int LINES, int DEPTH, int THREADS> struct Slab {
    static constexpr int VECTORS = LINES * DEPTH / 4 / THREADS;
    static constexpr int PITCH = LINES + 4;  // of a slab in shared memory; padding avoids bank conflicts
    static_assert(VECTORS * 4 * THREADS == LINES * DEPTH, "each thread moves whole groups of 4");
    using Tile = total_t<T>[DEPTH][PITCH];

    const T* next;    // first group of this thread in the next slab
    long long jump;   // from group to group
    int lines;        // lines in bounds, from the first line of the tile
    bool along;       // the 4 elements of a group are neighbors along `inner`, else across lines
    bool vectors;     // and can be loaded at once
    Vec<T, 4> held[VECTORS];

    // The position of group v of this thread in the slab.
    __device__ __forceinline__ int line(int v) const {
        const int i = threadIdx.x + v * THREADS;
        return along ? i / (DEPTH / 4) : i % (LINES / 4) * 4;
    }
    __device__ __forceinline__ int depth(int v) const {
        const int i = threadIdx.x + v * THREADS;
        return along ? i % (DEPTH / 4) * 4 : i / (LINES / 4);
    }

    __device__ __forceinline__ Slab(const T* tile, long long line_step, long long inner_step, int lines)
        : lines(lines), along(inner_step == 1) {
        next = tile + line(0) * line_step + depth(0) * inner_step;
        jump = along ? THREADS / (DEPTH / 4) * line_step : THREADS / (LINES / 4) * inner_step;
        vectors = is_aligned<4>(tile) && (along ? line_step : inner_step) % 4 == 0;
    }

    // Loads the next slab, of which `left` inner elements are in bounds; the others become zeros.
    __device__ __forceinline__ void fetch(int left, long long inner_step) {
        const bool inside = vectors && lines >= LINES && left >= DEPTH;
#pragma unroll
        for (int v = 0; v < VECTORS; v++) {
            const T* from = next + v * jump;
            if (inside) {  // the common case, in few instructions
                held[v] = load<4>(from);
                continue;
            }
            const int down = lines - line(v), deep = left - depth(v);
            const int fit = down <= 0 || deep <= 0 ? 0 : along ? deep : down;
            if (vectors && fit >= 4) {
                held[v] = load<4>(from);
            } else {
#pragma unroll
                for (int j = 0; j < 4; j++) held[v].at[j] = j < fit ? from[j] : T(0);
            }
        }
        next += DEPTH * inner_step;
    }

    __device__ __forceinline__ void put(Tile& tile) const {
#pragma unroll
        for (int v = 0; v < VECTORS; v++) {
            Vec<total_t<T>, 4> x;
#pragma unroll
            for (int j = 0; j < 4; j++) x.at[j] = static_cast<total_t<T>>(to_acc(held[v].at[j]));
            if (along) {
#pragma unroll
                for (int j = 0; j < 4; j++) tile[depth(v) + j][line(v)] = x.at[j];
            } else {
                store<4>(&tile[depth(v)][line(v)], x);
            }
        }
    }
};

// N elements in groups of 4, `step` apart. Templates instead of loops, here and in the next one, so that
// every compiler keeps the elements in registers: the emulator does not unroll loops.
template <int I = 0, int N, class A>
__device__ __forceinline__ void read_groups(A (&to)[N], const A* from, int step) {
    if constexpr (I < N) {
        const Vec<A, 4> v = load<4>(from);
        to[I] = v.at[0], to[I + 1] = v.at[1], to[I + 2] = v.at[2], to[I + 3] = v.at[3];
        read_groups<I + 4>(to, from + step, step);
    }
}

// sums[i][j] += u[i] * v[j], for pairs of j: a check of the emulator counts each pass of a loop.
template <int I = 0, int TM, int TN, class A>
__device__ __forceinline__ void add_products(A (&sums)[TM][TN], const A (&u)[TM], const A (&v)[TN]) {
    if constexpr (I < TM) {
#pragma unroll
        for (int j = 0; j < TN; j += 2) {
            sums[I][j] += u[I] * v[j];
            sums[I][j + 1] += u[I] * v[j + 1];
        }
        add_products<I + 1>(sums, u, v);
    }
}

template <int TM, int TN, class R, class Gate, class T, class A>
__device__ __forceinline__ void write_tile(
    const Output<R, Gate>& out, const T* bias, const Product& p, int row, int column, int down, int across,
    const A (&sums)[TM][TN]) {
#pragma unroll
    for (int i = 0; i < TM; i++) {
#pragma unroll
        for (int j = 0; j < TN; j += 4) {
            const A group[4] = {sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]};
            write_sums(out, bias, p, row + i / 4 * down + i % 4, column + j / 4 * across, group);
        }
    }
}

// 128 registers a thread for 4-byte sums, so that 512 threads fit on a multiprocessor.
template <class R, class T, int BM, int BN, int DEPTH, int TM, int TN, class Gate>
__global__ void __launch_bounds__(
    BM / TM * (BN / TN), sizeof(total_t<T>) == 4 ? 512 / (BM / TM * (BN / TN)) : 1)
    matmul_tiles(R* y, R* before, const T* a, const T* b, const T* bias, Product p) {
    constexpr int ACROSS = BN / TN, THREADS = BM / TM * ACROSS;
    constexpr int WARP_ACROSS = ACROSS < 8 ? ACROSS : 8, WARP_DOWN = 32 / WARP_ACROSS;
    using Left = Slab<T, BM, DEPTH, THREADS>;
    using Right = Slab<T, BN, DEPTH, THREADS>;
    __shared__ __align__(32) typename Left::Tile lefts[2];
    __shared__ __align__(32) typename Right::Tile rights[2];

    const Place at = place_of_tile<BM, BN>(p, blockIdx.x);
    Left left(a + at.a + at.row * p.a_row, p.a_row, p.a_inner, p.rows - at.row);
    Right right(b + at.b + at.column * p.b_column, p.b_column, p.b_inner, p.columns - at.column);
    left.next += at.first * p.a_inner;
    right.next += at.first * p.b_inner;

    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int row = (warp / (ACROSS / WARP_ACROSS) * WARP_DOWN + lane / WARP_ACROSS) * 4;
    const int column = (warp % (ACROSS / WARP_ACROSS) * WARP_ACROSS + lane % WARP_ACROSS) * 4;
    total_t<T> sums[TM][TN] = {};
    int now = 0;
    left.fetch(at.last - at.first, p.a_inner);
    right.fetch(at.last - at.first, p.b_inner);
    left.put(lefts[0]);
    right.put(rights[0]);
    __syncthreads();
    for (int rest = at.last - at.first; rest > 0; rest -= DEPTH) {
        const bool more = rest > DEPTH;
        if (more) {
            left.fetch(rest - DEPTH, p.a_inner);
            right.fetch(rest - DEPTH, p.b_inner);
        }
        // Unrolled further, it would spill on some GPUs.
#pragma unroll 2
        for (int k = 0; k < DEPTH; k++) {
            total_t<T> u[TM], v[TN];
            read_groups(u, &lefts[now][k][row], BM / TM * 4);
            read_groups(v, &rights[now][k][column], ACROSS * 4);
            add_products(sums, u, v);
        }
        if (more) {  // the other slab was read before the last barrier
            now ^= 1;
            left.put(lefts[now]);
            right.put(rights[now]);
            __syncthreads();
        }
    }
    const Output<R, Gate> out = {y, before};
    write_tile(out.from(at.y), bias, p, at.row + row, at.column + column, BM / TM * 4, ACROSS * 4, sums);
}

// ---- one row ---------------------------------------------------------------------------------------------

// b is contiguous along `inner`. LANES threads (8, or the whole block) sum one element of y, or of a part.
template <class R, class T, int LANES, class Gate>
__global__ void matmul_row_by_lines(
    R* y, R* before, const T* a, const T* b, const T* bias, Product p) {
    constexpr int W = 16 / sizeof(T);
    const long long last = p.size * p.parts - 1;
    const long long wanted = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) / LANES;
    const long long output = wanted < last ? wanted : last;  // every lane takes part in the shuffle below
    const long long matrix = output / p.columns;
    const int column = static_cast<int>(output - matrix * p.columns), lane = threadIdx.x % LANES;
    const Place at = place_of_matrix(p, static_cast<unsigned>(matrix));
    const T* row = a + at.a + at.first * p.a_inner;
    const T* line = b + at.b + at.first + column * p.b_column;
    const int n = at.last - at.first;

    total_t<T> sum[1] = {};
    const bool vectors = p.a_inner == 1 && is_aligned<W>(row) && is_aligned<W>(line);
    const int whole = vectors ? n / W * W : 0;
#pragma unroll 4
    for (int k = lane * W; k < whole; k += LANES * W) {
        const Vec<T, W> u = load<W>(row + k), v = load<W>(line + k);
#pragma unroll
        for (int j = 0; j < W; j++) sum[0] += total_t<T>(to_acc(u.at[j])) * total_t<T>(to_acc(v.at[j]));
    }
#pragma unroll 4
    for (int k = whole + lane; k < n; k += LANES) {
        sum[0] += total_t<T>(to_acc(row[k * p.a_inner])) * total_t<T>(to_acc(line[k]));
    }
    if constexpr (LANES > 32) {
        sum[0] = block_sum(sum[0]);
    } else {
#pragma unroll
        for (int d = LANES / 2; d > 0; d /= 2) sum[0] += __shfl_xor_sync(0xffffffffU, sum[0], d);
    }
    const Output<R, Gate> out = {y, before};
    if (lane == 0 && wanted <= last) write_sums(out.from(at.y), bias, p, 0, column, sum);
}

// b is contiguous along columns. 8 lanes of 4 columns times up to 128 groups, each of which takes every n-th
// inner element. Without `a` all its elements are 1: the column sums of b.
template <class R, class T, class Gate>
__global__ void __launch_bounds__(1024) matmul_row_by_columns(
    R* y, R* before, const T* a, const T* b, const T* bias, Product p) {
    constexpr int LANES = 8, WIDTH = 4 * LANES, MOST = 128;
    __shared__ __align__(32) total_t<T> found[MOST][WIDTH];
    const unsigned across = (p.columns - 1) / WIDTH + 1, matrix = blockIdx.x / across;
    const Place at = place_of_matrix(p, matrix);
    const int start = static_cast<int>(blockIdx.x - matrix * across) * WIDTH;
    const int lane = threadIdx.x % LANES, group = threadIdx.x / LANES, groups = blockDim.x / LANES;
    const int column = start + lane * 4, fit = p.columns - column;
    const T* from = b + at.b + column;
    const bool vectors = fit >= 4 && is_aligned<4>(from) && p.b_inner % 4 == 0;

    Vec<total_t<T>, 4> sums = {};
#pragma unroll 4
    for (int k = at.first + group; k < at.last; k += groups) {
        const total_t<T> factor = a == nullptr ? total_t<T>(1) : total_t<T>(to_acc(a[at.a + k * p.a_inner]));
        Vec<T, 4> v;
        if (vectors) {
            v = load<4>(from + k * p.b_inner);
        } else {
#pragma unroll
            for (int j = 0; j < 4; j++) v.at[j] = j < fit ? from[k * p.b_inner + j] : T(0);
        }
#pragma unroll
        for (int j = 0; j < 4; j++) sums.at[j] += factor * total_t<T>(to_acc(v.at[j]));
    }
    store<4>(&found[group][lane * 4], sums);
    __syncthreads();
    if (threadIdx.x < WIDTH) {
        total_t<T> sum[1] = {};
#pragma unroll 8
        for (int g = 0; g < groups; g++) sum[0] += found[g][threadIdx.x];
        if (start + static_cast<int>(threadIdx.x) < p.columns) {
            const Output<R, Gate> out = {y, before};
            write_sums(out.from(at.y), bias, p, 0, start + threadIdx.x, sum);
        }
    }
}

// ---- parts -----------------------------------------------------------------------------------------------

// W neighbors of y, the first of which is element i. The parts have no gaps.
template <int W, class T, class Gate>
__device__ __forceinline__ void add_parts(
    const Output<T, Gate>& out, const acc_t<T>* parts, const T* bias, const Product& p, long long i) {
    total_t<T> sums[W] = {};
#pragma unroll 4
    for (int part = 0; part < p.parts; part++) {
        const Vec<acc_t<T>, W> v = load<W>(parts + part * p.size + i);
#pragma unroll
        for (int j = 0; j < W; j++) sums[j] += static_cast<total_t<T>>(v.at[j]);
    }
    const long long row = i / p.columns;
    write_sums(out.from(row * p.y_row), bias, p, 0, static_cast<int>(i - row * p.columns), sums);
}

template <class T, class Gate>
__global__ void matmul_sum(
    T* y, T* before, T* column_sums, const acc_t<T>* parts, const acc_t<T>* sum_parts, const T* bias,
    Product p) {
    const Output<T, Gate> out = {y, before};
    const long long first = grid_start<long long>(), step = grid_step<long long>();
    for (long long i = first; column_sums != nullptr && i < p.columns; i += step) {
        total_t<T> sum = 0;
        for (int part = 0; part < p.parts; part++) {
            sum += static_cast<total_t<T>>(sum_parts[static_cast<long long>(part) * p.columns + i]);
        }
        column_sums[i] = from_acc<T>(static_cast<acc_t<T>>(sum));
    }
    if (p.columns % 4 == 0) {
        for (long long v = first; v < p.size / 4; v += step) add_parts<4>(out, parts, bias, p, v * 4);
    } else {
        for (long long i = first; i < p.size; i += step) add_parts<1>(out, parts, bias, p, i);
    }
}
