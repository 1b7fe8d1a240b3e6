// Triangles of matrices: elements above or below a diagonal become 0.
// Mapping: a thread computes one element of the result; neighboring threads are in one row.
// Traffic: reads the elements that are kept, writes every element.
// Specification: tinytensor/ops/indexing/masking.py, Triangle. Elements are copied as integers of their size.
#include "walk.cuh"

// Kept where column - row <= k, or >= k for `upper`. `walk` has the shape of y; its operand is x.
template <class T, int ND, class I>
__global__ void triangle_forward(
    T* y, const T* x, Walk<1, ND, I> walk, I rows, I columns, long long k, bool upper, I n) {
    using C = counter<I>;
    for (C i = grid_start<I>(); i < static_cast<C>(n); i += grid_step<I>()) {
        const C row = i / static_cast<C>(columns);
        const long long column = static_cast<long long>(i - row * columns);
        const long long diagonal = column - static_cast<long long>(row % static_cast<C>(rows));
        const bool kept = upper ? diagonal >= k : diagonal <= k;
        T value = 0;
        if (kept) {
            I at[1];
            walk.at(i, at);
            value = x[at[0]];
        }
        y[i] = value;
    }
}
