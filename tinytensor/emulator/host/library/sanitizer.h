// Functions that the compiler calls in checked host code, in place of atomic operations and others. They do
// what the plain code does; accesses of kernels are in accesses.h.
#pragma once

#define TT_CHANGE_HOST(BITS, T, NAME)                                 \
    TT_HOST T __tsan_atomic##BITS##_##NAME(volatile T* a, T v, int) { \
        return __atomic_##NAME(a, v, 5);                              \
    }
#define TT_ATOMIC_HOST(BITS, T)                                                                      \
    TT_HOST T __tsan_atomic##BITS##_load(const volatile T* a, int) { return __atomic_load_n(a, 5); } \
    TT_HOST void __tsan_atomic##BITS##_store(volatile T* a, T v, int) { __atomic_store_n(a, v, 5); } \
    TT_HOST T __tsan_atomic##BITS##_exchange(volatile T* a, T v, int) {                              \
        return __atomic_exchange_n(a, v, 5);                                                         \
    }                                                                                                \
    TT_CHANGE_HOST(BITS, T, fetch_add) TT_CHANGE_HOST(BITS, T, fetch_sub)                            \
    TT_CHANGE_HOST(BITS, T, fetch_and) TT_CHANGE_HOST(BITS, T, fetch_or)                             \
    TT_CHANGE_HOST(BITS, T, fetch_xor) TT_CHANGE_HOST(BITS, T, fetch_nand)                           \
    TT_HOST int __tsan_atomic##BITS##_compare_exchange_strong(volatile T* a, T* e, T v, int, int) {  \
        return __atomic_compare_exchange_n(a, e, v, false, 5, 5);                                    \
    }                                                                                                \
    TT_HOST int __tsan_atomic##BITS##_compare_exchange_weak(volatile T* a, T* e, T v, int, int) {    \
        return __atomic_compare_exchange_n(a, e, v, true, 5, 5);                                     \
    }                                                                                                \
    TT_HOST T __tsan_atomic##BITS##_compare_exchange_val(volatile T* a, T e, T v, int, int) {        \
        __atomic_compare_exchange_n(a, &e, v, false, 5, 5);                                          \
        return e;                                                                                    \
    }
TT_ATOMIC_HOST(8, unsigned char)
TT_ATOMIC_HOST(16, unsigned short)
TT_ATOMIC_HOST(32, unsigned)
TT_ATOMIC_HOST(64, unsigned long long)
#undef TT_ATOMIC_HOST
#undef TT_CHANGE_HOST
TT_HOST void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(5); }
TT_HOST void __tsan_atomic_signal_fence(int) { __atomic_signal_fence(5); }
