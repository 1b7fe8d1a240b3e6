// assert in host code and, behind the emulator's names, in kernels, where it ends the launch. Like the
// header of the C library, it may be included again, with another NDEBUG.
#undef assert
extern "C" __attribute__((visibility("default"))) bool tt_in_kernel();
extern "C" __attribute__((visibility("default"))) void tt_failed_assert(const char*, const char*, int,
                                                                        const char*);
#if defined(NDEBUG)
#define assert(condition) ((void)0)
#elif defined(TT_EMULATED)
#define assert(condition) \
    ((condition) ? (void)0 : tt_program_assert(#condition, __FILE__, __LINE__, __func__))
#else
#define assert(condition) \
    ((condition) ? (void)0 : tt_failed_assert(#condition, __FILE__, __LINE__, __func__))
#endif
