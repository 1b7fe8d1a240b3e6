// Where a draw of random numbers stands in its stream (tinytensor/random_state.py).
// Outside of a captured graph seed and offset come as numbers. A graph would repeat those at every replay, so
// its kernels read the state of the generator from memory that the host writes before each replay.
#pragma once
#include "philox.cuh"

// By value. In Python: launch.stream(seed, offset).
struct Stream {
    const unsigned long long* state;  // {seed, offset} of the generator at the start of the graph, or null
    unsigned long long seed;          // if there is no state
    unsigned long long offset;        // of the draw; counted from the state's, if there is one

    // Block k of the draw.
    __device__ __forceinline__ philox::Words words(unsigned long long k) const {
        if (state == nullptr) return philox::words(seed, offset + k);
        return philox::words(state[0], state[1] + offset + k);
    }
};
