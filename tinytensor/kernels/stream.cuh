// Seed and offset of a random stream for kernels (tinytensor/dispatch/random_streams.py).
// Outside graph capture seed and offset are kernel arguments. A graph would repeat those at every replay, so
// its kernels read the state of the generator from memory that the host writes before each replay.
#pragma once
#include "philox.cuh"

// By value. In Python: launch.stream(seed, offset).
struct Stream {
    const unsigned long long* state;  // {seed, offset} of the generator at the start of the graph, or null
    unsigned long long seed;          // if there is no state
    unsigned long long offset;        // of the sample; relative to that of the state, if there is one

    // Block k of the sample.
    __device__ __forceinline__ philox::Words words(unsigned long long k) const {
        if (state == nullptr) return philox::words(seed, offset + k);
        return philox::words(state[0], state[1] + offset + k);
    }
};

// Dropout: what the elements of a sample are multiplied by, 0 with the probability threshold / 2**24, else
// `scale`. In Python: kernels/dropout.py.
template <class A> struct Dropping {
    unsigned threshold;
    A scale;
    Stream stream;

    // x times that, for W neighbors, the first of which is element i of the sample, a multiple of W.
    template <int W> __device__ __forceinline__ void apply(A (&x)[W], long long i) const {
        static_assert(W == 2 || W % 4 == 0, "a Philox block has the bits for 4 elements");
#pragma unroll
        for (int k = 0; k < W; k += 4) {
            const philox::Words words = stream.words((i + k) / 4);
#pragma unroll
            for (int e = 0; e < 4 && k + e < W; e++) {
                const unsigned word = W == 2 ? words.word(static_cast<int>(i % 4) + e) : words.at[e];
                x[k + e] = product(x[k + e], philox::is_below(word, threshold) ? A(0) : scale);
            }
        }
    }
};

// Fill the n elements of y with F of one word each, or, if F::pairs, of two words. y is aligned to 16 bytes.
template <class T, class F, class I>
__device__ __forceinline__ void fill(T* y, const Stream& stream, I n, const F& make) {
    using C = counter<I>;
    constexpr int W = F::pairs ? 2 : 4;
    for (C k = grid_start<I>(); k * W < static_cast<C>(n); k += grid_step<I>()) {
        const philox::Words words = stream.words(k);
        Vec<T, W> part;
#pragma unroll
        for (int e = 0; e < W; e++) {
            if constexpr (F::pairs) part.at[e] = make(words.pair(e), k * W + e);
            else part.at[e] = make(words.at[e], k * W + e);
        }
        if (k * W + W <= static_cast<C>(n)) {
            store<W>(y + k * W, part);
            continue;
        }
#pragma unroll
        for (int e = 0; e < W; e++) {
            if (k * W + e < static_cast<C>(n)) y[k * W + e] = part.at[e];
        }
    }
}
