// Strided scatter-add, the adjoint of a view: zeros of a contiguous memory range, with values added through a
// layout that may overlap itself.
// Mapping: a thread owns one memory position, and finds all values that are added there. The axes of the
// layout are split into those that reach distinct positions, and the few others that are iterated over (those
// inside a window, for example): each iteration contributes at most one value. Its index on the distinct axes
// is found by division, largest stride first.
// Traffic: reads every value once, writes every position once. No atomics: each position is summed in the
// order of iteration.
// Specification: tinytensor/dispatch/view_gradients.py, _add_through.
#include "walk.cuh"

// By value. Steps are in elements, and none is negative: Python flips such axes.
template <int ND, class I> struct Region {
    I shape[ND];       // of the distinct axes, largest stride first
    I strides[2][ND];  // in memory, and in the values
    I walked[ND];      // sizes of the other axes
    I steps[2][ND];    // in memory, and in the values
};

// The value that an iteration adds at a position, 0 if there is none; without values it is 1.
template <class T, int ND, class I>
__device__ __forceinline__ sum_t<T> landing(
    const T* values, const Region<ND, I>& region, I position, I step) {
    using C = counter<I>;
    I at[2];
    unravel<ND, 2, I>(static_cast<C>(step), region.walked, region.steps, at);
    C left = static_cast<C>(position - at[0]);  // a negative one becomes so large that no axis reaches it
#pragma unroll
    for (int d = 0; d < ND; d++) {
        const C stride = static_cast<C>(region.strides[0][d]), index = left / stride;
        if (index >= static_cast<C>(region.shape[d])) return 0;
        left -= index * stride;
        at[1] += static_cast<I>(index) * region.strides[1][d];
    }
    if (left != 0) return 0;
    return values == nullptr ? sum_t<T>(1) : sum_t<T>(to_acc(values[at[1]]));
}

// sums[i] = the sum of all values at position i - front, for n positions.
template <class T, int ND, class I>
__global__ void region_add(T* sums, const T* values, Region<ND, I> region, I front, I steps, I n) {
    for (counter<I> i = grid_start<I>(); i < static_cast<counter<I>>(n); i += grid_step<I>()) {
        sum_t<T> sum = 0;
        for (I step = 0; step < steps; step++) {
            sum += landing(values, region, static_cast<I>(i) - front, step);
        }
        sums[i] = from_acc<T>(sum);
    }
}
