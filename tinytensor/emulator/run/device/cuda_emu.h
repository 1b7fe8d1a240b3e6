// CUDA C++ as plain C++17: definitions that replace NVRTC's built-in names.
//
// Included before the text of the file, in which two constructs are rewritten: `extern __shared__` (see
// below) and `#pragma unroll`.
#pragma once
#ifdef TT_PROGRAM
#include "host/standard_headers.h"
#endif
#include "run/core.h"

#define TT_EMULATED 1
#define __CUDACC__ 1
#define __CUDA_ARCH__ 800  // compute capability 8.0, whose instructions the emulator has
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0
#define CUDART_VERSION 13000
#define CUDA_VERSION 13000

#ifdef TT_PROGRAM  // a whole program: host code, too; see host/program_launch.h for __shared__
#define __global__ TT_GLOBAL  // programs/translation.py looks for it
#define __constant__
#else
#define __global__ inline  // unused kernels are not compiled
#ifdef TT_CHECKED  // so that its reads are seen
#define __constant__ static __attribute__((used, section("tt_constant")))
#define TT_SHARED_FILE static __attribute__((section("tt_shared")))  // outside of functions (image.h)
#else
#define __constant__ static
#define TT_SHARED_FILE static
#endif
#define __shared__ static __attribute__((abi_tag("shared")))  // its symbol says so (image.h)
#if defined(TT_CHECKED) && !defined(__clang__)  // g++ does not instrument structs that are passed by value
#define __noinline__
#else
#define __noinline__ __attribute__((noinline))
#endif
#endif
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__
#define __managed__

// Accesses of the runtime itself are not accesses of the kernel; the checked build does not instrument them.
#ifdef TT_CHECKED
#ifdef __clang__
#define TT_NOSAN __attribute__((no_sanitize("thread", "undefined", "coverage")))
#else
#define TT_NOSAN __attribute__((no_sanitize("thread,undefined"), no_sanitize_coverage))
#endif
#define TT_PRIVATE __attribute__((section("tt_private")))  // separate from __shared__ variables
#else
#define TT_NOSAN
#define TT_PRIVATE
#endif
#define TT_INLINE TT_NOSAN static inline
// For functions that return a struct, such as a float16: of `h[i] = f(x)` g++ does not instrument the store,
// but that of the copy which such a function returns.
#define TT_RETURNS static inline __attribute__((always_inline))
namespace tt_emu {
template <class T>
TT_RETURNS T copy_of(const T& x) {
    return x;
}
}  // namespace tt_emu

// Of each worker: in a program all workers run the same code, else each has a copy of the unit. Files of one
// program share them, since they call functions of each other.
#ifdef TT_SEVERAL
#define TT_LINKAGE inline __attribute__((visibility("hidden")))
#else
#define TT_LINKAGE static
#endif
#if defined(TT_PROGRAM) && !defined(TT_CHECKED)
#define TT_OWN TT_LINKAGE __thread
#else
#define TT_OWN TT_PRIVATE TT_LINKAGE
#endif

// `extern __shared__ T name[];` becomes this: memory whose end, at the size of the launch, is followed by a
// guard page.
#define TT_DYNAMIC_SHARED(T, name) static T* const& name = reinterpret_cast<T* const&>(tt_emu::dynamic_shared)
#define TT_TYPE(...) __VA_ARGS__  // a type with commas as one argument

// Of the second and later barriers of a line: a name of the file at an address of its own.
#define TT_PLACE ([]() -> const char* { static const char name[] = __FILE__; return name; }())

// `#pragma unroll N` becomes this.
#define TT_UNROLL(N)

typedef decltype(sizeof(0)) size_t;
typedef decltype((char*)0 - (char*)0) ptrdiff_t;

#if defined(TT_CHECKED) && defined(__clang__) && __clang_major__ < 16
// For copies of structs these call memcpy and similar functions, where others call the instrumented functions
// of the core. Tail calls, so that the line of the caller is reported; under other names, since in functions
// that the C library declares without exceptions there are none.
#define TT_WATCHED(NAME, SECOND)                                                                  \
    extern "C" void* __tsan_##NAME(void*, SECOND, size_t);                                        \
    extern "C" void* tt_watched_##NAME(void* to, SECOND x, size_t n) __asm__(#NAME);              \
    extern "C" TT_NOSAN __attribute__((used, weak, visibility("hidden")))                         \
    void* tt_watched_##NAME(void* to, SECOND x, size_t n) {                                       \
        __attribute__((musttail)) return __tsan_##NAME(to, x, n);                                 \
    }
TT_WATCHED(memcpy, const void*)
TT_WATCHED(memmove, const void*)
TT_WATCHED(memset, int)
#undef TT_WATCHED
#endif

#ifndef TT_PROGRAM  // else the headers of the compiler have them
#include "names.h"
#endif
#include "run/device/vector_types.h"

// The emulator sets tt_threadIdx and tt_blockIdx. For kernels they are constants, of which g++ does not
// instrument reads; weak, as `inline` is, so that the compiler assumes no other use of what is set. All
// variables of a section are inline, or none is.
#if defined(TT_CHECKED) && !defined(__clang__)
#ifdef TT_SEVERAL
#define TT_WEAK inline
#else
#define TT_WEAK __attribute__((weak))
#endif
#define TT_INDEX(NAME)                                                                                    \
    TT_PRIVATE TT_WEAK __attribute__((used, visibility("hidden"))) uint3 tt_##NAME __asm__("tt_" #NAME); \
    extern const uint3 NAME __asm__("tt_" #NAME) __attribute__((visibility("hidden")))
TT_INDEX(threadIdx);
TT_INDEX(blockIdx);
#else
#define tt_threadIdx threadIdx
#define tt_blockIdx blockIdx
TT_OWN uint3 threadIdx, blockIdx;
#endif
TT_OWN dim3 blockDim, gridDim;
static constexpr int warpSize = 32;

namespace tt_emu {
// State of the running thread and block. Its address is never exported, so the compiler knows that pointers
// of a kernel do not alias it. Each operation that may run other threads saves and restores threadIdx.
TT_OWN Worker* worker;
TT_OWN unsigned char* dynamic_shared;
TT_OWN bool alone;
#ifdef TT_CHECKED  // other threads may run at any access, which the compiler does not know
TT_OWN volatile bool waited;
TT_OWN unsigned* current;  // for the core: the number of the running thread
#else
TT_OWN bool waited;  // the running thread has been in the scheduler
#endif

TT_INLINE unsigned self() { return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); }

// Makes `operation` a point where other threads may run.
struct Pause {
    uint3 thread;
    TT_NOSAN __attribute__((always_inline)) Pause() : thread(tt_threadIdx) {}
    TT_NOSAN __attribute__((always_inline)) ~Pause() {
        tt_threadIdx = thread;
        waited = true;
    }
};
}  // namespace tt_emu

// Last parameters of operations that the core reports by file and line.
#define TT_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define TT_HERE \
    tt_emu::Site { file, line }

#include "run/device/warp.h"
#include "run/device/half_bits.h"
#include "run/device/maths.h"
#include "run/device/intrinsics.h"
#include "run/device/half.h"
#include "run/device/half_functions.h"
#include "run/device/atomics.h"
#include "run/device/device_memory.h"
#include "run/device/tensor_cores.h"
#include "run/device/hopper.h"
#include "run/device/ptx.h"
#include "run/device/textures.h"
#include "run/device/kernel_wrapper.h"

#include "library.h"
