// Execution counts of basic blocks, and operations of tensor cores, which the host converts to floating-point
// operations (checked/flops.py). The compiler calls __sanitizer_cov_trace_pc at the start of each basic
// block.
#pragma once
#include "counters.h"

namespace tt_emu {

static Worker* seen_worker;  // of the running block

struct Passes {
    uint64_t running, counted;  // in the running block, in earlier blocks
    bool is_known;
};
static List<const char*> passed;  // call sites
static Passes* passes;            // counts, by offset from the start of the unit
static size_t passes_size;

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
    for (const char* code : passed) {
        Passes& p = passes[code - image.start];
        p.counted += p.running;
        p.running = 0;
    }
    for (Products& p : products) {
        p.counted += p.running;
        p.running = 0;
    }
}

static void forget_work() {
    for (const char* code : passed) passes[code - image.start] = {};
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
    if (size <= passes_size) return;
    if (passes) munmap((void*)passes, passes_size * sizeof(Passes));
    passes = (Passes*)pages(size * sizeof(Passes));
    passes_size = passes ? size : 0;
}

static __attribute__((noinline)) void enter_other_block(Worker& w, const char* code) {
    if (!enter_known_block(w.current, code)) {
        Whole whole(w);
        enter_block(w.current, code);
    }
    if (code < image.start || code >= image.start + passes_size) return;
    Passes& p = passes[code - image.start];
    p.running++;
    recent = {code, w.current};
    if (p.is_known) return;
    Whole whole(w);
    passed.add(code);
    p.is_known = true;
}

}  // namespace tt_emu

TT_API void __sanitizer_cov_trace_pc() {
    using namespace tt_emu;
    if (!counting) return;
    const char* code = (const char*)__builtin_return_address(0);
    const bool again = code == recent.code && seen_worker->current == recent.thread;  // a loop of one block
    if (again) passes[code - image.start].running++;
    else enter_other_block(*seen_worker, code);
}

// Lines of "code, count", then of "kind, location, operations" of tensor cores.
TT_API size_t tt_checked_work(char* to, size_t room) {
    using namespace tt_emu;
    static const char* const kinds[] = {"float16", "bfloat16", "tf32"};
    Text text = {to, room, 0};
    for (const char* code : passed)
        text.add("%tx\t%llu\n", code - image.start, (unsigned long long)passes[code - image.start].counted);
    for (const Products& p : products) {
        text.add("%s", kinds[(int)p.kind]);
        print_place(text, places[p.place]);
        text.add("\t%llu\n", (unsigned long long)p.counted);
    }
    return text.used;
}
