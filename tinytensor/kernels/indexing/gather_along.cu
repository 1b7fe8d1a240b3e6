// gather along an axis, and its adjoint, a deterministic scatter-add.
// Mapping: gather: a thread computes one element of the result. Its adjoint: a block processes one row along
// the axis, or several short ones, and sorts their picks in shared memory, so that each sum has a fixed
// order; longer rows use flat indices (selection.cu).
// Traffic: both read the index and one element per pick and write the result; the picks of a row are
// scattered over it, so a sector of x is usually requested several times, from the cache.
// Specification: tinytensor/ops/indexing/gather_along.py. gather copies elements as integers of their size.
#include "bounds.cuh"
#include "sorting.cuh"
#include "walk.cuh"

// `walk` has the shape of the index; its operands are the index, and x with its first element on the axis.
// An index out of range gives an element with all bits set: nan for floats.
template <class T, class X, int ND, class I>
__global__ void gather_forward(
    T* y, const T* x, const X* index, Walk<2, ND, I> walk, long long size, I step, Bounds bounds, I n) {
    for (counter<I> i = grid_start<I>(); i < static_cast<counter<I>>(n); i += grid_step<I>()) {
        I at[2];
        walk.at(i, at);
        const long long here = wrapped(index[at[0]], size, bounds);
        y[i] = here < 0 ? static_cast<T>(~0ULL) : x[at[1] + static_cast<I>(here) * step];
    }
}

// Rows of y of `size` elements, zeros with `picks` elements of grad added. `walk` has the
// shape of the other axes; its operands are y, grad and index; the steps are theirs along the axis. A block
// processes `together` rows, each with room for `tile` picks; if `across`, neighboring threads take the same
// position of neighboring rows.
template <class T, class X, int ND, class I>
__global__ void gather_transpose_rows(
    T* y, const T* grad, const X* index, Walk<3, ND, I> walk, I count, int size, int picks, I y_step,
    I grad_step, I index_step, Bounds bounds, int together, int tile, bool across) {
    using C = counter<I>;
    extern __shared__ __align__(16) unsigned char smem[];
    unsigned long long* items = reinterpret_cast<unsigned long long*>(smem);  // (position, pick number)
    sum_t<T>* sums = reinterpret_cast<sum_t<T>*>(items + together * tile);
    T* values = reinterpret_cast<T*>(sums + together * size);
    const C first = static_cast<C>(blockIdx.x) * together;
    for (int e = threadIdx.x; e < together * size; e += blockDim.x) sums[e] = 0;
    for (int e = threadIdx.x; e < together * tile; e += blockDim.x) {
        const int row = across ? e % together : e / tile, pick = across ? e / together : e % tile;
        unsigned place = ~0U;  // none: sorts last
        if (first + row < static_cast<C>(count) && pick < picks) {
            I at[3];
            walk.at(first + row, at);
            place = static_cast<unsigned>(wrapped(index[at[2] + pick * index_step], size, bounds));
            values[row * tile + pick] = grad[at[1] + pick * grad_step];
        }
        items[row * tile + pick] = item(place, pick);
    }
    sort_shared(items, together * tile, tile);
    for (int e = threadIdx.x; e < together * tile; e += blockDim.x) {
        const unsigned place = static_cast<unsigned>(items[e] >> 32);
        const int start = e / tile * tile, end = start + tile;
        if (place == ~0U || (e > start && items[e - 1] >> 32 == place)) continue;
        sum_t<T> sum = 0;
        for (int i = e; i < end && items[i] >> 32 == place; i++) {
            sum += to_acc(values[start + index_of(items[i])]);
        }
        sums[e / tile * size + place] = sum;
    }
    __syncthreads();
    for (int e = threadIdx.x; e < together * size; e += blockDim.x) {
        const int row = across ? e % together : e / size, place = across ? e / together : e % size;
        if (first + row >= static_cast<C>(count)) continue;
        I at[3];
        walk.at(first + row, at);
        y[at[0] + place * y_step] = from_acc<T>(sums[row * size + place]);
    }
}

// The flat index in the whole tensor of each pick: its index on one axis, its own position on the others.
// `walk` has the shape of the index; its operands are the index, and the part of the flat index that does not
// depend on it.
template <class X, int ND, class I>
__global__ void places_along(
    long long* places, const X* index, Walk<2, ND, I> walk, long long size, long long step, Bounds bounds,
    I n) {
    for (counter<I> i = grid_start<I>(); i < static_cast<counter<I>>(n); i += grid_step<I>()) {
        I at[2];
        walk.at(i, at);
        const long long here = wrapped(index[at[0]], size, bounds);
        places[i] = here < 0 ? -1 : at[1] + here * step;
    }
}
