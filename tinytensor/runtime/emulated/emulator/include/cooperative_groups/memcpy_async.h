// Copies by all threads of a group.
#pragma once
#include "cooperative_groups.h"

namespace cooperative_groups {
template <class G, class T>
static inline void memcpy_async(const G& group, T* to, const T* from, size_t bytes) {
    const size_t n = bytes / sizeof(T);
    for (size_t i = group.thread_rank(); i < n; i += group.size()) to[i] = from[i];
}
template <class G>
static inline void memcpy_async(const G& group, void* to, const void* from, size_t bytes) {
    memcpy_async(group, (char*)to, (const char*)from, bytes);
}
template <class G>
TT_INLINE void wait(const G& group, TT_SITE) {
    group.sync(file, line);
}
template <unsigned N, class G>
TT_INLINE void wait_prior(const G& group, TT_SITE) {
    group.sync(file, line);
}
}  // namespace cooperative_groups
