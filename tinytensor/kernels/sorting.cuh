// Sort items: a key with the order of the elements, and the element's index. No two items are equal, so every
// method is stable. Nan sorts last; 0 and -0 are equal. Also Batcher's bitonic network, which sorts items in
// shared memory (Batcher 1968, "Sorting networks and their applications").
#pragma once
#include "common.cuh"

// ---- items -----------------------------------------------------------------------------------------------

// A 32-bit key and an index in one word, or a 64-bit key and an index.
struct Pair {
    unsigned long long key;
    unsigned long long index;
};

template <class T> using sort_key_t = choose<sizeof(T) == 8, unsigned long long, unsigned>;
template <class T> using item_t = choose<sizeof(T) == 8, Pair, unsigned long long>;

__device__ __forceinline__ unsigned long long item(unsigned key, unsigned index) {
    return static_cast<unsigned long long>(key) << 32 | index;
}
__device__ __forceinline__ Pair item(unsigned long long key, unsigned index) { return {key, index}; }
__device__ __forceinline__ bool is_before(unsigned long long a, unsigned long long b) { return a < b; }
__device__ __forceinline__ bool is_before(Pair a, Pair b) {
    return a.key < b.key || (a.key == b.key && a.index < b.index);
}
__device__ __forceinline__ unsigned index_of(unsigned long long a) { return static_cast<unsigned>(a); }
__device__ __forceinline__ unsigned index_of(Pair a) { return static_cast<unsigned>(a.index); }

// The order of the keys is that of the elements, or its reverse.
template <class T> __device__ __forceinline__ sort_key_t<T> sort_key(T x, bool descending) {
    using K = sort_key_t<T>;
    constexpr K sign = K(1) << (8 * sizeof(K) - 1);
    K key;
    if constexpr (is_floating<T>) {
        const acc_t<T> value = to_acc(x);
        if constexpr (same<T, double>) key = static_cast<K>(__double_as_longlong(value));
        else key = __float_as_uint(value);
        key = key & sign ? ~key : key | sign;
        if (value == 0) key = sign;
        if (value != value) key = ~K(0);
    } else if constexpr (is_signed<T>) {
        key = static_cast<K>(x) ^ sign;
    } else {
        key = static_cast<K>(x);
    }
    return descending ? ~key : key;
}

// ---- in shared memory ------------------------------------------------------------------------------------

// Segments of `tile` items (a power of two) in ascending order; there are `count` items, a multiple of it.
template <class Item> __device__ __forceinline__ void sort_shared(Item* items, int count, int tile) {
    for (int size = 2; size <= tile; size *= 2) {
        for (int distance = size / 2; distance > 0; distance /= 2) {
            __syncthreads();
            for (int pair = threadIdx.x; pair < count / 2; pair += blockDim.x) {
                const int i = 2 * pair - (pair & (distance - 1));
                const bool ascending = (i & (tile - 1) & size) == 0;
                const Item a = items[i], b = items[i + distance];
                if (is_before(b, a) == ascending) {
                    items[i] = b;
                    items[i + distance] = a;
                }
            }
        }
    }
    __syncthreads();
}

// Rows are cut into tiles of `tile` items, several to a block; each is sorted, and its first `keep` items are
// written. read(row, i) returns item i of a row of n, write(row, number of the tile, slot, &item) stores it.
// `items`: shared memory for 512 items, or for `tile` if that is more. All threads must take part.
template <class Item, class C, class Read, class Write>
__device__ __forceinline__ void sort_tiles_of(
    Item* items, C count, C n, int tile, int tiles, int keep, Item last, Read read, Write write) {
    const int together = tile < 512 ? 512 : tile;
    const C segment = static_cast<C>(blockIdx.x) * (together / tile);
    for (int e = threadIdx.x; e < together; e += blockDim.x) {
        const C row = (segment + e / tile) / tiles;
        const C i = (segment + e / tile) % tiles * tile + e % tile;
        Item here = last;
        if (row < count && i < n) here = read(row, i);
        items[e] = here;
    }
    sort_shared(items, together, tile);
    for (int e = threadIdx.x; e < together; e += blockDim.x) {
        const C row = (segment + e / tile) / tiles, number = (segment + e / tile) % tiles;
        const int slot = e % tile;
        if (row < count && slot < keep && number * tile + slot < n) write(row, number, slot, items + e);
    }
}
