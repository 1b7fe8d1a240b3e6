// Sums through strides: zeros of a stretch of memory, with values added through a layout that may overlap
// itself.
// Mapping: a thread owns one position, and finds all values that land there. The axes of the layout are split
// into those that reach positions apart, and the few others that are walked (those inside of a window, say):
// for each step of the walk at most one value lands. Its index on the axes apart comes by division, largest
// stride first.
// Traffic: reads every value once, writes every position once. No atomics: a position adds up in the order of
// the walk.
// Specification: tinytensor/ops/views/view_gradients.py, _add_through.
#include "walk.cuh"

// By value. Steps are in elements, and none is negative: Python walks such axes from the other end.
template <int ND, class I> struct Region {
    I shape[ND];       // of the axes apart, largest stride first
    I strides[2][ND];  // in memory, and in the values
    I walked[ND];      // sizes of the other axes
    I steps[2][ND];    // in memory, and in the values
};

// The value of a step of the walk that lands at a position, 0 if there is none; without values it is 1.
template <class T, int ND, class I>
__device__ __forceinline__ sum_t<T> landing(
    const T* values, const Region<ND, I>& region, I position, I step) {
    using C = counter<I>;
    I at[2];
    unravel<ND, 2, I>(static_cast<C>(step), region.walked, region.steps, at);
    C left = static_cast<C>(position - at[0]);  // below 0 becomes so large that no axis reaches it
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

// sums[i] is what lands at position i - front, for n positions.
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
