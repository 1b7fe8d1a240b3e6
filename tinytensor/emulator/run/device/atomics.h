// Atomic operations, for the types that CUDA supports, and loads and stores with cache hints.
//
// If only one worker runs the launch, a plain read and write suffices, and takes a fifth of the time.
#pragma once

namespace tt_emu {
#ifdef TT_CHECKED  // the core sees each access
TT_INLINE void poll(const void*, Site) {}
#else
TT_OWN const void* polled;
TT_OWN unsigned polls;  // operations in a row on that address

// A thread that waits for another one of its block, by atomic operations, lets it run.
TT_INLINE void poll(const void* at, Site site) {
    if (at != polled) polled = at, polls = 0;
    if (++polls < 1024) return;
    polls = 1000;
    Pause pause;
    tt_emu_poll(worker, self(), at, site);
}
#endif

template <class U, class T, class F>
TT_INLINE T replace(T* at, F next, Site site) {
    static_assert(sizeof(U) == sizeof(T), "of one size");
    poll(at, site);
    if (alone) {
        T before = *at;
        *at = next(before);
        return before;
    }
    U before = __atomic_load_n((U*)at, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n((U*)at, &before, bits<U>(next(bits<T>(before))), true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return bits<T>(before);
}
}  // namespace tt_emu

#define TT_OPERATION(WAY, NAME, T, U, RESULT)                         \
    TT_INLINE T NAME(T* at, T value, TT_SITE) {                       \
        TT_CHECK(tt_checked_access(at, sizeof(T), WAY, TT_HERE);)     \
        return tt_emu::replace<U>(at, [=](T old) { return RESULT; }, TT_HERE); \
    }
#define TT_ATOMIC(...) TT_OPERATION(2, __VA_ARGS__)
#define TT_INTEGERS(NAME, RESULT)               \
    TT_ATOMIC(NAME, int, unsigned, RESULT)      \
    TT_ATOMIC(NAME, unsigned, unsigned, RESULT) \
    TT_ATOMIC(NAME, unsigned long long, unsigned long long, RESULT)

TT_INTEGERS(atomicAdd, (old + value))
TT_ATOMIC(atomicAdd, float, unsigned, old + value)
TT_ATOMIC(atomicAdd, double, unsigned long long, old + value)
TT_ATOMIC(atomicAdd, __half, unsigned short, __half(float(old) + float(value)))
TT_ATOMIC(atomicAdd, __nv_bfloat16, unsigned short, __nv_bfloat16(float(old) + float(value)))
TT_ATOMIC(atomicSub, int, unsigned, old - value)
TT_ATOMIC(atomicSub, unsigned, unsigned, old - value)
TT_OPERATION(9, atomicExch, int, unsigned, value)
TT_OPERATION(9, atomicExch, unsigned, unsigned, value)
TT_OPERATION(9, atomicExch, unsigned long long, unsigned long long, value)
TT_OPERATION(9, atomicExch, float, unsigned, value)
TT_INTEGERS(atomicMin, (old < value ? old : value))
TT_INTEGERS(atomicMax, (old > value ? old : value))
TT_ATOMIC(atomicMin, long long, unsigned long long, (old < value ? old : value))
TT_ATOMIC(atomicMax, long long, unsigned long long, (old > value ? old : value))
TT_INTEGERS(atomicAnd, (old & value))
TT_INTEGERS(atomicOr, (old | value))
TT_INTEGERS(atomicXor, (old ^ value))
TT_ATOMIC(atomicInc, unsigned, unsigned, (old >= value ? 0 : old + 1))
TT_ATOMIC(atomicDec, unsigned, unsigned, (old == 0 || old > value ? value : old - 1))
#undef TT_ATOMIC
#undef TT_OPERATION
#undef TT_INTEGERS

#define TT_EXCHANGE(T, U)                                                                    \
    TT_INLINE T atomicCAS(T* at, T expected, T value, TT_SITE) {                             \
        TT_CHECK(tt_checked_access(at, sizeof(T), 2, TT_HERE);)                              \
        return tt_emu::replace<U>(at, [=](T old) { return old == expected ? value : old; }, TT_HERE); \
    }
TT_EXCHANGE(int, unsigned)
TT_EXCHANGE(unsigned, unsigned)
TT_EXCHANGE(unsigned long long, unsigned long long)
TT_EXCHANGE(unsigned short, unsigned short)
#undef TT_EXCHANGE

// Each half of a pair is added separately, as on the hardware.
TT_INLINE __half2 atomicAdd(__half2* at, __half2 value, TT_SITE) {
    return {atomicAdd(&at->x, value.x, file, line), atomicAdd(&at->y, value.y, file, line)};
}
TT_INLINE __nv_bfloat162 atomicAdd(__nv_bfloat162* at, __nv_bfloat162 value, TT_SITE) {
    return {atomicAdd(&at->x, value.x, file, line), atomicAdd(&at->y, value.y, file, line)};
}

// Atomic for the block, or for the whole system: at least as much as asked.
#define TT_SCOPES(NAME)                                                                              \
    template <class T, class... V> TT_INLINE auto NAME##_block(T* at, V... given) { return NAME(at,  \
            (T)given...); }                                                                          \
    template <class T, class... V> TT_INLINE auto NAME##_system(T* at, V... given) { return NAME(at, \
            (T)given...); }
TT_SCOPES(atomicAdd) TT_SCOPES(atomicSub) TT_SCOPES(atomicExch) TT_SCOPES(atomicMin) TT_SCOPES(atomicMax)
TT_SCOPES(atomicAnd) TT_SCOPES(atomicOr) TT_SCOPES(atomicXor) TT_SCOPES(atomicInc) TT_SCOPES(atomicDec)
TT_SCOPES(atomicCAS)
#undef TT_SCOPES

#define TT_LOAD(NAME) \
    template <class T> static inline T NAME(const T* at) { return *at; }
#define TT_STORE(NAME) \
    template <class T> static inline void NAME(T* at, T value) { *at = value; }
TT_LOAD(__ldg) TT_LOAD(__ldca) TT_LOAD(__ldcg) TT_LOAD(__ldcs) TT_LOAD(__ldlu) TT_LOAD(__ldcv)
TT_STORE(__stcs) TT_STORE(__stcg) TT_STORE(__stwb) TT_STORE(__stwt)
#undef TT_LOAD
#undef TT_STORE
