// Iteration over strided operands of one shape, and conversion of flat indices to memory offsets.
// In Python: walk.py, which merges axes where strides allow and pads to ND with axes of size 1.
#pragma once
#include "common.cuh"

// By value: the iteration shape, and the strides of K operands along its axes, in elements.
template <int K, int ND, class I> struct Walk {
    I shape[ND];
    I strides[K][ND];

    // Offsets in the operands of the element with flat index i in C order.
    __device__ __forceinline__ void at(counter<I> i, I (&positions)[K]) const {
        unravel<ND, K, I>(i, shape, strides, positions);
    }
};

// By value: axes, and the strides along them. A place is a flat index on these axes in C order.
template <int ND, class I> struct Axes {
    I shape[ND];
    I strides[ND];

    __device__ __forceinline__ I at(counter<I> place) const {
        I position = 0;
#pragma unroll
        for (int d = ND - 1; d > 0; d--) {
            const counter<I> size = static_cast<counter<I>>(shape[d]), rest = place / size;
            position += static_cast<I>(place - rest * size) * strides[d];
            place = rest;
        }
        return position + static_cast<I>(place) * strides[0];
    }
};

// Whether rows of the iteration can be read (or written) in this operand as vectors of W neighbors.
template <int W, int operand, class T, int K, int ND, class I>
__device__ __forceinline__ bool has_vectors(const T* p, const Walk<K, ND, I>& walk) {
    bool all = is_aligned<W>(p) && walk.shape[ND - 1] % W == 0 && walk.strides[operand][ND - 1] == 1;
#pragma unroll
    for (int d = 0; d < ND - 1; d++) all = all && walk.strides[operand][d] % W == 0;
    return all;
}
