// Multi-tensor launches: one launch for many tensors, by a device table of their addresses.
// Mapping: the elements of each tensor are cut into chunks; a block processes one chunk.
// Specification: tinytensor/ops/optim/multi_tensor.py, which writes the table.
#pragma once
#include "common.cuh"

namespace many {

constexpr int chunk = 8192;  // elements; ops/optim/multi_tensor.py: CHUNK

// A row of the table. In Python: 6 integers of 8 bytes.
struct Entry {
    void* at[4];      // element 0 of up to 4 tensors of one shape, in the order of the kernel's parameters
    long long size;   // elements of each
    long long group;  // their row of hyperparameters
};

// The chunk of this block: a tensor, and the start of its part.
struct Chunk {
    int entry, number;

    __device__ __forceinline__ long long begin() const { return static_cast<long long>(number) * chunk; }
    __device__ __forceinline__ int length(const Entry& entry) const {
        const long long rest = entry.size - begin();
        return static_cast<int>(rest < chunk ? rest : chunk);
    }
};

// f(element) for all elements of x[0 … length - 1], distributed over the threads of the block, in vectors if
// x is aligned; the elements are stored back if it `writes`.
template <bool writes, class T, class F> __device__ __forceinline__ void each(T* x, int length, F f) {
    constexpr int W = 16 / sizeof(T);
    const int vectors = is_aligned<W>(x) ? length / W : 0;
    for (int i = threadIdx.x; i < vectors; i += blockDim.x) {
        auto part = load<W>(x + i * W);
#pragma unroll
        for (int e = 0; e < W; e++) f(part.at[e]);
        if constexpr (writes) store<W>(x + i * W, part);
    }
    for (int i = vectors * W + threadIdx.x; i < length; i += blockDim.x) {
        T element = x[i];
        f(element);
        if constexpr (writes) x[i] = element;
    }
}

}  // namespace many
