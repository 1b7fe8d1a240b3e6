// Reductions over a group; each thread gets the result.
#pragma once
#include "cooperative_groups.h"

namespace cooperative_groups {
#define TT_OPERATION(NAME, RESULT)                                             \
    template <class T = void>                                                  \
    struct NAME {                                                              \
        TT_NOSAN T operator()(const T& a, const T& b) const { return RESULT; } \
    };                                                                         \
    template <>                                                                \
    struct NAME<void> {                                                        \
        template <class T>                                                     \
        TT_NOSAN T operator()(const T& a, const T& b) const {                  \
            return RESULT;                                                     \
        }                                                                      \
    };
TT_OPERATION(plus, a + b)
TT_OPERATION(less, b < a ? b : a) TT_OPERATION(greater, a < b ? b : a) TT_OPERATION(bit_and, a& b)
    TT_OPERATION(bit_or, a | b) TT_OPERATION(bit_xor, a ^ b)
#undef TT_OPERATION

        namespace details {
    // Space of a block for reductions of several warps.
    template <class T>
    TT_NOSAN T* warp_results() {
        alignas(16) static char space[32 * sizeof(T)];
        return (T*)space;
    }
}  // namespace details

template <unsigned N, class P, class T, class F>
TT_NOSAN static T reduce(const thread_block_tile<N, P>& group, T x, F f, TT_SITE) {
    for (unsigned d = (N < 32 ? N : 32) / 2; d; d /= 2)
        x = f(x, tt_emu::shfl_xor_any(N < 32 ? group.mask() : ~0u, x, (int)d, N < 32 ? (int)N : 32, TT_HERE));
    if constexpr (N > 32) {
        T* results = details::warp_results<T>() + group.meta_group_rank() * (N / 32);
        if (tt_emu::lane() == 0) results[group.thread_rank() / 32] = x;
        group.sync(file, line);
        x = results[0];
        for (unsigned i = 1; i < N / 32; i++) x = f(x, results[i]);
        group.sync(file, line);
    }
    return x;
}
template <class T, class F>
TT_NOSAN static T reduce(const coalesced_group& group, T x, F f, TT_SITE) {
    T sum = group.shfl(x, 0, file, line);
    for (unsigned rank = 1; rank < group.num_threads(); rank++)
        sum = f(sum, group.shfl(x, (int)rank, file, line));
    return sum;
}

template <class G, class A, class T, class F>
TT_NOSAN static void reduce_update_async(const G& group, A& target, T x, F f, TT_SITE) {
    const T sum = reduce(group, x, f, file, line);
    if (group.thread_rank() == 0) target.fetch_add(sum);
}
}  // namespace cooperative_groups
