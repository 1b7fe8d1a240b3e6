// Checks of asynchronous work: copies of boxes are delayed, and their writes, like the reads of products,
// must be ordered by barriers with what came before.
#pragma once
#include "check/accesses.h"

namespace tt_emu {

// ---- what a barrier orders: clocks of all threads, as their arrivals released them

struct Meeting {
    const void* at;
    Place place;  // of its initialization
    uint64_t phase;
    unsigned thread;
    uint32_t clock;
    bool fenced;  // by barrier_init_fence, behind the initialization
    // What was released in the running phase, and until the end of the last ones with each parity.
    uint32_t running[MOST_THREADS], over[2][MOST_THREADS];
    List<Taken> running_taken, over_taken[2];
};
static List<Meeting*> meetings;

static Meeting& meeting_at(const void* at) {
    for (Meeting* m : meetings)
        if (m->at == at) return *m;
    Meeting* m = (Meeting*)calloc(1, sizeof(Meeting));
    if (!m) abort();
    m->at = at;
    return *meetings.add(m);
}

static void begin_phases(Worker& w, unsigned thread, const Phase* at, Site site) {
    Whole whole(w);
    keeps_readers = true;
    Meeting& m = meeting_at(at);
    m.place = {nullptr, site};
    m.phase = phase, m.thread = thread, m.clock = seen[thread][thread % LANES];
    m.fenced = false;
}

// A thread uses a barrier, which another one may not have initialized yet.
static void check_initialized(Worker& w, const Phase* at, Site site) {
    const Meeting& m = meeting_at(at);
    if (!m.phase || is_ordered(w, first_of_block, m.phase, m.thread, m.clock)) return;
    Whole whole(w);
    found("shared race", {nullptr, site}, m.place,
          "%s uses a barrier, which %s initializes, with no barrier of the block between", Who(w).text,
          Who(w, m.phase, m.thread).text);
}

static void take(List<Taken>& list, Taken taken) {
    for (Taken& t : list) {
        if (t.flag != taken.flag) continue;
        if (taken.count > t.count) t.count = taken.count;
        return;
    }
    list.add(taken);
}

// All accesses of a thread up to now happen before the end of the phase.
static void release_phase(Worker& w, unsigned thread, const void* at) {
    Whole whole(w);
    compare_written();
    keeps_readers = true;
    Meeting& m = meeting_at(at);
    fence_acquired(thread / LANES, 1u << thread % LANES);
    for (const Acquired& a : acquired)
        if (a.phase == phase && was_acquired(w, a)) take(m.running_taken, a.taken);
    for (unsigned t = 0; t < w.threads; t++) later(m.running[t], heard[thread][t]);
    for (unsigned i = 0; i < LANES; i++) later(m.running[thread / LANES * LANES + i], seen[thread][i]);
    seen[thread][thread % LANES]++;
}

static void end_phase(const void* at, unsigned parity) {
    Meeting& m = meeting_at(at);
    uint32_t *over = m.over[parity], *before = m.over[!parity];
    for (unsigned t = 0; t < MOST_THREADS; t++) {
        later(over[t], before[t]), later(over[t], m.running[t]);
        m.running[t] = 0;
    }
    for (Taken taken : m.over_taken[!parity]) take(m.over_taken[parity], taken);
    for (Taken taken : m.running_taken) take(m.over_taken[parity], taken);
    m.running_taken.clear();
}

// After the wait for a phase of that parity: what was released since is not acquired.
static void acquire_phase(Worker& w, unsigned thread, const void* at, unsigned parity) {
    Whole whole(w);
    has_met = true;
    Meeting& m = meeting_at(at);
    const uint32_t* over = m.over[parity];
    for (unsigned t = 0; t < w.threads; t++) later(heard[thread][t], over[t]);
    for (unsigned i = 0; i < LANES; i++)
        if (i != thread % LANES) later(seen[thread][i], over[thread / LANES * LANES + i]);
    for (Taken taken : m.over_taken[parity]) acquire(thread, taken, ON_DEVICE);
}

// ---- products: what their warps read, and until when

struct Reading {
    const char *start, *end;
    unsigned thread, group;
    uint32_t clock;  // of the thread when it had waited for the product; NEVER before
    Place place;
};
constexpr uint32_t NEVER = ~0u;
static List<Reading> readings;

static void read_lines(Worker& w, const Matrices& m, int which, unsigned first, unsigned count, Place place) {
    Reading reading = {nullptr, nullptr, w.current, asynchronous_of(w).groups[w.current], NEVER, place};
    const bool across = m.across[which];
    for (unsigned line = first; line < first + count; line += across ? 8 : 1)
        for (unsigned inner = 0; inner < 16; inner += across ? 1 : 8) {
            const char* at = element_at(w, m.at[which], across, line, inner);
            access(at, 16, READ_BY_PRODUCT, place);
            if (!reading.start || at < reading.start) reading.start = at;
            if (at + 16 > reading.end) reading.end = at + 16;
        }
    Whole whole(w);
    readings.add(reading);
}

// The lanes of a warp have converged in wgmma: it reads 16 rows of a, and all columns of b.
static void read_matrices(Worker& w, unsigned warp) {
    const unsigned running = w.current;
    w.current = warp * LANES;
    for_others = true;
    const Matrices& m = *((const WarpProduct*)w.wait[warp][0].operand)->matrices;
    const Place place = {nullptr, w.site[w.current]};
    check_matrices(w, m, place.site);
    if (!m.left) read_lines(w, m, 0, warp % 4 * 16, 16, place);
    read_lines(w, m, 1, 0, m.columns, place);
    for_others = false;
    w.current = running;
}

// The first product after a wait follows a fence: registers may have been accessed in between.
static void check_begun(Worker& w, unsigned thread, Site site) {
    if (asynchronous_of(w).begun[thread]) return;
    Whole whole(w);
    found("product without fence", {nullptr, site}, {},
          "%s has not called products_begin since its last wait: the product may read registers too early",
          Who(w, phase, thread).text);
}

// Registers of a hold until the end of the product what they held at its start.
static void check_left(Worker& w, unsigned thread, const Flying& product) {
    if (!product.matrices.left || !memcmp(product.left, product.matrices.left, sizeof product.left)) return;
    Whole whole(w);
    found("register race", {nullptr, product.site}, {},
          "%s has written registers that are the left operand of a product, before it waits for the product",
          Who(w, phase, thread).text);
}

static void end_reading(Worker& w, unsigned thread, unsigned left) {
    for (Reading& r : readings)
        if (r.thread == thread && r.clock == NEVER && r.group + left < asynchronous_of(w).groups[thread])
            r.clock = seen[thread][thread % LANES];
}

// ---- copies of boxes

struct Box {
    char* to;
    BoxMap map;
    int at[4];
    Phase* phase;
    unsigned thread;
    Place place;
};
static List<Box> boxes;  // not yet copied, in the order of their starts

static void access_box(const Box& box, Way way) {
    each_row(box.to, box.map, box.at, [&](char* row, unsigned, const char* from, unsigned bytes) {
        if (way == END_COPY) access(from, bytes, READ, box.place, false);
        for (unsigned i = 0; i < box.map.box[0] * box.map.itemsize; i += 16)
            access(swizzled(row + i, box.map.swizzle), 16, way, box.place);
    });
}

static void begin_copy(Worker& w, unsigned thread, char* to, const BoxMap& map, const int (&at)[4],
                       Phase* phase, Site site) {
    const Box box = {to, map, {at[0], at[1], at[2], at[3]}, phase, thread, {nullptr, site}};
    const char* end = to + bytes_of(map);
    access_box(box, BEGIN_COPY);
    Whole whole(w);
    const Meeting& m = meeting_at(phase);
    if (m.phase && !m.fenced)
        found("barrier without fence", box.place, m.place,
              "the barrier of the copy by %s was initialized without a barrier_init_fence behind: the copy "
              "may not see it",
              Who(w).text);
    size_t kept = 0;
    for (const Reading& r : readings) {
        const bool apart = r.end <= to || r.start >= end;
        if (!apart && (r.clock == NEVER || heard[thread][r.thread] < r.clock))
            found("shared race", box.place, r.place,
                  "asynchronous copy to dynamic shared memory by %s, which a product of %s may still read",
                  Who(w).text, Who(w, ::tt_emu::phase, r.thread).text);
        if (apart || r.clock == NEVER) readings[kept++] = r;
    }
    readings.count = kept;
    boxes.add(box);
    for (unsigned t = 0; t < w.threads; t++)
        if (asynchronous_of(w).awaited[t] == phase) return finish_copies(w, *phase, phase->parity);
}

// Copies what is under way to a barrier, until the phase with this parity is over.
static void finish_copies(Worker& w, Phase& phase, unsigned parity) {
    const unsigned running = w.current;
    for (size_t i = 0; i < boxes.count && phase.parity == parity;) {
        if (boxes[i].phase != &phase) {
            i++;
            continue;
        }
        const Box box = boxes[i];
        for (size_t j = i + 1; j < boxes.count; j++) boxes[j - 1] = boxes[j];
        boxes.count--;
        w.current = box.thread;
        for_others = true;
        access_box(box, END_COPY);
        for_others = false;
        copy_box(box.to, box.map, box.at);
        uint32_t& clock = seen[box.thread][box.thread % LANES];
        later(meeting_at(&phase).running[box.thread], clock++);  // of its writes alone
        count_bytes(w, phase, box.map);
    }
    w.current = running;
}

// ---- the life of a block

static void begin_asynchronous_block() {
    for (Meeting* m : meetings) {
        m->running_taken.drop(), m->over_taken[0].drop(), m->over_taken[1].drop();
        free((void*)m);
    }
    meetings.clear();
    readings.clear();
    boxes.clear();
}

static void end_asynchronous_block(Worker& w) {
    if (!w.asynchronous || w.failed) return;
    for (unsigned t = 0; t < w.threads; t++)
        if (w.asynchronous->flying[t])
            found("unfinished product", {nullptr, w.site[t]}, {},
                  "%s ends before it has waited for its products", Who(w, phase, t).text);
    for (const Box& box : boxes)
        found("unfinished copy", box.place, {}, "%s starts a copy, for whose bytes nothing waits",
              Who(w, phase, box.thread).text);
}

}  // namespace tt_emu

TT_API void tt_checked_phases_fence(unsigned self) {
    for (tt_emu::Meeting* m : tt_emu::meetings) m->fenced |= m->thread == self;
}
