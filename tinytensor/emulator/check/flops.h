// Execution counts of basic blocks, and operations of tensor cores, which the host converts to floating-point
// operations (check/flops.py). The compiler calls __sanitizer_cov_trace_pc at the start of each basic
// block.
#pragma once
#include "check/counters.h"

namespace tt_emu {

// Host code of a program calls the functions that the compiler inserts, too, maybe in another thread than
// that which runs a kernel. In Python the static TLS block has no room for this.
#ifdef TT_HOST_THREADS
#define TT_OF_THREAD __thread __attribute__((tls_model("initial-exec")))
#else
#define TT_OF_THREAD
#endif

static TT_OF_THREAD Worker* seen_worker;  // of the running block; null in other threads

struct Passed {
    const char* code;  // the call site; the running block is counted in its Spot
    uint64_t counted;  // passes in earlier blocks
};
static List<Passed> passed;

struct Products {
    Matrix kind;
    uint16_t place;
    uint64_t running, counted;  // operations
};
static List<Products> products;

// `each`: operations of one thread.
static void count_product(Matrix kind, Site site, unsigned each) {
    if (!counting) return;
    const uint16_t place = number_of({nullptr, site});
    for (Products& p : products)
        if (p.kind == kind && p.place == place) {
            p.running += each;
            return;
        }
    products.add({kind, place, each, 0});
}

// At the end of a block that was counted completely.
static void keep_work() {
    for (Passed& p : passed) {
        Spot* const spot = spot_of(p.code);
        p.counted += spot->passes;
        spot->passes = 0;
    }
    for (Products& p : products) {
        p.counted += p.running;
        p.running = 0;
    }
}

static void forget_work() {
    for (const Passed& p : passed) spot_of(p.code)->is_passed = false, spot_of(p.code)->passes = 0;
    passed.clear();
    products.clear();
}

static void prepare_work() {
    const size_t size = (size_t)(image.end - image.start);
    if (size > spots_size) {
        if (spots) munmap((void*)spots, spots_size * sizeof(Spot));
        spots = (Spot*)pages(size * sizeof(Spot));
        spots_size = spots ? size : 0;
    }
    spots_start = image.start;
}

static __attribute__((noinline)) void enter_other_block(Worker& w, const char* code) {
    Spot* const spot = spot_of(code);
    if (!spot) return;
    if (!spot->is_passed || !enter_known_block(w.current, spot)) {
        Whole whole(w);
        enter_block(w.current, spot, code);
        if (!spot->is_passed) passed.add({code, 0});
        spot->is_passed = true;
    }
    spot->passes++;
    recent = {code, w.current};
}

}  // namespace tt_emu

TT_API void __sanitizer_cov_trace_pc() {
    using namespace tt_emu;
    if (!counting || !seen_worker) return;
    const char* code = (const char*)__builtin_return_address(0);
    const bool again = code == recent.code && seen_worker->current == recent.thread;  // a loop of one block
    if (again) spot_of(code)->passes++;
    else enter_other_block(*seen_worker, code);
}

// Lines of "code, count", then of "kind, location, operations" of tensor cores.
TT_API size_t tt_checked_work(char* to, size_t room) {
    using namespace tt_emu;
    static const char* const kinds[] = {"float16", "bfloat16", "tf32"};
    Text text = {to, room, 0};
    for (const Passed& p : passed)
        text.add("%tx\t%llu\n", p.code - image.start, (unsigned long long)p.counted);
    for (const Products& p : products) {
        text.add("%s", kinds[(int)p.kind]);
        print_place(text, places[p.place]);
        text.add("\t%llu\n", (unsigned long long)p.counted);
    }
    return text.used;
}
