// What the program calls for malloc, free, new and delete (build.py names them for the linker). In a kernel
// they are those of the device.
#pragma once

TT_HOST void* __wrap_malloc(size_t n) { return tt_in_kernel() ? tt_emu_malloc(n) : malloc(n); }
TT_HOST void* __wrap__Znwm(size_t n) { return tt_in_kernel() ? tt_emu_malloc(n) : operator new(n); }
TT_HOST void* __wrap__Znam(size_t n) { return tt_in_kernel() ? tt_emu_malloc(n) : operator new[](n); }
#ifdef TT_CHECKED
#define TT_FREE(P) tt_emu::release(*tt_emu::here, P, TT_CALLER)
#else
#define TT_FREE(P) tt_emu_free(P)
#endif
#define TT_RELEASE(NAME, PARAMETERS, RELEASE)                                                \
    TT_HOST void __wrap_##NAME PARAMETERS {                                                  \
        if (!tt_in_kernel()) return RELEASE;                                                 \
        tt_emu::Whole whole(*tt_emu::here);                                                  \
        TT_FREE(p);                                                                          \
    }
TT_RELEASE(free, (void* p), free(p))
TT_RELEASE(_ZdlPv, (void* p), operator delete(p))
TT_RELEASE(_ZdaPv, (void* p), operator delete[](p))
TT_RELEASE(_ZdlPvm, (void* p, size_t), operator delete(p))
TT_RELEASE(_ZdaPvm, (void* p, size_t), operator delete[](p))
#undef TT_RELEASE
#undef TT_FREE
