// The places of the true elements of a mask, in row-major order.
// Mapping: a block takes a stretch of 4,096 neighbors, a thread 16 of them. The blocks count first; then one
// block adds the counts up; then each block writes its places from where its stretch begins.
// Traffic: reads the mask twice, one byte per element, and writes 8 bytes per place.
// Specification: tinytensor/ops/nonzero.py, numpy.flatnonzero.
#include "reduce.cuh"

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

// starts[b] = number of true elements in stretch b.
template <class I> __global__ void nonzero_count(long long* starts, const bool* mask, I n) {
    const counter<I> first = static_cast<counter<I>>(blockIdx.x) * stretch + threadIdx.x * share;
    const int count = block_sum(__popc(read_share<I>(mask, first, n)));
    if (threadIdx.x == 0) starts[blockIdx.x] = count;
}

// The sum of x over the threads in front of this one, and over all of them.
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
    __syncthreads();  // the next call writes parts again
    return front + sum - x;
}

// In place: what a stretch counted becomes what all in front of it did; starts[stretches] becomes the sum.
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

template <class I>
__global__ void nonzero_write(long long* places, const bool* mask, const long long* starts, I n) {
    const counter<I> first = static_cast<counter<I>>(blockIdx.x) * stretch + threadIdx.x * share;
    const unsigned bits = read_share<I>(mask, first, n);
    int total;
    long long* to = places + starts[blockIdx.x] + sum_in_front(__popc(bits), total);
    for (unsigned left = bits; left != 0; left &= left - 1) {
        *to++ = static_cast<long long>(first + __ffs(static_cast<int>(left)) - 1);
    }
}

// The index of each place on one axis, which has `size` elements with `inner` elements behind each.
__global__ void nonzero_along(
    long long* index, const long long* places, long long size, long long inner, long long n) {
    for (counter<long long> i = grid_start<long long>(); i < static_cast<counter<long long>>(n);
         i += grid_step<long long>()) {
        index[i] = places[i] / inner % size;
    }
}
