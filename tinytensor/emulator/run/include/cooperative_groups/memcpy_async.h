// Copies by all threads of a group. Each call is a stage, for which a thread waits before the group meets.
#pragma once
#include "cooperative_groups.h"

namespace cooperative_groups {
template <class G, class T>
static inline void memcpy_async(const G& group, T* to, const T* from, size_t bytes, TT_SITE) {
    const size_t rank = group.thread_rank(), size = group.size();
    if (!tt_emu::copy_parts_later(to, from, bytes, rank, size, TT_HERE))
        for (size_t i = rank; i < bytes / sizeof(T); i += size) to[i] = from[i];
    tt_mma::cp_async_commit();
}
template <class G>
static inline void memcpy_async(const G& group, void* to, const void* from, size_t bytes, TT_SITE) {
    memcpy_async(group, (char*)to, (const char*)from, bytes, file, line);
}
template <unsigned N, class G>
TT_INLINE void wait_prior(const G& group, TT_SITE) {
    tt_emu::wait_for_copies(N);
    group.sync(file, line);
}
template <class G>
TT_INLINE void wait(const G& group, TT_SITE) {
    wait_prior<0>(group, file, line);
}
}  // namespace cooperative_groups
