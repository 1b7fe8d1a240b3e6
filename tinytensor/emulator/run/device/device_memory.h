// Functions of memory that kernels call: copies of bytes, allocation, addresses of shared memory, hints.
#pragma once

#ifndef TT_PROGRAM
extern "C" {
#ifndef TT_CHECKED
void* memcpy(void*, const void*, size_t);
void* memmove(void*, const void*, size_t);
void* memset(void*, int, size_t);
#endif
int memcmp(const void*, const void*, size_t);
size_t strlen(const char*);
}
#endif

#if defined(TT_CHECKED) && !defined(TT_PROGRAM)  // byte by byte, so that each access is checked
static inline void* tt_memcpy(void* to, const void* from, size_t n) {
    for (size_t i = 0; i < n; i++) ((volatile char*)to)[i] = ((const volatile char*)from)[i];
    return to;
}
static inline void* tt_memmove(void* to, const void* from, size_t n) {
    if ((char*)to <= (const char*)from) return tt_memcpy(to, from, n);
    for (size_t i = n; i-- > 0;) ((volatile char*)to)[i] = ((const volatile char*)from)[i];
    return to;
}
static inline void* tt_memset(void* to, int value, size_t n) {
    for (size_t i = 0; i < n; i++) ((volatile char*)to)[i] = (char)value;
    return to;
}
#define memcpy tt_memcpy
#define memmove tt_memmove
#define memset tt_memset
#endif

#ifndef TT_PROGRAM
#define malloc tt_emu_malloc
#define free tt_emu_free
inline void* operator new(size_t, void* place) noexcept { return place; }
inline void* operator new[](size_t, void* place) noexcept { return place; }
void* operator new(size_t size) { return malloc(size); }
void* operator new[](size_t size) { return malloc(size); }
void operator delete(void* at) noexcept { free(at); }
void operator delete[](void* at) noexcept { free(at); }
void operator delete(void* at, size_t) noexcept { free(at); }
void operator delete[](void* at, size_t) noexcept { free(at); }
#endif

namespace tt_emu {
// Addresses of shared memory in 32 bits, as in PTX: those of dynamic memory count from a fixed place below
// its
// end, those of variables from a page of this unit, a GiB higher. The lower bits are those of the address.
constexpr unsigned STATIC_SPACE = 1u << 30;
TT_PRIVATE TT_LINKAGE char static_anchor;
TT_INLINE char* static_start() { return (char*)((unsigned long long)&static_anchor & ~4095ull) - (1 << 28); }

TT_INLINE unsigned shared_address(const void* p) {
    const long long offset = (const char*)p - static_start();
    return 0 <= offset && offset < 1 << 29 ? STATIC_SPACE + (unsigned)offset
                                           : tt_emu_shared_address(worker, p);
}
TT_INLINE char* shared_pointer(unsigned address) {
    if (address >= STATIC_SPACE) return static_start() + (address - STATIC_SPACE);
    return (char*)dynamic_shared + (int)(address - tt_emu_shared_address(worker, dynamic_shared));
}
}  // namespace tt_emu

TT_INLINE size_t __cvta_generic_to_shared(const void* p) { return tt_emu::shared_address(p); }
TT_INLINE void* __cvta_shared_to_generic(size_t p) { return tt_emu::shared_pointer((unsigned)p); }
TT_INLINE size_t __cvta_generic_to_global(const void* p) { return (size_t)p; }
TT_INLINE void* __cvta_global_to_generic(size_t p) { return (void*)p; }
TT_INLINE unsigned __isShared(const void* p) {
    const size_t at = (size_t)p, dynamic = (size_t)tt_emu::dynamic_shared,
                 start = (size_t)tt_emu::static_start();
    return (at >= dynamic && at < dynamic + (256 << 10)) || (at >= start && at < start + (1 << 29));
}
TT_INLINE unsigned __isGlobal(const void* p) { return !__isShared(p); }

#ifndef __clang__
#define __builtin_assume(condition) ((void)0)
#endif
TT_INLINE void __prefetch_global_l1(const void*) {}
TT_INLINE void __prefetch_global_l2(const void*) {}
