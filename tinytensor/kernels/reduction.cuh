// Reductions: y[k] = reduction of x[k, i] over i; k indexes the kept axes, i the reduced axes.
// Mapping, chosen in tinytensor/kernels/reduction.py by the memory layout of x:
//   reduce_rows      neighboring threads iterate along the reduced axes: 8 lanes up to a block per row
//   reduce_columns   neighboring threads have different k, and each iterates along the reduced axes
//   reduce_partials  merges partial results, if several blocks share a row or column
// Traffic: reads x once, writes y once; partials are at most 1/64 of that.
// Order: fixed by shape, strides and alignment, so results are deterministic, and the same on every GPU. Sums
// are trees over at most 16 elements, runs of at most 256 such trees, and trees over threads and blocks: the
// error grows like that of pairwise summation.
// Specification: the `cpu` of the op classes in ops/reductions/{reduction,min_max,statistics}.py.
//
// A reduction F defines: `typename F::template On<T, I>` with a State (at most 32 bytes, trivial, with
// `from_lane`), `start()` (identity), `one(x, i)` (of element number i), `merge(a, b)`,
// `result<R>(state)`; and `several(x, i, step)` of N elements, if that is cheaper than a tree of merges
// (`batches` is true).
// R, T stored types of y and x; ND number of kept and of reduced axes; I type of an offset.
#pragma once
#include "common.cuh"

// By value: 5 ND numbers, slowest axis first; missing axes have size 1.
template <int ND, class I> struct Axes {
    I kept[ND];
    I kept_strides[2][ND];  // in y, in x
    I reduced[ND];
    I reduced_strides[1][ND];
};

// Parameters of every reduction.
template <class T, class S> struct Reduction {
    using State = S;
    static_assert(sizeof(S) <= 32, "partials have room for that: see kernels/reduction.py");
    static constexpr bool batches = false;
    acc_t<T> beside;  // optional second input: compared with the elements of this k
    double scalar;    // a count or an exponent: see the reduction
};

// T, at least 32 bits wide, so that lanes can exchange it.
template <class T>
using wide_t = choose<(is_floating<T> || sizeof(T) == 8), acc_t<T>, choose<is_signed<T>, int, unsigned>>;

constexpr int FLIGHT = 4;  // loads in flight per thread

// The state of the lane at a distance. A State that is a struct has its own overload, member by member.
template <class S> __device__ __forceinline__ S from_lane(S s, int distance) {
    return __shfl_xor_sync(0xffffffffU, s, distance);
}

// The state of N elements, with the numbers i, i + step, ...
template <int N, class T, class I, class On>
__device__ __forceinline__ typename On::State batch(const On& on, const acc_t<T> (&x)[N], I i, I step) {
    if constexpr (On::batches) {
        return on.several(x, i, step);
    } else {
        typename On::State s[N];
#pragma unroll
        for (int j = 0; j < N; j++) s[j] = on.one(x[j], static_cast<I>(i + j * step));
#pragma unroll
        for (int distance = 1; distance < N; distance *= 2) {
#pragma unroll
            for (int j = 0; j + distance < N; j += 2 * distance) s[j] = on.merge(s[j], s[j + distance]);
        }
        return s[0];
    }
}

// The merged state of all threads along x, in the first of them. blockDim.x is a power of two; above 32 the
// block has one row. All threads of the block take part.
template <class On> __device__ __forceinline__ typename On::State across(const On& on, typename On::State s) {
    __shared__ typename On::State parts[32];
    const int lanes = blockDim.x;
    for (int distance = (lanes < 32 ? lanes : 32) / 2; distance > 0; distance /= 2) {
        s = on.merge(s, from_lane(s, distance));
    }
    if (lanes <= 32) return s;
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = s;
    __syncthreads();
    s = parts[threadIdx.x % (lanes / 32)];
    for (int distance = lanes / 64; distance > 0; distance /= 2) s = on.merge(s, from_lane(s, distance));
    __syncthreads();  // the next row must not overwrite what slower warps still read
    return s;
}

// The state of every `lanes`-th element of a row, or vector of elements, from number `lane` on.
template <class T, int ND, class I, class On>
__device__ __forceinline__ typename On::State row_state(
    const On& on, const T* x, const Axes<ND, I>& axes, counter<I> n, counter<I> lane, counter<I> lanes) {
    using C = counter<I>;
    using State = typename On::State;
    constexpr int W = sizeof(T) == 1 ? 8 : 16 / sizeof(T);
    const auto place = [&](C i) {
        I at[1];
        unravel<ND, 1, I>(i, axes.reduced, axes.reduced_strides, at);
        return at[0];
    };
    const auto vector_state = [&](const Vec<T, W>& v, C first) {
        acc_t<T> few[W];
#pragma unroll
        for (int j = 0; j < W; j++) few[j] = to_acc(v.at[j]);
        return batch<W, T, I>(on, few, static_cast<I>(first), I(1));
    };

    // Vectors: a contiguous row from its first aligned element, or rows of a plane that are all aligned.
    bool has_vectors = axes.reduced_strides[0][ND - 1] == 1;
    C head = 0;
    if (ND == 1) {
        while (head < n && head < W && !is_aligned<W>(x + head)) head++;
    } else {
        has_vectors = has_vectors && is_aligned<W>(x) && axes.reduced[ND - 1] % W == 0;
#pragma unroll
        for (int d = 0; d < ND - 1; d++) has_vectors = has_vectors && axes.reduced_strides[0][d] % W == 0;
    }
    const C vectors = has_vectors ? (n - head) / W : 0;
    State s = On::start();
    C v = lane;
    for (; v + (FLIGHT - 1) * lanes < vectors; v += FLIGHT * lanes) {
        Vec<T, W> loaded[FLIGHT];
#pragma unroll
        for (int u = 0; u < FLIGHT; u++) loaded[u] = load<W>(x + place(head + (v + u * lanes) * W));
        State part = vector_state(loaded[0], head + v * W);
#pragma unroll
        for (int u = 1; u < FLIGHT; u++) {
            part = on.merge(part, vector_state(loaded[u], head + (v + u * lanes) * W));
        }
        s = on.merge(s, part);
    }
    for (; v < vectors; v += lanes) {
        s = on.merge(s, vector_state(load<W>(x + place(head + v * W)), head + v * W));
    }

    // Elements: those before and after the vectors, or all.
    const C rest = n - vectors * W;
    C i = lane;
    for (; vectors == 0 && i + (FLIGHT - 1) * lanes < rest; i += FLIGHT * lanes) {
        acc_t<T> few[FLIGHT];
#pragma unroll
        for (int u = 0; u < FLIGHT; u++) few[u] = to_acc(x[place(i + u * lanes)]);
        s = on.merge(s, batch<FLIGHT, T, I>(on, few, static_cast<I>(i), static_cast<I>(lanes)));
    }
    for (; i < rest; i += lanes) {
        const C number = i < head ? i : i + vectors * W;
        s = on.merge(s, on.one(to_acc(x[place(number)]), static_cast<I>(number)));
    }
    return s;
}

// blockDim (lanes of a row, rows); gridDim.x blocks over the rows, gridDim.y blocks share a row.
template <class F, class R, class T, int ND, class I>
__global__ void reduce_rows(
    R* y, void* partials, const T* x, const T* beside, Axes<ND, I> axes, I rows, I n, double scalar) {
    using On = typename F::template On<T, I>;
    using C = counter<I>;
    const C lane = blockIdx.y * blockDim.x + threadIdx.x, lanes = gridDim.y * blockDim.x;
    for (C first = static_cast<C>(blockIdx.x) * blockDim.y; first < rows; first += gridDim.x * blockDim.y) {
        const C row = first + threadIdx.y;
        I at[2] = {0, 0};
        On on;
        on.scalar = scalar;
        typename On::State s = On::start();
        if (row < rows) {
            unravel<ND, 2, I>(row, axes.kept, axes.kept_strides, at);
            if (beside != nullptr) on.beside = to_acc(beside[at[0]]);
            s = row_state<T, ND, I>(on, x + at[1], axes, static_cast<C>(n), lane, lanes);
        }
        s = across(on, s);
        if (threadIdx.x != 0 || row >= rows) continue;
        if (gridDim.y == 1) y[at[0]] = on.template result<R>(s);
        else static_cast<typename On::State*>(partials)[row * gridDim.y + blockIdx.y] = s;
    }
}

// blockDim (groups of W neighboring columns, lanes of a column), 256 threads at most; gridDim.x blocks over
// the columns, gridDim.y blocks share a column. W > 1 requires that every W-th column is aligned everywhere.
template <class F, class R, class T, int W, int ND, class I>
__global__ void reduce_columns(
    R* y, void* partials, const T* x, const T* beside, Axes<ND, I> axes, I columns, I n, double scalar) {
    using On = typename F::template On<T, I>;
    using State = typename On::State;
    using C = counter<I>;
    __shared__ State shared[W][256];
    const C lane = blockIdx.y * blockDim.y + threadIdx.y, lanes = gridDim.y * blockDim.y;
    const C groups = static_cast<C>(columns) / W;
    const int here = threadIdx.y * blockDim.x + threadIdx.x;
    const auto place = [&](C i) {
        I at[1];
        unravel<ND, 1, I>(i, axes.reduced, axes.reduced_strides, at);
        return at[0];
    };
    for (C first = static_cast<C>(blockIdx.x) * blockDim.x; first < groups; first += gridDim.x * blockDim.x) {
        const C group = first + threadIdx.x;
        const I step = axes.kept_strides[0][ND - 1];
        I at[2] = {0, 0};
        On on[W];
        State s[W];
#pragma unroll
        for (int j = 0; j < W; j++) {
            on[j].scalar = scalar;
            s[j] = On::start();
        }
        if (group < groups) {
            unravel<ND, 2, I>(group * W, axes.kept, axes.kept_strides, at);
            if (beside != nullptr) {
#pragma unroll
                for (int j = 0; j < W; j++) on[j].beside = to_acc(beside[at[0] + j * step]);
            }
            const T* column = x + at[1];
            C i = lane;
            for (; i + (FLIGHT - 1) * lanes < n; i += FLIGHT * lanes) {
                Vec<T, W> loaded[FLIGHT];
#pragma unroll
                for (int u = 0; u < FLIGHT; u++) loaded[u] = load<W>(column + place(i + u * lanes));
#pragma unroll
                for (int j = 0; j < W; j++) {
                    acc_t<T> few[FLIGHT];
#pragma unroll
                    for (int u = 0; u < FLIGHT; u++) few[u] = to_acc(loaded[u].at[j]);
                    const State part =
                        batch<FLIGHT, T, I>(on[j], few, static_cast<I>(i), static_cast<I>(lanes));
                    s[j] = on[j].merge(s[j], part);
                }
            }
            for (; i < n; i += lanes) {
                const Vec<T, W> v = load<W>(column + place(i));
#pragma unroll
                for (int j = 0; j < W; j++) {
                    s[j] = on[j].merge(s[j], on[j].one(to_acc(v.at[j]), static_cast<I>(i)));
                }
            }
        }
        for (int distance = blockDim.y / 2; distance > 0; distance /= 2) {
#pragma unroll
            for (int j = 0; j < W; j++) shared[j][here] = s[j];
            __syncthreads();
            if (static_cast<int>(threadIdx.y) < distance) {
#pragma unroll
                for (int j = 0; j < W; j++) s[j] = on[j].merge(s[j], shared[j][here + distance * blockDim.x]);
            }
            __syncthreads();
        }
        if (threadIdx.y != 0 || group >= groups) continue;
#pragma unroll
        for (int j = 0; j < W; j++) {
            if (gridDim.y == 1) y[at[0] + j * step] = on[j].template result<R>(s[j]);
            else static_cast<State*>(partials)[(group * W + j) * gridDim.y + blockIdx.y] = s[j];
        }
    }
}

// Merges the `parts` states per row, side by side, of the blocks of reduce_rows or reduce_columns.
template <class F, class R, class T, int ND, class I>
__global__ void reduce_partials(
    R* y, const void* partials, Axes<ND, I> axes, I rows, int parts, double scalar) {
    using On = typename F::template On<T, I>;
    using C = counter<I>;
    On on;
    on.scalar = scalar;
    for (C first = static_cast<C>(blockIdx.x) * blockDim.y; first < rows; first += gridDim.x * blockDim.y) {
        const C row = first + threadIdx.y;
        typename On::State s = On::start();
        if (row < rows) {
            const auto* left = static_cast<const typename On::State*>(partials) + row * parts;
            for (int i = threadIdx.x; i < parts; i += blockDim.x) s = on.merge(s, left[i]);
        }
        s = across(on, s);
        if (threadIdx.x != 0 || row >= rows) continue;
        I at[2];
        unravel<ND, 2, I>(row, axes.kept, axes.kept_strides, at);
        y[at[0]] = on.template result<R>(s);
    }
}
