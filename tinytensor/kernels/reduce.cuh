// Reductions of one value per thread over a part of a warp, a warp or a block: every thread gets the result.
// Mapping: up to 5 warp shuffles; for a block, one value per warp goes through shared memory.
// Order: fixed by the block size, so sums are deterministic. Maximum and minimum propagate nan.
#pragma once
#include "common.cuh"

namespace tt_reduce {

struct Sum {
    template <class A> static __device__ A start() { return A(0); }
    template <class A> __device__ A operator()(A a, A b) const { return A(wrapping<A>(a) + wrapping<A>(b)); }
};

struct Max {
    template <class A> static __device__ A start() { return lowest<A>(); }
    template <class A> __device__ A operator()(A a, A b) const { return a > b || a != a ? a : b; }
};

struct Min {
    template <class A> static __device__ A start() { return highest<A>(); }
    template <class A> __device__ A operator()(A a, A b) const { return a < b || a != a ? a : b; }
};

}  // namespace tt_reduce

// All 32 lanes of the warp must take part. F is associative and commutative.
template <class F, class A> __device__ __forceinline__ A warp_reduce(A x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        x = F()(x, static_cast<A>(__shfl_xor_sync(0xffffffffU, x, distance)));
    }
    return x;
}

// Over `lanes` neighboring lanes, 1 to 32 and a power of two; this is number `lane`. All of them must take
// part; other lanes of the warp may do something else.
template <class F, class A> __device__ __forceinline__ A part_reduce(A x, int lanes, int lane) {
    const unsigned mask = 0xffffffffU >> (32 - lanes) << (thread_rank() % 32 - lane);
    for (int distance = lanes / 2; distance > 0; distance /= 2) {
        x = F()(x, static_cast<A>(__shfl_xor_sync(mask, x, distance)));
    }
    return x;
}

// All threads of the block must take part; its size is a multiple of 32. The barrier at the end keeps the
// next call from overwriting values that slower warps still read.
template <class F, class A> __device__ __forceinline__ A block_reduce(A x) {
    __shared__ A parts[32];
    const int rank = thread_rank(), lane = rank % 32;
    const int warps = blockDim.x * blockDim.y * blockDim.z / 32;
    x = warp_reduce<F>(x);
    if (lane == 0) parts[rank / 32] = x;
    __syncthreads();
    x = warp_reduce<F>(lane < warps ? parts[lane] : F::template start<A>());
    __syncthreads();
    return x;
}

template <class A> __device__ __forceinline__ A warp_sum(A x) { return warp_reduce<tt_reduce::Sum>(x); }
template <class A> __device__ __forceinline__ A warp_max(A x) { return warp_reduce<tt_reduce::Max>(x); }
template <class A> __device__ __forceinline__ A warp_min(A x) { return warp_reduce<tt_reduce::Min>(x); }
template <class A> __device__ __forceinline__ A block_sum(A x) { return block_reduce<tt_reduce::Sum>(x); }
template <class A> __device__ __forceinline__ A block_max(A x) { return block_reduce<tt_reduce::Max>(x); }
template <class A> __device__ __forceinline__ A block_min(A x) { return block_reduce<tt_reduce::Min>(x); }
