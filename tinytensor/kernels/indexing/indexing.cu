// Indexed assignment: x[index] = value.
// Mapping: a thread writes one element of the selection, or 16 bytes if rows are contiguous.
// Traffic: reads a place per row and the value, and writes the selection; if places may repeat, 4 bytes more
// per place and per element of the selected axes.
// Specification: indexing.py, Put. Elements are copied as integers of their size. A place is a flat index; a
// negative one came from an index out of range, and is not written.
#include "walk.cuh"

// Of equal places the last one is written: `last` is initialized to -1 for every place.
template <class I> __global__ void put_last(I* last, const long long* places, I n) {
    for (counter<I> i = grid_start<I>(); i < static_cast<counter<I>>(n); i += grid_step<I>()) {
        if (places[i] >= 0) atomicMax(last + places[i], static_cast<I>(i));
    }
}

template <class I>
__global__ void put_kept(bool* kept, const I* last, const long long* places, I n) {
    for (counter<I> i = grid_start<I>(); i < static_cast<counter<I>>(n); i += grid_step<I>()) {
        kept[i] = places[i] >= 0 && last[places[i]] == static_cast<I>(i);
    }
}

// `walk` has the shape of the selection; its operands are y without the selected axes, value, and the places.
// Without `last` every place is written.
template <class T, int W, int ND, int NS, class I>
__device__ __forceinline__ void put_rows(
    T* y, const T* value, const long long* places, const I* last, const Walk<3, ND, I>& walk,
    const Axes<NS, I>& axes, I n) {
    for (counter<I> v = grid_start<I>(); v < static_cast<counter<I>>(n) / W; v += grid_step<I>()) {
        I at[3];
        walk.at(v * W, at);
        const long long place = places[at[2]];
        if (place < 0 || (last != nullptr && last[place] != at[2])) continue;
        T* to = y + at[0] + axes.at(static_cast<counter<I>>(place));
        store<W>(to, load<W>(value + at[1]));
    }
}

template <class T, int ND, int NS, class I>
__global__ void put_forward(
    T* y, const T* value, const long long* places, const I* last, Walk<3, ND, I> walk, Axes<NS, I> axes,
    I n) {
    constexpr int W = 16 / sizeof(T);
    bool vectors = has_vectors<W, 0>(y, walk) && has_vectors<W, 1>(value, walk);
    vectors = vectors && walk.strides[2][ND - 1] == 0;
#pragma unroll
    for (int d = 0; d < NS; d++) vectors = vectors && axes.strides[d] % W == 0;
    if (vectors) put_rows<T, W>(y, value, places, last, walk, axes, n);
    else put_rows<T, 1>(y, value, places, last, walk, axes, n);
}
