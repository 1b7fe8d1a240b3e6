// Macros of translated programs, read with the text that was preprocessed and then translated.
#pragma once

#ifdef TT_CHECKED
// One worker. Shared variables are known by a part of their symbols, and by a section.
#define TT_SHARED static __attribute__((abi_tag("shared")))
#define TT_SHARED_FILE static __attribute__((section("tt_shared")))
#else
#define TT_SHARED thread_local __attribute__((abi_tag("shared")))  // each worker has its own
#define TT_SHARED_FILE thread_local
#endif

// `extern __shared__ T name[];` in a function, and outside of one.
#define TT_DYNAMIC(NAME, ...) __VA_ARGS__* const NAME = (__VA_ARGS__*)tt_emu::dynamic_shared
#define TT_DYNAMIC_FILE(NAME, ...)                                                     \
    static const struct {                                                              \
        operator __VA_ARGS__*() const { return (__VA_ARGS__*)tt_emu::dynamic_shared; } \
    } NAME = {}

#define TT_LAUNCH(KERNEL, ...) \
    tt_program::Launch({TT_TEXT KERNEL, __builtin_FILE(), __builtin_LINE()}, __VA_ARGS__)
// A kernel as its address; graphs and launches by address find the types of its parameters. A variable may
// have the name of a kernel: it stays what it is.
namespace tt_program {
template <class T>
static inline T address_of(T variable, const char*) {
    return variable;
}
template <class... P>
static inline void* address_of(void (*kernel)(P...), const char* name);  // program_launch.h
}  // namespace tt_program
#define TT_KERNEL(...) tt_program::address_of(__VA_ARGS__, #__VA_ARGS__)

// An argument that is written as 0: a null pointer, or a number.
struct tt_zero {
    operator int() const { return 0; }
    template <class T>
    operator T*() const {
        return nullptr;
    }
};
#define TT_GLOBAL __attribute__((noinline))  // so that a fault is on a line of the kernel
#define TT_TEXT(...) #__VA_ARGS__
// Place of the second and later barriers of a line: a name of the file at an address of its own.
#define TT_PLACE ([]() -> const char* { static const char name[] = __FILE__; return name; }())
