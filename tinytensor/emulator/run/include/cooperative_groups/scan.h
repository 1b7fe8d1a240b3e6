// Prefix sums over the lanes of a group.
#pragma once
#include "cooperative_groups/reduce.h"

namespace cooperative_groups {
template <class G, class T, class F = plus<T>>
TT_NOSAN static T inclusive_scan(const G& group, T x, F f = F(), TT_SITE) {
    const unsigned rank = (unsigned)group.thread_rank();
    for (unsigned d = 1; d < group.num_threads(); d *= 2) {
        const T before = group.shfl_up(x, d, file, line);
        if (rank >= d) x = f(before, x);
    }
    return x;
}
template <class G, class T, class F = plus<T>>
TT_NOSAN static T exclusive_scan(const G& group, T x, F f = F(), TT_SITE) {
    const T before = group.shfl_up(inclusive_scan(group, x, f, file, line), 1, file, line);
    return group.thread_rank() ? before : T();
}
}  // namespace cooperative_groups
