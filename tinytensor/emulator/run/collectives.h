// Warp operations: each lane publishes its operand, which is on its own stack, and waits; the last one to
// arrive computes the results of all.
#pragma once
#include <string.h>

#include "run/scheduler.h"
#define TT_INLINE static inline
#include "run/device/half_bits.h"

namespace tt_emu {

// What a shuffle gives of an inactive lane, whose value is undefined: NaN as half, bfloat16, float or double,
// and arithmetic keeps it.
constexpr unsigned long long INACTIVE = 0xfff9fff9fff9fff9;

struct Shuffle {
    unsigned long long bits, result;
    int source;
};
struct Vote {
    int predicate;
    unsigned result;
};
struct Match {
    unsigned long long bits;
    unsigned result;
};
struct Reduction {
    Reduce operation;
    unsigned value, result;
};
struct LoadMatrix {
    const void* row;
    unsigned* registers;
    int count;
    bool transposed;
};
struct Product {
    Matrix kind;
    float* d;
    const unsigned *a, *b;
    const float* c;
};

struct Together {
    void (*f)(void**);
    void* operand;
};
struct WarpProduct {
    const Matrices* matrices;
    unsigned thread;
};

template <class Operand, class F>
static void each(unsigned lanes, Wait* wait, F f) {
    for (; lanes; lanes &= lanes - 1) f(lowest(lanes), *(Operand*)wait[lowest(lanes)].operand);
}

static void shuffle(unsigned lanes, Wait* wait) {
    each<Shuffle>(lanes, wait, [=](unsigned, Shuffle& lane) {
        bool there = lanes >> lane.source & 1;
        lane.result = there ? ((Shuffle*)wait[lane.source].operand)->bits : INACTIVE;
    });
}

static void vote(unsigned lanes, Wait* wait) {
    unsigned result = 0;
    each<Vote>(lanes, wait, [&](unsigned i, Vote& lane) { result |= lane.predicate ? 1u << i : 0; });
    each<Vote>(lanes, wait, [=](unsigned, Vote& lane) { lane.result = result; });
}

static void match(unsigned lanes, Wait* wait) {
    each<Match>(lanes, wait, [=](unsigned, Match& lane) {
        unsigned long long bits = lane.bits;
        unsigned result = 0;
        each<Match>(lanes, wait,
                    [&](unsigned i, Match& other) { result |= other.bits == bits ? 1u << i : 0; });
        lane.result = result;
    });
}

static unsigned combine(Reduce operation, unsigned x, unsigned y) {
    switch (operation) {
        case Reduce::add: return x + y;
        case Reduce::smallest: return (int)x < (int)y ? x : y;
        case Reduce::largest: return (int)x > (int)y ? x : y;
        case Reduce::smallest_unsigned: return x < y ? x : y;
        case Reduce::largest_unsigned: return x > y ? x : y;
        case Reduce::both: return x & y;
        case Reduce::either: return x | y;
        case Reduce::one: return x ^ y;
    }
    __builtin_unreachable();
}

static void reduce(unsigned lanes, Wait* wait) {
    unsigned start = lowest(lanes), result = ((Reduction*)wait[start].operand)->value;
    each<Reduction>(lanes & (lanes - 1), wait,
                    [&](unsigned, Reduction& lane) { result = combine(lane.operation, result, lane.value); });
    each<Reduction>(lanes, wait, [=](unsigned, Reduction& lane) { lane.result = result; });
}

// ---- tensor cores: the lane layouts of the PTX ISA --------------------------------------------------------

// Lane l holds elements 2 (l % 4) and the next of row l / 4 of each matrix; transposed, of column l / 4.
static void load_matrix(unsigned lanes, Wait* wait) {
    each<LoadMatrix>(lanes, wait, [=](unsigned l, LoadMatrix& lane) {
        for (int j = 0; j < lane.count; j++) {
            unsigned short pair[2];
            for (unsigned h = 0; h < 2; h++) {
                unsigned along = l % 4 * 2 + h, across = l / 4;
                unsigned row = lane.transposed ? along : across, column = lane.transposed ? across : along;
                pair[h] =
                    ((const unsigned short*)((LoadMatrix*)wait[(unsigned)j * 8 + row].operand)->row)[column];
            }
            memcpy(&lane.registers[j], pair, sizeof pair);
        }
    });
}

static float element(Matrix kind, unsigned both, int which) {
    unsigned short bits = (unsigned short)(which ? both >> 16 : both);
    return kind == Matrix::half ? half_value(bits) : bfloat16_value(bits);
}

static float tf32(unsigned bits_) { return bits<float>(bits_ & 0xffffe000u); }

static void multiply(unsigned lanes, Wait* wait) {
    float a[16][16], b[16][8], c[16][8];
    Matrix kind = ((Product*)wait[0].operand)->kind;
    const int depth = kind == Matrix::tf32 ? 8 : 16;
    each<Product>(lanes, wait, [&](unsigned l, Product& lane) {
        unsigned g = l / 4, t = l % 4;
        for (unsigned i = 0; i < 4; i++) {
            unsigned row = g + i % 2 * 8;
            if (kind == Matrix::tf32)
                a[row][t + i / 2 * 4] = tf32(lane.a[i]);
            else
                for (unsigned h = 0; h < 2; h++)
                    a[row][t * 2 + h + i / 2 * 8] = element(kind, lane.a[i], (int)h);
            c[g + i / 2 * 8][t * 2 + i % 2] = lane.c[i];
        }
        for (unsigned i = 0; i < 2; i++) {
            if (kind == Matrix::tf32)
                b[t + i * 4][g] = tf32(lane.b[i]);
            else
                for (unsigned h = 0; h < 2; h++) b[t * 2 + h + i * 8][g] = element(kind, lane.b[i], (int)h);
        }
    });
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < depth; k++)
            for (int j = 0; j < 8; j++) c[i][j] += a[i][k] * b[k][j];
    each<Product>(lanes, wait, [&](unsigned l, Product& lane) {
        for (unsigned i = 0; i < 4; i++) lane.d[i] = c[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2];
    });
}

static void together(unsigned, Wait* wait) {
    void* operands[LANES];
    each<Together>(~0u, wait, [&](unsigned i, Together& lane) { operands[i] = lane.operand; });
    ((Together*)wait[0].operand)->f(operands);
}

// The lanes of a warp give the same matrices, and multiply when they wait together (asynchronous.h).
static void finish_products(Worker& w, unsigned warp);
static void begin_products(Worker& w, unsigned warp) {
    const Wait* wait = w.wait[warp];
    const Matrices& first = *((const WarpProduct*)wait[0].operand)->matrices;
    for (unsigned i = 1; i < LANES; i++) {
        const Matrices& other = *((const WarpProduct*)wait[i].operand)->matrices;
        if (other.at[0] == first.at[0] && other.at[1] == first.at[1] && other.add == first.add &&
            !other.left == !first.left)
            continue;
        const Site site = w.site[warp * LANES + i];
        fail(w, "%s gives wgmma at %s:%d other matrices than lane 0 of its warp",
             Name(w, warp * LANES + i).text, site.file, site.line);
    }
}

[[maybe_unused]] static const Shuffle& shuffle_of(const Worker& w, unsigned thread) {
    return *(const Shuffle*)w.wait[thread / LANES][thread % LANES].operand;
}

// ---- meeting ----------------------------------------------------------------------------------------------

static void check_agreement(Worker& w, unsigned warp, unsigned lanes) {
    const Wait& first = w.wait[warp][lowest(lanes)];
    for (unsigned left = lanes & (lanes - 1); left; left &= left - 1) {
        const Wait& other = w.wait[warp][lowest(left)];
        if (other.kind == first.kind && other.mask == first.mask) continue;
        unsigned a = warp * LANES + lowest(lanes), b = warp * LANES + lowest(left);
        fail(w,
             "lanes of one warp meet in different operations: %s in %s with mask %#x at %s:%d, %s in %s with "
             "mask %#x "
             "at %s:%d",
             Name(w, a).text, kind_names[first.kind], first.mask, w.site[a].file, w.site[a].line,
             Name(w, b).text, kind_names[other.kind], other.mask, w.site[b].file, w.site[b].line);
    }
    if (first.kind >= LDMATRIX && lanes != ~0u)
        fail(w, "%s at %s:%d needs all 32 lanes of the warp; %d are there", kind_names[first.kind],
             w.site[warp * LANES + lowest(lanes)].file, w.site[warp * LANES + lowest(lanes)].line,
             __builtin_popcount(lanes));
}

static __attribute__((noinline)) void finish_warp_operation(Worker& w, unsigned warp, unsigned lanes) {
    static void (*const answers[])(unsigned, Wait*) = {nullptr,     shuffle,  vote,    match,  reduce,
                                                       load_matrix, multiply, nullptr, nullptr, together};
    if (!lanes) return;
    check_agreement(w, warp, lanes);
    int kind = w.wait[warp][lowest(lanes)].kind;
    TT_CHECK(record_warp(w, warp, lanes);)
    TT_CHECK({ Whole whole(w); meet_in_warp(w, warp, lanes, kind == SYNC); })
    TT_CHECK(if (kind == SHUFFLE) { Whole whole(w); check_sources(w, warp, lanes); })
    TT_CHECK(if (kind == LDMATRIX) read_rows(w, warp);)
    if (kind == WGMMA) begin_products(w, warp);
    if (kind == WGMMA_WAIT) finish_products(w, warp);
    TT_CHECK(if (kind == WGMMA) read_matrices(w, warp);)
    if (answers[kind]) answers[kind](lanes, w.wait[warp]);
}

static TT_ALWAYS_INLINE void meet(Worker& w, unsigned self, unsigned mask, Kind kind, void* operand,
                                  const Site& site) {
    enter(w, self, site);
    unsigned warp = self / LANES, bit = 1u << self % LANES, left = w.threads - warp * LANES;
    if (!(mask & bit))
        fail(w, "%s calls %s at %s:%d with the mask %#x, which leaves it out", Name(w, self).text,
             kind_names[kind], site.file, site.line, mask);
    mask &= left >= LANES ? ~0u : (1u << left) - 1;  // lanes beyond the end of the block
    w.wait[warp][self % LANES] = {kind, mask, operand};
    w.in_warp[warp] |= bit;
    unsigned lanes = mask & ~w.finished[warp];
    if ((w.in_warp[warp] & lanes) != lanes) return pause(w, self);
    w.in_warp[warp] &= ~lanes;
    finish_warp_operation(w, warp, lanes);
    make_ready(w, warp, lanes & ~bit);
}

}  // namespace tt_emu

using namespace tt_emu;

TT_SWITCHES int tt_emu_barrier(Worker* worker, unsigned self, int predicate, int* arrived, Site site) {
    Worker& w = *worker;
    enter(w, self, site);
    if (!w.arrived) {
        w.first_arrived = self;
    } else if (unsigned other = w.first_arrived; !same_place(w, other, self)) {
        if (w.site[other].line == site.line && strcmp(w.site[other].file, site.file) == 0)
            fail(w,
                 "divergent barrier: %s waits at %s:%d while %s waits at another __syncthreads() of this "
                 "line",
                 Name(w, other).text, site.file, site.line, Name(w, self).text);
        fail(w, "divergent barrier: %s waits at %s:%d while %s waits at %s:%d", Name(w, other).text,
             w.site[other].file, w.site[other].line, Name(w, self).text, site.file, site.line);
    }
    w.counted += predicate != 0;
    if (++w.arrived == w.live) {
        release_block(w);
    } else {
        w.waiting[self / LANES] |= 1u << self % LANES;
        pause(w, self);
    }
    if (arrived) *arrived = w.result_arrived;
    return w.result_counted;
}

TT_SWITCHES void tt_emu_poll(Worker* worker, unsigned self, const void* address, Site site) {
    Worker& w = *worker;
    enter(w, self, site);
    if (!w.idle++) w.idle_since = now();
    if (w.idle % 1024 == 0 && now() - w.idle_since > patience)
        fail(w,
             "endless wait at %s:%d: %s has polled address %p for %.1f s, and no other thread of the block "
             "does anything else; a thread can wait for others of its block, and for earlier blocks",
             site.file, site.line, Name(w, self).text, address, patience);
    const int next = next_ready(w, self);
    if (next >= 0) give_way(w, self, (unsigned)next, site);
}

TT_API void tt_emu_set_patience(double seconds) { patience = seconds; }

TT_SWITCHES void tt_emu_sync_warp(Worker* w, unsigned self, unsigned mask, Site site) {
    meet(*w, self, mask, SYNC, nullptr, site);
}

TT_SWITCHES unsigned long long tt_emu_shuffle(Worker* w, unsigned self, unsigned mask,
                                              unsigned long long bits, int source, Site site) {
    Shuffle operand = {bits, 0, source};
    meet(*w, self, mask, SHUFFLE, &operand, site);
    return operand.result;
}

TT_SWITCHES unsigned tt_emu_ballot(Worker* w, unsigned self, unsigned mask, int predicate, Site site) {
    Vote operand = {predicate, 0};
    meet(*w, self, mask, VOTE, &operand, site);
    return operand.result;
}

TT_SWITCHES unsigned tt_emu_match(Worker* w, unsigned self, unsigned mask, unsigned long long bits,
                                  Site site) {
    Match operand = {bits, 0};
    meet(*w, self, mask, MATCH, &operand, site);
    return operand.result;
}

TT_SWITCHES unsigned tt_emu_reduce(Worker* w, unsigned self, unsigned mask, Reduce operation,
                                   unsigned value, Site site) {
    Reduction operand = {operation, value, 0};
    meet(*w, self, mask, REDUCE, &operand, site);
    return operand.result;
}

TT_SWITCHES void tt_emu_ldmatrix(Worker* w, unsigned self, unsigned* registers, int count,
                                 bool transposed, const void* row, Site site) {
    if ((uintptr_t)row % 16 && self % LANES < (unsigned)count * 8) {
        enter(*w, self, site);
        fail(*w, "misaligned address in ldmatrix at %s:%d by %s: rows begin at multiples of 16 bytes",
             site.file, site.line, Name(*w, self).text);
    }
    LoadMatrix operand = {row, registers, count, transposed};
    meet(*w, self, ~0u, LDMATRIX, &operand, site);
}

TT_SWITCHES void tt_emu_mma(Worker* w, unsigned self, Matrix kind, float* d, const unsigned* a,
                            const unsigned* b, const float* c, Site site) {
    TT_CHECK({
        Whole whole(*w);
        count_product(kind, site, 2 * 16 * 8 * (kind == Matrix::tf32 ? 8 : 16) / LANES);
    })
    Product operand = {kind, d, a, b, c};
    meet(*w, self, ~0u, MMA, &operand, site);
}

TT_SWITCHES void tt_emu_together(Worker* w, unsigned self, void (*f)(void**), void* operand,
                                 Site site) {
    Together own = {f, operand};
    meet(*w, self, ~0u, WMMA, &own, site);
}

TT_API void tt_emu_assert(Worker* w, unsigned self, const char* condition, Site site) {
    enter(*w, self, site);
    fail(*w, "assertion `%s` failed at %s:%d in %s", condition, site.file, site.line, Name(*w, self).text);
}

TT_API void tt_emu_trap(Worker* w, unsigned self, Site site) {
    enter(*w, self, site);
    fail(*w, "__trap() at %s:%d in %s", site.file, site.line, Name(*w, self).text);
}
