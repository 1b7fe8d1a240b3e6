// sort, top-k and searchsorted: the op classes of tinytensor/ops/reductions/sorting.py.
// The kernels sort (key, index) items: sorting.cuh.
// Mapping: sort_tiles sorts up to 2,048 items in shared memory, several short rows per block. Longer rows are
// merged, runs of twice the length in each pass, 1,024 items per block, whose boundaries are found by a
// binary search along a diagonal. For top-k, each tile keeps its best items, and these are sorted again.
// Traffic per element of s bytes, item of t = 8 bytes (16 for s = 8): one tile reads s, writes s + 8; longer
// rows read s and write t, then 2 t per pass, then read t + s and write s + 8. The search for the k best
// reads s and writes k t / 2048.
// Formula: Green and others 2012, "GPU merge path".
#include "sorting.cuh"

// By value: 3 ND + 2 numbers. Start of the rows, slowest axis first, and the steps along a row.
template <int ND, class I> struct Rows {
    I shape[ND];
    I strides[2][ND];  // in the results, in x
    I step[2];
};

// ---- tiles -----------------------------------------------------------------------------------------------

// A row of one tile is final: its results go to y and order (either may be null). Others write items, `kept`
// per row. The items come from x, or from an earlier pass (`from`).
template <class T, int ND, class I>
__global__ void sort_tiles(
    T* y, long long* order, void* to, const void* from, const T* x, Rows<ND, I> rows, I count, I n, I kept,
    int tile, int tiles, int keep, bool descending) {
    using Item = item_t<T>;
    using C = counter<I>;
    extern __shared__ __align__(16) unsigned char smem[];
    const Item last = item(~sort_key_t<T>(0), ~0U);  // sorts last
    const auto read = [&](C row, C i) -> Item {
        if (from != nullptr) return static_cast<const Item*>(from)[row * n + i];
        I at[2];
        unravel<ND, 2, I>(row, rows.shape, rows.strides, at);
        return item(sort_key(x[at[1] + static_cast<I>(i) * rows.step[1]], descending), unsigned(i));
    };
    const auto write = [&](C row, C number, int slot, const Item* found) {
        if (to != nullptr) {
            static_cast<Item*>(to)[row * kept + number * keep + slot] = *found;
            return;
        }
        I at[2];
        unravel<ND, 2, I>(row, rows.shape, rows.strides, at);
        const unsigned index = index_of(*found);
        const I place = at[0] + slot * rows.step[0];
        if (y != nullptr) y[place] = x[at[1] + static_cast<I>(index) * rows.step[1]];
        if (order != nullptr) order[place] = index;
    };
    sort_tiles_of<Item, C>(reinterpret_cast<Item*>(smem), count, n, tile, tiles, keep, last, read, write);
}

// ---- merging ---------------------------------------------------------------------------------------------

// Number of items from the left run among the first `diagonal` items of two merged runs.
template <class Item, class C>
__device__ __forceinline__ C merge_path(const Item* left, C lefts, const Item* right, C rights, C diagonal) {
    C low = diagonal > rights ? diagonal - rights : 0, high = diagonal < lefts ? diagonal : lefts;
    while (low < high) {
        const C middle = (low + high) / 2;
        if (is_before(right[diagonal - 1 - middle], left[middle])) high = middle;
        else low = middle + 1;
    }
    return low;
}

// Rows of n items hold sorted runs of `run` items; each two neighbors become one run. `run` is a multiple of
// the blockDim.x * EACH items that a block writes; `blocks` of them make a row.
template <class Item, class I>
__global__ void sort_merge(Item* to, const Item* from, I n, I run, int blocks) {
    using C = counter<I>;
    constexpr int EACH = 4;
    __shared__ C splits[2];
    extern __shared__ __align__(16) unsigned char smem[];
    Item* items = reinterpret_cast<Item*>(smem);
    const C size = n, tile = blockDim.x * EACH;
    const C row = blockIdx.x / blocks * size, start = blockIdx.x % blocks * tile;
    const C pair = start / (C(2) * run) * (C(2) * run);
    const C lefts = size - pair < C(run) ? size - pair : C(run);
    const C rights = size - pair - lefts < C(run) ? size - pair - lefts : C(run);
    const Item* left = from + row + pair;
    const Item* right = left + lefts;
    const C begin = start - pair, end = begin + tile < lefts + rights ? begin + tile : lefts + rights;
    if (threadIdx.x < 2) {
        splits[threadIdx.x] = merge_path(left, lefts, right, rights, threadIdx.x == 0 ? begin : end);
    }
    __syncthreads();
    const C from_left = splits[0], from_right = begin - from_left;
    const int of_left = static_cast<int>(splits[1] - from_left), all = static_cast<int>(end - begin);
    for (int e = threadIdx.x; e < all; e += blockDim.x) {
        items[e] = e < of_left ? left[from_left + e] : right[from_right + (e - of_left)];
    }
    __syncthreads();
    const int first = threadIdx.x * EACH < all ? threadIdx.x * EACH : all;
    int i = merge_path(items, of_left, items + of_left, all - of_left, first), j = of_left + first - i;
    Item merged[EACH];
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        const bool take_left = j >= all || (i < of_left && is_before(items[i], items[j]));
        if (first + e < all) merged[e] = items[take_left ? i++ : j++];
    }
    __syncthreads();
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        if (first + e < all) items[first + e] = merged[e];
    }
    __syncthreads();
    for (int e = threadIdx.x; e < all; e += blockDim.x) to[row + start + e] = items[e];
}

// Gathers the elements of x that the first `keep` of the n sorted items of each row refer to.
template <class T, int ND, class I>
__global__ void sort_gather(
    T* y, long long* order, const void* from, const T* x, Rows<ND, I> rows, I count, I n, I keep) {
    using C = counter<I>;
    const C all = static_cast<C>(count) * keep;
    for (C e = grid_start<I>(); e < all; e += grid_step<I>()) {
        const C row = e / keep, slot = e % keep;
        I at[2];
        unravel<ND, 2, I>(row, rows.shape, rows.strides, at);
        const unsigned index = index_of(static_cast<const item_t<T>*>(from)[row * n + slot]);
        const I place = at[0] + static_cast<I>(slot) * rows.step[0];
        if (y != nullptr) y[place] = x[at[1] + static_cast<I>(index) * rows.step[1]];
        if (order != nullptr) order[place] = index;
    }
}

// ---- searchsorted ----------------------------------------------------------------------------------------

// For each element v of x2 the first index in x1 with x1[i] >= v (left), or x1[i] > v (right).
template <class T>
__global__ void searchsorted(
    long long* places, const T* x1, const T* x2, long long n, long long count, bool right) {
    for (long long e = grid_start<long long>(); e < count; e += grid_step<long long>()) {
        const auto key = sort_key(x2[e], false);
        long long low = 0, high = n;
        while (low < high) {
            const long long middle = low + (high - low) / 2;
            const auto here = sort_key(x1[middle], false);
            if (right ? here <= key : here < key) low = middle + 1;
            else high = middle;
        }
        places[e] = low;
    }
}
