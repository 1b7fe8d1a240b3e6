// One-hot rows.
// Mapping: a thread computes one element of a row.
// Traffic: reads an index per row and writes 8 bytes per element.
// Specification: tinytensor/ops/indexing/gathering.py.
#include "bounds.cuh"

template <class T, class I>
__global__ void one_hot_forward(long long* y, const T* index, I classes, Bounds bounds, I n) {
    for (counter<I> i = grid_start<I>(); i < static_cast<counter<I>>(n); i += grid_step<I>()) {
        const counter<I> row = i / static_cast<counter<I>>(classes), column = i - row * classes;
        const T hot = index[row];
        if (column == 0) in_bounds(bounds, hot);
        y[i] = static_cast<long long>(hot) == static_cast<long long>(column);
    }
}
