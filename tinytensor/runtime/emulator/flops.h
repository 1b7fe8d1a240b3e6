// How often each piece of code ran, and what tensor cores were asked for: the host makes floating-point
// operations of it (check_flops.py). The compiler calls __sanitizer_cov_trace_pc at the start of each basic
// block.
#pragma once
#include "counters.h"

namespace tt_emu {

static List<const char*> passed;  // where it was called from
static uint64_t* passes;          // how often, by the distance from the start of the unit
static size_t passes_size;

struct Products {
    Matrix kind;
    uint16_t place;
    uint64_t operations;
};
static List<Products> products;

static void count_product(Matrix kind, Site site) {
    if (!counting) return;
    const uint16_t place = number_of({nullptr, site});
    const unsigned each = (kind == Matrix::tf32 ? 2 * 16 * 8 * 8 : 2 * 16 * 8 * 16) / LANES;
    for (Products& p : products)
        if (p.kind == kind && p.place == place) {
            p.operations += each;
            return;
        }
    products.add({kind, place, each});
}

static void forget_work() {
    for (const char* code : passed) passes[code - image.start] = 0;
    passed.clear();
    products.clear();
}

static void prepare_work() {
    const size_t size = (size_t)(image.end - image.start);
    if (size <= passes_size) return;
    if (passes) munmap((void*)passes, passes_size * sizeof(uint64_t));
    passes = (uint64_t*)pages(size * sizeof(uint64_t));
    passes_size = passes ? size : 0;
}

}  // namespace tt_emu

TT_API void __sanitizer_cov_trace_pc() {
    using namespace tt_emu;
    if (!counting) return;
    const char* code = (const char*)__builtin_return_address(0);
    if (code < image.start || code >= image.start + passes_size) return;
    if (passes[code - image.start]++ == 0) passed.add(code);
}

// Lines of "code, how often", then of "kind, place, operations" of tensor cores.
TT_API size_t tt_checked_work(char* to, size_t room) {
    using namespace tt_emu;
    static const char* const kinds[] = {"float16", "bfloat16", "tf32"};
    Text text = {to, room, 0};
    for (const char* code : passed)
        text.add("%tx\t%llu\n", code - image.start, (unsigned long long)passes[code - image.start]);
    for (const Products& p : products) {
        text.add("%s", kinds[(int)p.kind]);
        print_place(text, places[p.place]);
        text.add("\t%llu\n", (unsigned long long)p.operations);
    }
    return text.used;
}
