// Reductions and scans over the threads of a block, by one barrier. As in CUB, the shared memory that they
// use may be used again behind another one.
#pragma once
#include "cub/detail/warp.h"

namespace cub {

enum BlockReduceAlgorithm {
    BLOCK_REDUCE_RAKING_COMMUTATIVE_ONLY,
    BLOCK_REDUCE_RAKING,
    BLOCK_REDUCE_WARP_REDUCTIONS
};
enum BlockScanAlgorithm { BLOCK_SCAN_RAKING, BLOCK_SCAN_RAKING_MEMOIZE, BLOCK_SCAN_WARP_SCANS };

namespace detail {
template <class T, int THREADS>
struct WarpResults {
    static constexpr int WARPS = (THREADS + 31) / 32;
    T of_warp[WARPS];
};
// Without a storage that is given, the block has one of its own.
template <class Storage>
Storage& own_storage() {
    __shared__ Storage storage;
    return storage;
}
}  // namespace detail

template <class T, int X, BlockReduceAlgorithm = BLOCK_REDUCE_WARP_REDUCTIONS, int Y = 1, int Z = 1>
class BlockReduce {
  public:
    typedef detail::WarpResults<T, X * Y * Z> TempStorage;
    BlockReduce() : storage(detail::own_storage<TempStorage>()) {}
    explicit BlockReduce(TempStorage& given) : storage(given) {}

    // The result is that of the first thread; the others get what has no meaning. `valid`: of how many
    // threads the values count.
    template <class F>
    T Reduce(T x, F f, int valid, TT_SITE) {
        const int warp = (int)tt_emu::self() / 32;
        x = detail::reduce_lanes<32>(x, valid - warp * 32, f, file, line);
        if (TempStorage::WARPS == 1) return x;
        if (tt_emu::lane() == 0) storage.of_warp[warp] = x;
        __syncthreads(file, line);
        if (tt_emu::self() == 0)
            for (int i = 1; i * 32 < valid; i++) x = f(x, storage.of_warp[i]);
        return x;
    }
    template <class F>
    T Reduce(T x, F f, TT_SITE) {
        return Reduce(x, f, X * Y * Z, file, line);
    }
    template <int N, class F>
    T Reduce(T (&values)[N], F f, TT_SITE) {
        T x = values[0];
        for (int i = 1; i < N; i++) x = f(x, values[i]);
        return Reduce(x, f, X * Y * Z, file, line);
    }
    T Sum(T x, TT_SITE) { return Reduce(x, cub::Sum(), X * Y * Z, file, line); }
    T Sum(T x, int valid, TT_SITE) { return Reduce(x, cub::Sum(), valid, file, line); }
    template <int N>
    T Sum(T (&values)[N], TT_SITE) {
        return Reduce(values, cub::Sum(), file, line);
    }

  private:
    TempStorage& storage;
};

// Scans of values in the order of the threads, and of `N` of them in each thread.
template <class T, int X, BlockScanAlgorithm = BLOCK_SCAN_RAKING, int Y = 1, int Z = 1>
class BlockScan {
  public:
    typedef detail::WarpResults<T, X * Y * Z> TempStorage;
    BlockScan() : storage(detail::own_storage<TempStorage>()) {}
    explicit BlockScan(TempStorage& given) : storage(given) {}

    template <int N, class F>
    void InclusiveScan(T (&from)[N], T (&to)[N], F f, T& all, TT_SITE) {
        T before = T();
        const bool any = scan(sum_of(from, f), before, f, all, file, line);
        for (int i = 0; i < N; i++) {
            before = i || any ? f(before, from[i]) : from[i];
            to[i] = before;
        }
    }
    // `all` is without the initial value.
    template <int N, class F>
    void ExclusiveScan(T (&from)[N], T (&to)[N], T initial, F f, T& all, TT_SITE) {
        T before = T();
        const bool any = scan(sum_of(from, f), before, f, all, file, line);
        before = any ? f(initial, before) : initial;
        for (int i = 0; i < N; i++) {
            const T x = from[i];  // `to` may be the same array
            to[i] = before;
            before = f(before, x);
        }
    }
    template <int N, class F>
    void InclusiveScan(T (&from)[N], T (&to)[N], F f, TT_SITE) {
        T all;
        InclusiveScan(from, to, f, all, file, line);
    }
    template <int N, class F>
    void ExclusiveScan(T (&from)[N], T (&to)[N], T initial, F f, TT_SITE) {
        T all;
        ExclusiveScan(from, to, initial, f, all, file, line);
    }
    template <int N>
    void InclusiveSum(T (&from)[N], T (&to)[N], T& all, TT_SITE) {
        InclusiveScan(from, to, cub::Sum(), all, file, line);
    }
    template <int N>
    void InclusiveSum(T (&from)[N], T (&to)[N], TT_SITE) {
        InclusiveScan(from, to, cub::Sum(), file, line);
    }
    template <int N>
    void ExclusiveSum(T (&from)[N], T (&to)[N], T& all, TT_SITE) {
        ExclusiveScan(from, to, T(), cub::Sum(), all, file, line);
    }
    template <int N>
    void ExclusiveSum(T (&from)[N], T (&to)[N], TT_SITE) {
        ExclusiveScan(from, to, T(), cub::Sum(), file, line);
    }

    template <class F>
    void InclusiveScan(T x, T& to, F f, T& all, TT_SITE) {
        InclusiveScan(one(x), one(to), f, all, file, line);
    }
    template <class F>
    void InclusiveScan(T x, T& to, F f, TT_SITE) {
        InclusiveScan(one(x), one(to), f, file, line);
    }
    template <class F>
    void ExclusiveScan(T x, T& to, T initial, F f, T& all, TT_SITE) {
        ExclusiveScan(one(x), one(to), initial, f, all, file, line);
    }
    template <class F>
    void ExclusiveScan(T x, T& to, T initial, F f, TT_SITE) {
        ExclusiveScan(one(x), one(to), initial, f, file, line);
    }
    void InclusiveSum(T x, T& to, T& all, TT_SITE) { InclusiveSum(one(x), one(to), all, file, line); }
    void InclusiveSum(T x, T& to, TT_SITE) { InclusiveSum(one(x), one(to), file, line); }
    void ExclusiveSum(T x, T& to, T& all, TT_SITE) { ExclusiveSum(one(x), one(to), all, file, line); }
    void ExclusiveSum(T x, T& to, TT_SITE) { ExclusiveSum(one(x), one(to), file, line); }

  private:
    typedef T One[1];
    static One& one(T& x) { return *(One*)&x; }

    template <int N, class F>
    static T sum_of(const T (&values)[N], F f) {
        T x = values[0];
        for (int i = 1; i < N; i++) x = f(x, values[i]);
        return x;
    }
    // f of the threads before this one, and of all; false in the first thread, before which there is none.
    template <class F>
    bool scan(T x, T& before, F f, T& all, TT_SITE) {
        const unsigned warp = tt_emu::self() / 32, threads = blockDim.x * blockDim.y * blockDim.z;
        const T own = detail::scan_lanes<32>(x, f, file, line);
        const T left = tt_emu::shfl_up_any(detail::present_lanes<32>(), own, 1, 32, TT_HERE);
        if (tt_emu::lane() == 31 || tt_emu::self() == threads - 1) storage.of_warp[warp] = own;
        __syncthreads(file, line);
        all = storage.of_warp[0];
        if (warp) before = all;
        for (unsigned i = 1; i * 32 < threads; i++) {
            all = f(all, storage.of_warp[i]);
            if (i + 1 == warp) before = all;
        }
        if (tt_emu::lane()) before = warp ? f(before, left) : left;
        return tt_emu::self() > 0;
    }

    TempStorage& storage;
};

}  // namespace cub
