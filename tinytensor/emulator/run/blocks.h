// Executes the blocks of a launch on one worker, and reports failures.
#pragma once
#include <string.h>

#include "run/faults.h"

namespace tt_emu {

constexpr unsigned MOST_SHARED = 232448;  // bytes, as on compute capability 9.0: 227 KiB
enum Result : int { DONE, REFUSED, FAULT, FAILED, INTERRUPTED };

struct Loaded;
// Header of a packed launch; the arguments follow.
struct Packed {
    unsigned grid[3], block[3], shared;
    unsigned apart;  // whether its blocks may not wait for each other: a program's launch, not cooperative
};

struct Launch {
    Loaded* kernel;
    const Packed* packed;
    uint64_t blocks, next, chunk;
    unsigned workers;
    bool stop;
};

static uint64_t order = 0, seed_of_switches = 0;
static bool printed;

static bool prepare(Worker& w) {
    if (!w.stacks.prepare()) return false;
    if (w.shared_end) return true;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (MOST_SHARED + page - 1) / page * page;
    char* memory = (char*)mmap(nullptr, size + page, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    mprotect(memory + size, page, PROT_NONE);
    w.shared_end = (unsigned char*)memory + size;
    return true;
}

static void prepare_launch(Worker& w, const Launch& launch, const Kernel& kernel) {
    const Packed& packed = *launch.packed;
    for (int i = 0; i < 3; i++) w.job.grid[i] = packed.grid[i], w.job.block[i] = packed.block[i];
    w.job.worker = &w;
    w.job.alone = launch.workers == 1;
    w.job.arguments = (const unsigned char*)(launch.packed + 1);
    unsigned shared = (packed.shared + 15) / 16 * 16;
    w.job.dynamic_shared = w.shared_end - shared;
    memset(w.job.dynamic_shared, 0xff, shared);  // uninitialized, as on the GPU: NaN, or -1
    w.run = kernel.run;
    w.exchange = kernel.exchange;
    w.order = order;
    w.random = (order + seed_of_switches) * 0x9e3779b97f4a7c15ull | 1;
    w.single = false;
    w.apart = packed.apart;
    TT_CHECK(w.job.current = &w.current;)
    w.threads = packed.block[0] * packed.block[1] * packed.block[2];
    w.warps = (w.threads + LANES - 1) / LANES;
    w.failed = false;
    w.fault = 0;
}

// Other orders run blocks backwards, or from a random start with a random step that visits each block once.
static uint64_t block_in_order(const Launch& launch, uint64_t i) {
    uint64_t n = launch.blocks;
    if (order == 0) return i;
    if (order == 1) return n - 1 - i;
    uint64_t step = order % n | 1;
    for (;; step += 2) {
        uint64_t a = step, b = n;
        while (b) {
            uint64_t rest = a % b;
            a = b, b = rest;
        }
        if (a == 1) break;
    }
    return (uint64_t)(((unsigned __int128)i * step + order) % n);
}

static void run_index(Worker& w, const Launch& launch, uint64_t i) {
    const unsigned* grid = launch.packed->grid;
    uint64_t block = block_in_order(launch, i);
    w.job.index[0] = (unsigned)(block % grid[0]);
    w.job.index[1] = (unsigned)(block / grid[0] % grid[1]);
    w.job.index[2] = (unsigned)(block / grid[0] / grid[1]);
    run_block(w);
}

static void run_blocks(Worker& w, Launch& launch) {
    while (!__atomic_load_n(&launch.stop, __ATOMIC_RELAXED)) {
        if (__atomic_load_n(&interrupted, __ATOMIC_RELAXED)) return;
        uint64_t from = __atomic_fetch_add(&launch.next, launch.chunk, __ATOMIC_RELAXED);
        if (from >= launch.blocks) return;
        uint64_t to = launch.blocks - from < launch.chunk ? launch.blocks : from + launch.chunk;
        for (uint64_t i = from; i < to; i++) {
            run_index(w, launch, i);
            if (w.failed) {
                __atomic_store_n(&launch.stop, true, __ATOMIC_RELAXED);
                return;
            }
        }
    }
}

// The faulting thread is known only if it ran alone. Results are lost anyway: rerun the block, with a run for
// each thread.
static int describe_failure(Worker& w) {
    const unsigned* i = w.job.index;
    if (!w.fault) {
        snprintf(report(), REPORT, "%s, in block (%u, %u, %u)", w.message, i[0], i[1], i[2]);
        report_address = nullptr;
        return FAILED;
    }
    bool sure = !w.plain || w.last == w.first + 1 TT_CHECK(|| true);
    if (!sure) {
        Worker* me = here;
        unsigned first = w.first, last = w.last;
        const void* address = w.fault_address;
        int fault = w.fault, code = w.fault_code;
        here = &w;
        w.single = true;
        w.failed = false;
        w.fault = 0;
        run_block(w);
        here = me;
        sure = w.fault != 0;
        if (!sure)
            w.first = first, w.last = last, w.fault_address = address, w.fault = fault, w.fault_code = code;
    }
    describe_fault(w, sure);
    return FAULT;
}

// Converts to double without flushing subnormals, independent of the modes set by other libraries.
#if defined(__x86_64__)
static unsigned standard_arithmetic() {
    unsigned before = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(0x1f80);
    return before;
}
static void former_arithmetic(unsigned before) { __builtin_ia32_ldmxcsr(before); }
#else
static uint64_t standard_arithmetic() {
    uint64_t before;
    asm volatile("mrs %0, fpcr" : "=r"(before));
    asm volatile("msr fpcr, %0" : : "r"((uint64_t)0));
    return before;
}
static void former_arithmetic(uint64_t before) { asm volatile("msr fpcr, %0" : : "r"(before)); }
#endif

}  // namespace tt_emu
