// Boolean masks: packing to bits, nonzero (flat indices in C order), and mask selection (compress).
// Mapping: a block processes a stretch of 4,096 elements. A thread reads 16 of the mask; the blocks count
// first, then one block scans the counts, which gives the output offset of each stretch. To copy elements,
// neighboring threads take neighbors, and 32 of them share a word of bits.
// Traffic: counting reads the mask, one byte per element, and writes one bit; all else reads the bits.
// nonzero_write writes 8 bytes per index. compress reads and writes the selected elements; its adjoint reads
// these and writes all elements.
// Specification: tinytensor/ops/indexing/mask_select.py. compress copies elements as integers of their size.
#include "reduce.cuh"
#include "walk.cuh"

constexpr int block_size = 256, share = 16, stretch = block_size * share;

// The 16 elements from `first` on as bits; those at n and beyond are 0.
template <class I>
__device__ __forceinline__ unsigned read_share(const bool* mask, counter<I> first, counter<I> n) {
    unsigned bits = 0;
    if (first + share <= n && is_aligned<share>(mask)) {
        const Vec<bool, share> v = load<share>(mask + first);
#pragma unroll
        for (int k = 0; k < share; k++) bits |= static_cast<unsigned>(v.at[k]) << k;
    } else {
        for (int k = 0; k < share && first + k < n; k++) bits |= static_cast<unsigned>(mask[first + k]) << k;
    }
    return bits;
}

// starts[b] = number of true elements in stretch b; bits = the mask, 16 elements in each number.
template <class I>
__global__ void nonzero_count(long long* starts, unsigned short* bits, const bool* mask, I n) {
    const counter<I> thread = static_cast<counter<I>>(blockIdx.x) * block_size + threadIdx.x;
    const unsigned own = read_share<I>(mask, thread * share, n);
    bits[thread] = static_cast<unsigned short>(own);
    const int count = block_sum(__popc(own));
    if (threadIdx.x == 0) starts[blockIdx.x] = count;
}

// The sum of x over the threads before this one, and over all threads.
__device__ __forceinline__ int sum_in_front(int x, int& total) {
    __shared__ int parts[block_size / 32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int sum = x;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
        const int before = __shfl_up_sync(0xffffffffU, sum, distance);
        if (lane >= distance) sum += before;
    }
    if (lane == 31) parts[warp] = sum;
    __syncthreads();
    int front = 0;
    total = 0;
#pragma unroll
    for (int w = 0; w < block_size / 32; w++) {
        if (w < warp) front += parts[w];
        total += parts[w];
    }
    __syncthreads();  // the next call overwrites parts
    return front + sum - x;
}

// Exclusive scan of the counts, in place; starts[stretches] becomes the total.
// One block. A stretch counts at most 4,096, so 256 of them fit into an int.
__global__ void nonzero_add_up(long long* starts, int stretches) {
    long long before = 0;
    for (int first = 0; first < stretches; first += block_size) {
        const int b = first + threadIdx.x;
        int total;
        const int front = sum_in_front(b < stretches ? static_cast<int>(starts[b]) : 0, total);
        if (b < stretches) starts[b] = before + front;
        before += total;
    }
    if (threadIdx.x == 0) starts[stretches] = before;
}

// f(element, its number among the true ones or -1) for each of the n elements; whole blocks must take part.
template <class I, class F>
__device__ __forceinline__ void walk_marks(
    const long long* starts, const unsigned short* bits, counter<I> n, F f) {
    __shared__ unsigned words[stretch / 32];
    __shared__ int before[stretch / 32];
    const counter<I> first = static_cast<counter<I>>(blockIdx.x) * stretch;
    const long long start = starts[blockIdx.x];
    unsigned own = 0;
    if (threadIdx.x < stretch / 32) {
        const Vec<unsigned short, 2> pair = load<2>(bits + first / share + 2 * threadIdx.x);
        own = pair.at[0] | static_cast<unsigned>(pair.at[1]) << share;
    }
    int total;
    const int front = sum_in_front(__popc(own), total);
    if (threadIdx.x < stretch / 32) {
        words[threadIdx.x] = own;
        before[threadIdx.x] = front;
    }
    __syncthreads();
    for (int e = threadIdx.x; e < stretch; e += block_size) {
        const unsigned word = words[e / 32], bit = 1U << e % 32;
        const long long number = start + before[e / 32] + __popc(word & (bit - 1));
        if (first + e < n) f(first + e, word & bit ? number : -1);
        __syncwarp();  // reconverge, so that neighbors are read together
    }
}

template <class I>
__global__ void nonzero_write(long long* places, const long long* starts, const unsigned short* bits, I n) {
    walk_marks<I>(starts, bits, n, [&](counter<I> i, long long number) {
        if (number >= 0) places[number] = static_cast<long long>(i);
    });
}

// `walk` has the shape of x, its operand.
template <class T, int ND, class I>
__global__ void compress_forward(
    T* y, const T* x, const long long* starts, const unsigned short* bits, Walk<1, ND, I> walk, I n) {
    walk_marks<I>(starts, bits, n, [&](counter<I> i, long long number) {
        if (number < 0) return;
        I at[1];
        walk.at(i, at);
        y[number] = x[at[0]];
    });
}

template <class T, class I>
__global__ void compress_transpose(
    T* y, const T* grad, const long long* starts, const unsigned short* bits, I n) {
    walk_marks<I>(starts, bits, n, [&](counter<I> i, long long number) {
        y[i] = number < 0 ? T(0) : grad[number];
    });
}

// The index on one axis of each flat index; the axis has `size` elements and stride `inner`.
__global__ void nonzero_along(
    long long* index, const long long* places, long long size, long long inner, long long n) {
    for (counter<long long> i = grid_start<long long>(); i < static_cast<counter<long long>>(n);
         i += grid_step<long long>()) {
        index[i] = places[i] / inner % size;
    }
}
