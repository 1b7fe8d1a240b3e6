// assert in host code and in kernels, where it ends the launch. Like the header of the C library, it may be
// included again, with another NDEBUG.
#include <stdio.h>
#include <stdlib.h>
#undef assert
#ifdef NDEBUG
#define assert(condition) ((void)0)
#else
#define assert(condition) ((condition) ? (void)0 : tt_program_assert(#condition, __FILE__, __LINE__, __func__))
#endif
#ifndef TT_PROGRAM_ASSERT
#define TT_PROGRAM_ASSERT
extern "C" __attribute__((visibility("default"))) bool tt_in_kernel();
static void tt_program_assert(const char* condition, const char* file, int line, const char* function);
#endif
