// Embedding: lookup of rows of a table (rows, width), and the sum of gradients per row.
// Mapping: forward: blockDim.x threads copy a row, in vectors where they fit. Backward: a block owns `owned`
// rows of the table and a strip of columns. Each of its 8 warps reads all indices in its eighth of the
// positions, and lists those of the block's rows; then the block sums row by row, each warp its own positions
// in order, and the 8 sums in the order of the warps.
// Traffic: forward reads a row and writes it. Backward reads the gradient once and writes the table once, and
// each block reads all indices: 8 bytes per position and block, from the L2 cache. The number of blocks is a
// small multiple of the number of multiprocessors, so this is little if there are fewer positions than about
// 30 times the width.
// Order: fixed, without atomic sums: deterministic.
// Specification: tinytensor/ops/nn/embedding.py.
#include "bounds.cuh"
#include "rows.cuh"

// T: an unsigned integer of the size of the elements. A row that is not in the table gets all bits 1: nan.
template <class T>
__global__ void embedding_forward(
    T* y, const T* weight, const long long* indices, long long count, int width, Bounds table) {
    constexpr int W = rows::neighbors<T>;
    for (long long i = rows::first(); i < count; i += rows::step()) {
        const long long row = indices[i];
        const bool fine = row >= 0 && row < table.high;
        if (!fine && threadIdx.x == 0) in_bounds(table, row);
        for (int column = threadIdx.x * W; column < width; column += blockDim.x * W) {
            Vec<T> part = rows::read(fine ? weight + row * width : nullptr, column, width);
#pragma unroll
            for (int e = 0; e < W; e++) part.at[e] = fine ? part.at[e] : static_cast<T>(~0ULL);
            rows::write(y + i * width, column, width, part);
        }
    }
}

constexpr int warps = 8, listed = 512, most_owned = 4096;

// A position, and the row that it selects, counted from the first row of the block.
struct Entry {
    int position, row;
};

// The positions of a warp: those that select a row of the block, in order; or, if they exceed the capacity of
// the list, all of them.
struct Positions {
    const long long* indices;
    const Entry* list;
    int begin, number;  // the entries are list[0 … number - 1], or positions begin … begin + number - 1
    bool is_listed;
    long long first_row;

    __device__ __forceinline__ int row(int i) const {
        if (is_listed) return list[i].row;
        const long long row = indices[begin + i] - first_row;
        return row >= 0 && row < most_owned ? static_cast<int>(row) : -1;
    }

    __device__ __forceinline__ int position(int i) const { return is_listed ? list[i].position : begin + i; }
};

// Fills the list of this warp, and marks in `seen` the rows that occur.
__device__ __forceinline__ Positions find(
    const long long* indices, Entry* list, unsigned* seen, int begin, int end, long long first_row,
    int owned) {
    const int lane = threadIdx.x;
    int number = 0;
    for (int i = begin; i < end; i += 32) {
        const long long row = i + lane < end ? indices[i + lane] - first_row : -1;
        const bool ours = row >= 0 && row < owned;
        const unsigned all = __ballot_sync(0xffffffffU, ours);
        const int at = number + __popc(all & ((1U << lane) - 1));
        if (ours) {
            atomicOr(&seen[row / 32], 1U << (row % 32));
            if (at < listed) list[at] = {i + lane, static_cast<int>(row)};
        }
        number += __popc(all);
    }
    __syncwarp();
    const bool is_listed = number <= listed;
    return {indices, list, begin, is_listed ? number : end - begin, is_listed, first_row};
}

// sum[e] += grad[position, column + e] over this warp's positions of a row, in order, with 8 loads in flight;
// if there are fewer, zeros are added.
template <class T>
__device__ __forceinline__ void add_row(
    acc_t<T> (&sum)[rows::neighbors<T>], const T* grad, const Positions& own, int row, int column,
    int width) {
    constexpr int W = rows::neighbors<T>, at_once = 8;
    for (int i = 0; i < own.number; i += 32) {
        const int mine = i + static_cast<int>(threadIdx.x);
        unsigned left = __ballot_sync(0xffffffffU, mine < own.number && own.row(mine) == row);
        while (left != 0) {
            Vec<T> parts[at_once];
#pragma unroll
            for (int k = 0; k < at_once; k++) {
                const long long position = left != 0 ? own.position(i + __ffs(left) - 1) : 0;
                parts[k] = rows::read(left != 0 ? grad + position * width : nullptr, column, width);
                left &= left - 1;
            }
#pragma unroll
            for (int k = 0; k < at_once; k++) {
#pragma unroll
                for (int e = 0; e < W; e++) sum[e] += to_acc(parts[k].at[e]);
            }
        }
    }
}

// dweight[row] = sum of grad[position] over the positions that select the row. Block (32, 8): lanes are
// neighbors in a strip of 32 vectors; a block takes every gridDim.y-th strip.
template <class T>
__global__ void __launch_bounds__(256, 1) embedding_backward(
    T* dweight, const T* grad, const long long* indices, int count, long long table, int width, int owned) {
    using A = acc_t<T>;
    constexpr int W = rows::neighbors<T>;
    __shared__ Entry lists[warps][listed];
    __shared__ unsigned seen[most_owned / 32];
    __shared__ A sums[warps][32 * W];
    const long long first_row = static_cast<long long>(blockIdx.x) * owned;
    const int warp = threadIdx.y, part = (count + warps - 1) / warps;
    for (int i = thread_rank(); i < most_owned / 32; i += 32 * warps) seen[i] = 0;
    __syncthreads();
    const int begin = min(warp * part, count), end = min(begin + part, count);
    const Positions own = find(indices, lists[warp], seen, begin, end, first_row, owned);
    __syncthreads();
    for (int row = 0; row < owned && first_row + row < table; row++) {
        const bool occurs = seen[row / 32] >> (row % 32) & 1;
        const bool is_writer = row % warps == warp;
        if (!occurs && !is_writer) continue;
        for (int strip = blockIdx.y * 32 * W; strip < width; strip += gridDim.y * 32 * W) {
            const int lane = threadIdx.x, column = strip + lane * W;
            A sum[W];
#pragma unroll
            for (int e = 0; e < W; e++) sum[e] = 0;
            if (occurs) {  // uniform over the block
                add_row(sum, grad, own, row, column, width);
#pragma unroll
                for (int e = 0; e < W; e++) sums[warp][lane * W + e] = sum[e];
                __syncthreads();
                if (is_writer) {
#pragma unroll
                    for (int e = 0; e < W; e++) {
                        sum[e] = sums[0][lane * W + e];
                        for (int k = 1; k < warps; k++) sum[e] += sums[k][lane * W + e];
                    }
                }
                __syncthreads();
            }
            if (!is_writer) continue;
            Vec<T> out;
#pragma unroll
            for (int e = 0; e < W; e++) out.at[e] = from_acc<T>(sum[e]);
            rows::write(dweight + (first_row + row) * width, column, width, out);
        }
    }
}
