// Fibers: stacks, and switching between them.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define TT_ALWAYS_INLINE inline __attribute__((always_inline))

// For functions that return to a kernel after other threads have run. A processor predicts that a `ret` goes
// behind the last call, which was that of another thread, often from the next place; how an indirect jump is
// predicted depends on what came before.
#if defined(__x86_64__) && !defined(__clang__)
asm(".text\n.globl __x86_return_thunk\n.hidden __x86_return_thunk\n.p2align 4\n"
    "__x86_return_thunk:\n\tpopq %rcx\n\tjmp *%rcx");
#define TT_SWITCHES TT_API __attribute__((function_return("thunk-extern")))
#else
#define TT_SWITCHES TT_API
#endif

namespace tt_emu {

// Saves the running stack in *save and continues on another one. Inline and without call and return: all
// fibers have the same call depth, so the processor predicts the returns of the kernels correctly.
// (-mno-red-zone)
#if defined(__x86_64__)
#if defined(__AVX512F__)
#define TT_WIDE_REGISTERS                                                                                \
    , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", \
        "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6", "k7"
#else
#define TT_WIDE_REGISTERS
#endif
static TT_ALWAYS_INLINE void switch_stack(void** save, void* to) {
    asm volatile(
        "pushq %%rbp\n\t"
        "leaq 1f(%%rip),%%rcx\n\t"
        "pushq %%rcx\n\t"
        "movq %%rsp,(%0)\n\t"
        "movq %1,%%rsp\n\t"
        "popq %%rcx\n\t"
        "jmp *%%rcx\n"
        "1:\tpopq %%rbp"
        : "+D"(save), "+S"(to)
        :
        : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc",
          "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
          "xmm12", "xmm13", "xmm14", "xmm15" TT_WIDE_REGISTERS);
}
// A new stack begins in `entry`, as if it had been called: 8 bytes below a multiple of 16.
static inline void* new_stack(char* top, void (*entry)()) {
    void** sp = (void**)top;
    *--sp = nullptr;
    *--sp = (void*)entry;
    return sp;
}
#elif defined(__aarch64__)
__attribute__((visibility("hidden"))) void switch_stack(void** save, void* to) asm("tt_switch_stack");
asm(".text\n.p2align 2\ntt_switch_stack:\n"
    "sub sp,sp,#160\n"
    "stp x19,x20,[sp]\nstp x21,x22,[sp,#16]\nstp x23,x24,[sp,#32]\nstp x25,x26,[sp,#48]\nstp "
    "x27,x28,[sp,#64]\n"
    "stp x29,x30,[sp,#80]\nstp d8,d9,[sp,#96]\nstp d10,d11,[sp,#112]\nstp d12,d13,[sp,#128]\nstp "
    "d14,d15,[sp,#144]\n"
    "mov x9,sp\nstr x9,[x0]\nmov sp,x1\n"
    "ldp x19,x20,[sp]\nldp x21,x22,[sp,#16]\nldp x23,x24,[sp,#32]\nldp x25,x26,[sp,#48]\nldp "
    "x27,x28,[sp,#64]\n"
    "ldp x29,x30,[sp,#80]\nldp d8,d9,[sp,#96]\nldp d10,d11,[sp,#112]\nldp d12,d13,[sp,#128]\nldp "
    "d14,d15,[sp,#144]\n"
    "add sp,sp,#160\nret\n");
static inline void* new_stack(char* top, void (*entry)()) {
    void** sp = (void**)(top - 160);
    for (int i = 0; i < 20; i++) sp[i] = nullptr;
    sp[11] = (void*)entry;  // x30
    return sp;
}
#else
#error "the emulator runs on x86-64 and aarch64"
#endif

// The stacks of one worker, one for each thread of a block. The pages of a stack are allocated on first use;
// then its lowest page becomes a guard page.
class Stacks {
  public:
    static constexpr size_t size = 128 * 1024, most = 1024;

    bool prepare() {
        if (base) return true;
        void* memory =
            mmap(nullptr, size * most, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) return false;
        base = (char*)memory;
        page = (size_t)sysconf(_SC_PAGESIZE);
        reset();
        return true;
    }

    void reset() {
        free_count = 0;
        for (int i = (int)most - 1; i >= 0; i--) free[free_count++] = i;
    }

    bool all_are_free() const { return free_count == (int)most; }

    int take() {
        int stack = free[--free_count];
        if (stack >= touched) {
            touched = stack + 1;
            mprotect(base + size * (size_t)stack, page, PROT_NONE);  // else overflows are not detected
        }
        return stack;
    }

    void give(int stack) { free[free_count++] = stack; }

    // Stack tops have different offsets in their page, else the same line of each stack would map to the same
    // cache set.
    char* top(int stack) const {
        char* end = base + size * (size_t)(stack + 1) - 4096 + (stack % 7) * 64 * 9;
        return (char*)((uintptr_t)end & ~(uintptr_t)63);
    }

    bool holds(const void* address) const {
        return (const char*)address >= base && (const char*)address < base + size * most;
    }

    // Whether an address is in the guard page below a stack.
    bool overflowed(const void* address) const {
        if (!base || (const char*)address < base || (const char*)address >= base + size * most) return false;
        return (size_t)((const char*)address - base) % size < page;
    }

  private:
    char* base = nullptr;
    size_t page = 4096;
    int free[most], free_count = 0, touched = 0;
};

}  // namespace tt_emu
