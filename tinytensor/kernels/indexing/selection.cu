// Selection by index tensors: flat indices, gather, and its adjoint, a deterministic scatter-add.
// Mapping: a thread processes one element of the selection, or 16 bytes if rows are contiguous.
// Traffic: places reads the indices and writes 8 bytes per place; select reads a place per row and every
// selected element, and writes them; pick reads the indices instead of the place; the adjoint reads grad
// once and writes y, and reads a sorted place and its number per row.
// Specification: selection.py. A place is the flat index (C order) on the axes selected from.
// Elements are copied as integers of their size.
#include "bounds.cuh"
#include "walk.cuh"

// ---- places ----------------------------------------------------------------------------------------------

// K index tensors, and the sizes of the axes they index.
template <class T, int K> struct Indices {
    const T* at[K];
    long long sizes[K];  // of the axes that they select from
    Bounds bounds[K];
};

// `before`: places on the axes before these, to be extended; null if there are none.
template <class T, int K, int ND, class I>
__global__ void places_forward(
    long long* places, const long long* before, Indices<T, K> indices, Walk<K, ND, I> walk, I n) {
    for (counter<I> i = grid_start<I>(); i < static_cast<counter<I>>(n); i += grid_step<I>()) {
        I at[K];
        walk.at(i, at);
        long long place = before == nullptr ? 0 : before[i];
#pragma unroll
        for (int k = 0; k < K; k++) {
            const long long size = indices.sizes[k];
            const long long index = wrapped(indices.at[k][at[k]], size, indices.bounds[k]);
            place = place < 0 || index < 0 ? -1 : place * size + index;
        }
        places[i] = place;
    }
}

// ---- select ----------------------------------------------------------------------------------------------

// `walk` has the shape of y; its operands are x without the selected axes, and the places. An index out of
// range gives elements with all bits set: nan for floats.
template <class T, int W, int ND, int NS, class I>
__device__ __forceinline__ void select_rows(
    T* y, const T* x, const long long* places, const Walk<2, ND, I>& walk, const Axes<NS, I>& axes, I n) {
    for (counter<I> v = grid_start<I>(); v < static_cast<counter<I>>(n) / W; v += grid_step<I>()) {
        I at[2];
        walk.at(v * W, at);
        const long long place = places[at[1]];
        Vec<T, W> row;
#pragma unroll
        for (int e = 0; e < W; e++) row.at[e] = static_cast<T>(~0ULL);
        if (place >= 0) row = load<W>(x + at[0] + axes.at(static_cast<counter<I>>(place)));
        store<W>(y + v * W, row);
    }
}

template <class T, int ND, int NS, class I>
__global__ void select_forward(
    T* y, const T* x, const long long* places, Walk<2, ND, I> walk, Axes<NS, I> axes, I n) {
    constexpr int W = 16 / sizeof(T);
    bool vectors = is_aligned<W>(y) && has_vectors<W, 0>(x, walk) && walk.strides[1][ND - 1] == 0;
#pragma unroll
    for (int d = 0; d < NS; d++) vectors = vectors && axes.strides[d] % W == 0;
    if (vectors) select_rows<T, W>(y, x, places, walk, axes, n);
    else select_rows<T, 1>(y, x, places, walk, axes, n);
}

// ---- pick ------------------------------------------------------------------------------------------------

template <int K> struct Steps {
    long long at[K];  // along the selected axes of x
};

// select directly from the indices. `walk` has the shape of y; its operands are the indices, and x without
// the selected axes. `places`, if not null, receives the places; x then has selected axes only.
template <class T, int W, class X, int K, int ND, class I>
__device__ __forceinline__ void pick_rows(
    T* y, long long* places, const T* x, const Indices<X, K>& indices, const Steps<K>& steps,
    const Walk<K + 1, ND, I>& walk, I n) {
    for (counter<I> v = grid_start<I>(); v < static_cast<counter<I>>(n) / W; v += grid_step<I>()) {
        I at[K + 1];
        walk.at(v * W, at);
        long long place = 0;
        I position = at[K];
#pragma unroll
        for (int k = 0; k < K; k++) {
            const long long size = indices.sizes[k];
            const long long index = wrapped(indices.at[k][at[k]], size, indices.bounds[k]);
            place = place < 0 || index < 0 ? -1 : place * size + index;
            position += static_cast<I>(index * steps.at[k]);
        }
        Vec<T, W> row;
#pragma unroll
        for (int e = 0; e < W; e++) row.at[e] = static_cast<T>(~0ULL);
        if (place >= 0) row = load<W>(x + position);
        store<W>(y + v * W, row);
        if (places != nullptr) places[v] = place;
    }
}

template <class T, class X, int K, int ND, class I>
__global__ void pick_forward(
    T* y, long long* places, const T* x, Indices<X, K> indices, Steps<K> steps, Walk<K + 1, ND, I> walk,
    I n) {
    constexpr int W = 16 / sizeof(T);
    bool vectors = is_aligned<W>(y) && has_vectors<W, K>(x, walk);
#pragma unroll
    for (int k = 0; k < K; k++) {
        vectors = vectors && walk.strides[k][ND - 1] == 0 && steps.at[k] % W == 0;
    }
    if (vectors) pick_rows<T, W>(y, places, x, indices, steps, walk, n);
    else pick_rows<T, 1>(y, places, x, indices, steps, walk, n);
}

// ---- the adjoint of select -------------------------------------------------------------------------------

// y is zero; grad is added at the places. These come sorted: `keys` ascend, equal ones form a run, and
// `order` is the number of each pick, ascending inside a run. A thread adds one element of grad's rows
// over a chunk of `length` keys. Runs inside one chunk are written to y; of the others each chunk stores its
// partial sum, two at most: parts[2 * chunk] of a run that began before the chunk, parts[2 * chunk + 1] of
// one that continues after it. `walk` has the shape of the axes that are not selected from; its operands are
// y and grad. Keys of at least `size` came from indices out of range, and are skipped.
template <class K> __device__ __forceinline__ bool is_place(K key, unsigned long long size) {
    return static_cast<unsigned long long>(key) < size;
}

template <class T, class K, int ND, int NS, class I>
__global__ void select_transpose_chunks(
    T* y, sum_t<T>* parts, const T* grad, const K* keys, const long long* order, Walk<2, ND, I> walk,
    Axes<NS, I> axes, unsigned long long size, I step, I picks, I rest, int length) {
    using C = counter<I>;
    const C chunks = (static_cast<C>(picks) + length - 1) / length;
    for (C i = grid_start<I>(); i < chunks * rest; i += grid_step<I>()) {
        const C chunk = i / rest, element = i % rest;
        const C first = chunk * length, end = first + length < C(picks) ? first + length : C(picks);
        I at[2];
        walk.at(element, at);
        K key = keys[first];
        bool began_before = first > 0 && keys[first - 1] == key;
        sum_t<T> sum = 0;
        for (C j = first; j < end; j++) {
            if (keys[j] != key) {
                if (began_before) parts[2 * chunk * rest + element] = sum;
                else if (is_place(key, size)) y[at[0] + axes.at(static_cast<C>(key))] = from_acc<T>(sum);
                began_before = false;
                sum = 0;
                key = keys[j];
            }
            sum += to_acc(grad[at[1] + static_cast<I>(order[j]) * step]);
        }
        if (began_before) parts[2 * chunk * rest + element] = sum;
        else if (end < C(picks) && keys[end] == key) parts[(2 * chunk + 1) * rest + element] = sum;
        else if (is_place(key, size)) y[at[0] + axes.at(static_cast<C>(key))] = from_acc<T>(sum);
    }
}

// Adds the partial sums of runs that span several chunks, in the chunk in which the run begins.
template <class T, class K, int ND, int NS, class I>
__global__ void select_transpose_joined(
    T* y, const sum_t<T>* parts, const K* keys, Walk<2, ND, I> walk, Axes<NS, I> axes,
    unsigned long long size, I picks, I rest, int length) {
    using C = counter<I>;
    const C chunks = (static_cast<C>(picks) + length - 1) / length;
    for (C i = grid_start<I>(); i < (chunks - 1) * rest; i += grid_step<I>()) {
        const C chunk = i / rest, element = i % rest;
        const C first = chunk * length, end = first + length;
        const K key = keys[end - 1];
        if (!is_place(key, size) || keys[end] != key || (first > 0 && keys[first - 1] == key)) continue;
        sum_t<T> sum = parts[(2 * chunk + 1) * rest + element];
        for (C next = chunk + 1; next < chunks && keys[next * length] == key; next++) {
            sum += parts[2 * next * rest + element];
        }
        I at[2];
        walk.at(element, at);
        y[at[0] + axes.at(static_cast<C>(key))] = from_acc<T>(sum);
    }
}
