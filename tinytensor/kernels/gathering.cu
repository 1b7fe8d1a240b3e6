// Places along an axis, as gather and scatter_add read them, and one-hot rows.
// Mapping: a thread computes one place, or one element of a row.
// Traffic: places_along reads an index and writes 8 bytes; one_hot reads an index per row and writes 8 bytes
// per element.
// Specification: tinytensor/ops/gathering.py.
#include "bounds.cuh"
#include "walk.cuh"

// The place of an element: the index on one axis, where the element itself stands on the others. `walk` has
// the shape of the index; its operands are the index, and the part of the place that does not depend on it.
template <class T, int ND, class I>
__global__ void places_along_forward(
    long long* places, const T* index, Walk<2, ND, I> walk, long long size, long long step, Bounds bounds,
    I n) {
    for (counter<I> i = grid_start<I>(); i < static_cast<counter<I>>(n); i += grid_step<I>()) {
        I at[2];
        walk.at(i, at);
        const long long here = wrapped(index[at[0]], size, bounds);
        places[i] = here < 0 ? -1 : at[1] + here * step;
    }
}

template <class T, class I>
__global__ void one_hot_forward(long long* y, const T* index, I classes, Bounds bounds, I n) {
    for (counter<I> i = grid_start<I>(); i < static_cast<counter<I>>(n); i += grid_step<I>()) {
        const counter<I> row = i / static_cast<counter<I>>(classes), column = i - row * classes;
        const T hot = index[row];
        if (column == 0) in_bounds(bounds, hot);
        y[i] = static_cast<long long>(hot) == static_cast<long long>(column);
    }
}
