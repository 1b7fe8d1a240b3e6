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

namespace tt_emu {
// Values of any size, in parts of 8 bytes.
template <class T>
TT_INLINE T shuffle_any(unsigned mask, T value, int source, Site site) {
    if constexpr (sizeof(T) <= 8) {
        return shuffle(mask, value, source, site);
    } else {
        unsigned long long parts[(sizeof(T) + 7) / 8] = {};
        __builtin_memcpy(parts, &value, sizeof(T));
        for (auto& part : parts) part = shuffle(mask, part, source, site);
        __builtin_memcpy((void*)&value, parts, sizeof(T));
        return value;
    }
}
template <class T>
TT_INLINE T shfl_any(unsigned mask, T value, int source, int width, Site site) {
    return shuffle_any(mask, value, (lane() & ~(width - 1)) | (source & (width - 1)), site);
}
template <class T>
TT_INLINE T shfl_xor_any(unsigned mask, T value, int lanes, int width, Site site) {
    const int source = lane() ^ lanes, last = lane() | (width - 1);
    return shuffle_any(mask, value, source > last || source > 31 ? lane() : source, site);
}
template <class T>
TT_INLINE T shfl_down_any(unsigned mask, T value, unsigned delta, int width, Site site) {
    const bool inside = (lane() & (width - 1)) + delta < (unsigned)width;
    return shuffle_any(mask, value, inside ? lane() + (int)delta : lane(), site);
}
template <class T>
TT_INLINE T shfl_up_any(unsigned mask, T value, unsigned delta, int width, Site site) {
    const bool inside = (unsigned)(lane() & (width - 1)) >= delta;
    return shuffle_any(mask, value, inside ? lane() - (int)delta : lane(), site);
}
}  // namespace tt_emu

// Lanes of a later segment must not be read; those of an earlier one may, as on the hardware.
#define TT_SHUFFLE(NAME, KIND)                                                                        \
    template <class T>                                                                                \
    TT_RETURNS T __##NAME##_sync(unsigned mask, T value, KIND with, int width = 32, TT_SITE) {        \
        static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");                             \
        return tt_emu::copy_of(tt_emu::NAME##_any(mask, value, with, width, TT_HERE));                \
    }
TT_SHUFFLE(shfl, int) TT_SHUFFLE(shfl_xor, int) TT_SHUFFLE(shfl_down, unsigned) TT_SHUFFLE(shfl_up, unsigned)
#undef TT_SHUFFLE

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

// The lanes of the warp that have come here and run no further; see named_barriers.h.
TT_INLINE unsigned __activemask(TT_SITE) {
    tt_emu::Pause pause;
    return tt_emu_activemask(tt_emu::worker, tt_emu::self(), TT_HERE);
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

// ---- time: a count of calls, since the time of the emulator says nothing about a GPU ----------------------

namespace tt_emu {
TT_OWN unsigned long long ticks;
TT_INLINE void yield(Site site) {
    Pause pause;
    tt_emu_yield(worker, self(), site);
}
}  // namespace tt_emu

// Each call counts ticks and lets other threads run, so a thread may wait in a loop for others. In a program
// it counts 64, about what a call takes on a GPU: some wait for a number of ticks.
TT_INLINE long long clock64(TT_SITE) {
    tt_emu::yield(TT_HERE);
#ifdef TT_PROGRAM
    return (long long)(tt_emu::ticks += 64);
#else
    return (long long)++tt_emu::ticks;
#endif
}
TT_INLINE void __nanosleep(unsigned, TT_SITE) { clock64(file, line); }
#ifndef TT_PROGRAM
TT_INLINE long clock(TT_SITE) { return (long)clock64(file, line); }
typedef long clock_t;
#endif

// ---- order of memory, ends of a thread --------------------------------------------------------------------

TT_INLINE void __threadfence() {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    TT_CHECK(tt_checked_fence(tt_emu::self(), 0);)
}
TT_INLINE void __threadfence_block() {
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    TT_CHECK(tt_checked_fence(tt_emu::self(), 1);)
}
TT_INLINE void __threadfence_system() { __threadfence(); }
TT_INLINE void __trap(TT_SITE) { tt_emu_trap(tt_emu::worker, tt_emu::self(), TT_HERE); }

#ifdef TT_PROGRAM  // printf is that of the C library
extern "C" bool tt_in_kernel();
extern "C" void tt_failed_assert(const char*, const char*, int, const char*);
static void tt_program_assert(const char* condition, const char* file, int line, const char* function) {
    if (tt_in_kernel()) tt_emu_assert(tt_emu::worker, tt_emu::self(), condition, tt_emu::Site{file, line});
    tt_failed_assert(condition, file, line, function);
}
#include "host/assert.h"
#else
#define printf(...) tt_emu_printf(__VA_ARGS__)
#define abort() __trap()  // that of the C library would end Python
#ifdef NDEBUG
#define assert(condition) ((void)0)
#else
#define assert(condition) \
    ((condition)          \
         ? (void)0        \
         : tt_emu_assert(tt_emu::worker, tt_emu::self(), #condition, tt_emu::Site{__FILE__, __LINE__}))
#endif
#endif
