// Barriers and warp operations: each calls the core, which runs other threads until the result is known.
#pragma once

// ---- the block --------------------------------------------------------------------------------------------

TT_INLINE void __syncthreads(TT_SITE) {
    tt_emu::Pause pause;
    tt_emu_barrier(tt_emu::worker, tt_emu::self(), 0, nullptr, TT_HERE);
}
TT_INLINE int __syncthreads_count(int predicate, TT_SITE) {
    tt_emu::Pause pause;
    int arrived;
    return tt_emu_barrier(tt_emu::worker, tt_emu::self(), predicate, &arrived, TT_HERE);
}
TT_INLINE int __syncthreads_and(int predicate, TT_SITE) {
    tt_emu::Pause pause;
    int arrived;
    return tt_emu_barrier(tt_emu::worker, tt_emu::self(), predicate, &arrived, TT_HERE) == arrived;
}
TT_INLINE int __syncthreads_or(int predicate, TT_SITE) {
    tt_emu::Pause pause;
    int arrived;
    return tt_emu_barrier(tt_emu::worker, tt_emu::self(), predicate, &arrived, TT_HERE) != 0;
}

// ---- the warp ---------------------------------------------------------------------------------------------

namespace tt_emu {
TT_INLINE int lane() { return self() & 31; }

template <class T>
TT_INLINE T shuffle(unsigned mask, T value, int source, Site site) {
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    unsigned long long bits = 0;
    __builtin_memcpy(&bits, &value, sizeof(T));
    {
        Pause pause;
        bits = tt_emu_shuffle(worker, self(), mask, bits, source, site);
    }
    __builtin_memcpy((void*)&value, &bits, sizeof(T));
    return value;
}
}  // namespace tt_emu

TT_INLINE void __syncwarp(unsigned mask = 0xffffffffu, TT_SITE) {
    tt_emu::Pause pause;
    tt_emu_sync_warp(tt_emu::worker, tt_emu::self(), mask, TT_HERE);
}

template <class T>
TT_INLINE T __shfl_sync(unsigned mask, T value, int source, int width = 32, TT_SITE) {
    int lane = tt_emu::lane();
    return tt_emu::shuffle(mask, value, (lane & ~(width - 1)) | (source & (width - 1)), TT_HERE);
}
// Lanes of a later segment must not be read; those of an earlier one may, as on the hardware.
template <class T>
TT_INLINE T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, TT_SITE) {
    int lane = tt_emu::lane(), source = lane ^ lanes, last = lane | (width - 1);
    return tt_emu::shuffle(mask, value, source > last || source > 31 ? lane : source, TT_HERE);
}
template <class T>
TT_INLINE T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, TT_SITE) {
    int lane = tt_emu::lane();
    bool inside = (lane & (width - 1)) + delta < (unsigned)width;
    return tt_emu::shuffle(mask, value, inside ? lane + (int)delta : lane, TT_HERE);
}
template <class T>
TT_INLINE T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, TT_SITE) {
    int lane = tt_emu::lane();
    bool inside = (unsigned)(lane & (width - 1)) >= delta;
    return tt_emu::shuffle(mask, value, inside ? lane - (int)delta : lane, TT_HERE);
}

TT_INLINE unsigned __ballot_sync(unsigned mask, int predicate, TT_SITE) {
    tt_emu::Pause pause;
    return tt_emu_ballot(tt_emu::worker, tt_emu::self(), mask, predicate, TT_HERE);
}
TT_INLINE int __any_sync(unsigned mask, int predicate, TT_SITE) {
    return __ballot_sync(mask, predicate, file, line) != 0;
}
TT_INLINE int __all_sync(unsigned mask, int predicate, TT_SITE) {
    return __ballot_sync(mask, !predicate, file, line) == 0;
}

template <class T>
TT_INLINE unsigned __match_any_sync(unsigned mask, T value, TT_SITE) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a match compares 4 or 8 bytes");
    unsigned long long bits = 0;
    __builtin_memcpy(&bits, &value, sizeof(T));
    tt_emu::Pause pause;
    return tt_emu_match(tt_emu::worker, tt_emu::self(), mask, bits, TT_HERE);
}
template <class T>
TT_INLINE unsigned __match_all_sync(unsigned mask, T value, int* all, TT_SITE) {
    unsigned same = __match_any_sync(mask, value, file, line);
    *all = same == mask;
    return *all ? mask : 0;
}

#define TT_REDUCE(NAME, T, OPERATION)                                                            \
    TT_INLINE T NAME(unsigned mask, T value, TT_SITE) {                                          \
        tt_emu::Pause pause;                                                                     \
        return (T)tt_emu_reduce(tt_emu::worker, tt_emu::self(), mask, tt_emu::Reduce::OPERATION, \
                                (unsigned)value, TT_HERE);                                       \
    }
TT_REDUCE(__reduce_add_sync, int, add)
TT_REDUCE(__reduce_add_sync, unsigned, add)
TT_REDUCE(__reduce_min_sync, int, smallest)
TT_REDUCE(__reduce_min_sync, unsigned, smallest_unsigned)
TT_REDUCE(__reduce_max_sync, int, largest)
TT_REDUCE(__reduce_max_sync, unsigned, largest_unsigned)
TT_REDUCE(__reduce_and_sync, unsigned, both)
TT_REDUCE(__reduce_or_sync, unsigned, either)
TT_REDUCE(__reduce_xor_sync, unsigned, one)
#undef TT_REDUCE

// ---- order of memory, ends of a thread --------------------------------------------------------------------

TT_INLINE void __threadfence() {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    TT_CHECK(tt_checked_fence(tt_emu::self());)
}
TT_INLINE void __threadfence_block() { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
TT_INLINE void __threadfence_system() { __threadfence(); }
TT_INLINE void __trap(TT_SITE) { tt_emu_trap(tt_emu::worker, tt_emu::self(), TT_HERE); }

#ifdef TT_PROGRAM  // printf is that of the C library
static void tt_program_assert(const char* condition, const char* file, int line, const char* function) {
    if (tt_in_kernel()) tt_emu_assert(tt_emu::worker, tt_emu::self(), condition, tt_emu::Site{file, line});
    fprintf(stderr, "%s:%d: %s: Assertion `%s' failed.\n", file, line, function, condition);
    abort();
}
#else
#define printf(...) tt_emu_printf(__VA_ARGS__)
#ifdef NDEBUG
#define assert(condition) ((void)0)
#else
#define assert(condition) \
    ((condition)          \
         ? (void)0        \
         : tt_emu_assert(tt_emu::worker, tt_emu::self(), #condition, tt_emu::Site{__FILE__, __LINE__}))
#endif
#endif
