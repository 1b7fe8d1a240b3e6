// Reductions and scans over the lanes of a warp, or of equal parts of it.
#pragma once
#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "cuda_runtime.h"

namespace cub {

#define TT_OPERATION(NAME, RESULT)                   \
    struct NAME {                                    \
        template <class T>                           \
        T operator()(const T& a, const T& b) const { \
            return RESULT;                           \
        }                                            \
    };
TT_OPERATION(Sum, (T)(a + b))
TT_OPERATION(Max, b > a ? b : a)
TT_OPERATION(Min, b < a ? b : a)
#undef TT_OPERATION

namespace detail {

// The lanes of the calling thread's part of a warp, of `N` threads.
template <int N>
TT_INLINE unsigned lanes_of_part() {
    static_assert(N >= 1 && N <= 32 && !(N & (N - 1)), "a part of a warp has 1, 2, 4, 8, 16 or 32 lanes");
    return N == 32 ? ~0u : ((1u << N % 32) - 1) << (tt_emu::lane() / N * N);
}
// Those of them that the block has.
template <int N>
TT_INLINE unsigned present_lanes() {
    const unsigned left = blockDim.x * blockDim.y * blockDim.z - tt_emu::self() / 32 * 32;
    return lanes_of_part<N>() & (left < 32 ? (1u << left) - 1 : ~0u);
}

// In the first lane f of the first `valid` values, from left to right. Afterwards a lane has that of the
// lanes from it on: twice as many with each step.
template <int N, class T, class F>
T reduce_lanes(T x, int valid, F f, TT_SITE) {
    const unsigned lanes = present_lanes<N>();
    const int lane = tt_emu::lane();
    for (int d = 1; d < N; d *= 2) {
        const bool there = lane % N + d < N && lanes >> (lane + d) & 1;
        const T other = tt_emu::shuffle_any(lanes, x, there ? lane + d : lane, TT_HERE);
        if (lane % N + d < valid) x = f(x, other);
    }
    return x;
}
// In each lane f of the values up to it.
template <int N, class T, class F>
T scan_lanes(T x, F f, TT_SITE) {
    const int rank = tt_emu::lane() % N;
    for (int d = 1; d < N; d *= 2) {
        const T before = tt_emu::shfl_up_any(present_lanes<N>(), x, (unsigned)d, N, TT_HERE);
        if (rank >= d) x = f(before, x);
    }
    return x;
}

}  // namespace detail

template <class T, int N = 32>
class WarpReduce {
  public:
    struct TempStorage {};
    explicit WarpReduce(TempStorage&) {}

    // The result is that of the first lane; the others get what has no meaning.
    template <class F>
    T Reduce(T x, F f, TT_SITE) {
        return detail::reduce_lanes<N>(x, N, f, file, line);
    }
    template <class F>
    T Reduce(T x, F f, int valid, TT_SITE) {
        return detail::reduce_lanes<N>(x, valid, f, file, line);
    }
    T Sum(T x, TT_SITE) { return detail::reduce_lanes<N>(x, N, cub::Sum(), file, line); }
    T Sum(T x, int valid, TT_SITE) { return detail::reduce_lanes<N>(x, valid, cub::Sum(), file, line); }
};

template <class T, int N = 32>
class WarpScan {
  public:
    struct TempStorage {};
    explicit WarpScan(TempStorage&) {}

    template <class F>
    void InclusiveScan(T x, T& to, F f, TT_SITE) {
        to = detail::scan_lanes<N>(x, f, file, line);
    }
    template <class F>
    void InclusiveScan(T x, T& to, F f, T& all, TT_SITE) {
        to = detail::scan_lanes<N>(x, f, file, line);
        all = Broadcast(to, N - 1, file, line);
    }
    template <class F>
    void ExclusiveScan(T x, T& to, T initial, F f, TT_SITE) {
        const T own = detail::scan_lanes<N>(x, f, file, line);
        const T before = tt_emu::shfl_up_any(detail::present_lanes<N>(), own, 1, N, TT_HERE);
        to = tt_emu::lane() % N ? f(initial, before) : initial;
    }
    void InclusiveSum(T x, T& to, TT_SITE) { InclusiveScan(x, to, cub::Sum(), file, line); }
    void InclusiveSum(T x, T& to, T& all, TT_SITE) { InclusiveScan(x, to, cub::Sum(), all, file, line); }
    void ExclusiveSum(T x, T& to, TT_SITE) { ExclusiveScan(x, to, T(), cub::Sum(), file, line); }
    void ExclusiveSum(T x, T& to, T& all, TT_SITE) {
        InclusiveScan(x, to, cub::Sum(), all, file, line);
        ExclusiveSum(x, to, file, line);
    }
    T Broadcast(T x, unsigned rank, TT_SITE) {
        return tt_emu::shfl_any(detail::present_lanes<N>(), x, (int)rank, N, TT_HERE);
    }
};

}  // namespace cub
