// Races: two unordered accesses of the same bytes, one of them a write. Two atomic operations never race. For
// each word the last write is stored, and enough of the later reads: one read, or the lanes of one warp, or
// two threads of different warps, or one read in an earlier block.
//
// An asynchronous copy is a write that begins at its start and ends where its thread waits for it: accesses
// to its target in between find a pending word.
#pragma once
#include "check/flops.h"
#include "check/read_sets.h"

namespace tt_emu {

// A warp reads a matrix collectively: later accesses of its lanes happen after the reads of all of them.
// The reads of a product are remembered until it is over (asynchronous_checks.h), not here.
enum Way : int {
    READ, WRITE, ATOMIC, READ_TOGETHER, BEGIN_COPY, END_COPY, READ_BY_PRODUCT, VOLATILE_READ, VOLATILE_WRITE,
    EXCHANGE  // ATOMIC, and what was there may be anything: atomicExch also initializes
};
static const char* const way_names[] = {
    "read", "write", "atomic operation", "read", "asynchronous copy", "asynchronous copy", "product",
    "volatile read", "volatile write"};
static bool reads(Way way) {
    return way == READ || way == READ_TOGETHER || way == READ_BY_PRODUCT || way == VOLATILE_READ;
}
static bool is_strong(Way way) { return way == ATOMIC || way == VOLATILE_READ || way == VOLATILE_WRITE; }
static bool needs_value(Way way) { return reads(way) || way == ATOMIC; }

struct Access {  // the current access
    const char* address;
    unsigned size;
    Way way;
    Place place;
    uint16_t number;  // of the source location
    Space space;
    uint64_t since;    // the first phase with possible conflicts
    const char* name;  // of the accessed variable: "`tile`"
    size_t offset;     // in the variable
    bool initializes = false;  // EXCHANGE
};

static Motion motion_of(Way way) { return way == ATOMIC ? UPDATE : reads(way) ? LOAD : STORE; }

// Ends the launch before an access is executed.
[[noreturn]] static void refuse(Worker& w, const Access& a, const char* kind, const char* text) {
    if (blocks_to_record) {
        const uint16_t memory = number_of_memory(a.space, a.name, a.address - a.offset);
        record_refused(w, motion_names[motion_of(a.way)], a.number, memory, a.size, a.address);
    }
    refuse_access(w, kind, a.place, text);
}

// A thread whose read of a word is unordered with the running thread; MOST_THREADS if there is none.
static unsigned reader_in_the_way(const Worker& w, const Access& a, const Word& word) {
    const unsigned me = w.current, reader = word.read_thread;
    if (word.read_phase < a.since) return MOST_THREADS;
    if (word.read_phase < first_of_block)
        return was_released(w, word.read_phase, reader, word.read_clock & ~TOGETHER) ? MOST_THREADS : reader;
    if (word.read_phase != phase) return MOST_THREADS;
    if (word.several) return several_in_the_way(w, a.since, word);
    if (reader / LANES != me / LANES)
        return is_read_before(w, a.since, reader, word.read_clock) ? MOST_THREADS : reader;
    if (word.read_clock & TOGETHER) return MOST_THREADS;
    for (unsigned left = word.read_lanes & ~(1u << me % LANES); left; left &= left - 1)
        if (seen[me][lowest(left)] < word.read_clock) return me / LANES * LANES + lowest(left);
    return MOST_THREADS;
}

struct ReadFirst {  // the last plain reads of each thread of words that others have accessed, too
    const char* address;
    size_t finding;  // its number, from 1; 0 if it is none
};
constexpr unsigned MOST_READS = 4;
static ReadFirst read_first[MOST_THREADS][MOST_READS];

static ReadFirst* read_of(unsigned thread, const char* address) {
    for (ReadFirst& read : read_first[thread])
        if (read.address == address) return &read;
    return nullptr;
}

static void note_read(unsigned thread, const char* address, size_t finding) {
    ReadFirst *reads = read_first[thread], *read = read_of(thread, address);
    if (!read) {
        memmove(reads + 1, reads, (MOST_READS - 1) * sizeof *reads);
        read = reads;
    }
    *read = {address, finding};
}

static bool is_last_reader(const Worker& w, const Access& a, const Word& word) {
    const unsigned me = w.current;
    const bool alone = word.read_phase == phase && word.read_thread == me && !word.several &&
                       word.read_lanes == 1u << me % LANES;
    return alone || read_of(me, a.address);
}

// Adds a reader to those of a word, one of which is unordered with it.
static TT_ALWAYS_INLINE void join_readers(unsigned me, const char* address, Word& word, uint32_t clock,
                                          bool is_volatile) {
    uint64_t half = Halves(word).read;
    if (!word.last_done) half &= ~OTHERS_DONE_BIT;  // the last reader becomes one of the others
    half &= ~LAST_DONE_BIT;
    if (!read_of(me, address)) note_read(me, address, 0);
    if (word.read_phase == phase && !word.several) {  // else a write conflicts with these already
        if (!is_volatile) half &= ~READ_VOLATILE_BIT;
        if (word.read_thread / LANES != me / LANES) {
            half |= SEVERAL_BIT;
            begin_several(word, me, clock);
            word.read_lanes = me;
        } else {
            word.read_lanes |= 1u << me % LANES;
            if (clock < word.read_clock) word.read_clock = clock;
        }
    } else if (word.read_phase == phase && keeps_readers) {
        join_several(word, me, clock);
    }
    put_read(word, half);
}

// Whether it is known at once that a read of this phase is unordered with the running thread.
static inline bool has_other_reader(unsigned me, const Word& word) {
    if (word.read_phase != phase || word.several) return word.read_phase == phase;
    const unsigned others = word.read_lanes & ~(1u << me % LANES);
    const bool in_warp = word.read_thread / LANES == me / LANES;
    return in_warp && others && (int32_t)seen[me][lowest(others)] < (int32_t)word.read_clock;  // not TOGETHER
}

static void remember_read(const Worker& w, const Access& a, Word& word) {
    const unsigned me = w.current;
    const uint32_t clock = seen[me][me % LANES] | (a.way == READ_TOGETHER ? TOGETHER : 0);
    const uint64_t is_volatile = a.way == VOLATILE_READ ? READ_VOLATILE_BIT : 0;
    if (reader_in_the_way(w, a, word) == MOST_THREADS) {
        put_read(word, half_of(phase, me) | OTHERS_DONE_BIT | is_volatile);
        word.read_clock = clock;
        word.read_lanes = 1u << me % LANES;
        word.read_place = a.number;
        return;
    }
    join_readers(me, a.address, word, clock, is_volatile);
}

static void remember_write(const Worker& w, const Access& a, Word& word) {
    const uint64_t flag = a.way == ATOMIC           ? ATOMIC_BIT
                          : a.way == BEGIN_COPY     ? PENDING_BIT
                          : a.way == VOLATILE_WRITE ? WRITTEN_VOLATILE_BIT
                                                    : 0;
    put_written(word, half_of(phase, w.current) | flag);
    word.write_clock = seen[w.current][w.current % LANES];
    word.write_place = a.number;
    if (a.way == ATOMIC && is_last_reader(w, a, word)) word.last_done = 1;
}

static size_t report_race(const Worker& w, const Access& a, uint64_t then, unsigned thread, uint32_t clock,
                          const char* what, uint16_t other) {
    char said[200];
    const WarpOperation* last = operation_since(w, then, thread, clock);
    if (last)
        snprintf(said, sizeof said, ", with only %s at %s:%d between, which orders no memory",
                 kind_names[last->kind], last->site.file, last->site.line);
    const char* between = last ? said
                          : is_released_without_fence(w, then, thread, clock)
                              ? ": no fence follows the operation that read the flag"
                          : then >= first_of_block ? ", with no barrier between"
                                                   : ", with nothing between";
    return found(a.space == SHARED ? "shared race" : "global race", a.place, places[other],
                 "%s of %s + %zu bytes by %s after a %s by %s%s", way_names[a.way], a.name, a.offset,
                 Who(w).text, what, Who(w, then, thread).text, between);
}

// ---- races that change no result: what is written was there already, or an atomic operation tells --------

static const char* const SAME_VALUE = "same-value race";
static const char* const READ_FIRST = "read before an atomic operation";
// If what was read goes into the operation of the warp, that cannot come before the read.
static const char* const READ_BEFORE_OPERATION = "read before a warp operation";

struct Written {  // by the running thread, in a race with another write; the hook comes before the write
    const char* address;
    unsigned size;
    size_t finding;
    char before[16];
};
static Written written;

enum Exploring : int { DEFAULT, RANDOM, GIVEN };
static Exploring exploring;  // schedules (accesses.h)

static TT_OF_THREAD Worker* usual_worker;  // the same, but null while `access` must see each access

// A lane may get the undefined value of an inactive one if nothing uses it. Where is unknown, but for numbers
// that such a value has made: NaN, which arithmetic keeps.
static const char* const UNDEFINED = "value of an inactive lane";
static size_t undefined_of[MOST_THREADS];  // the finding, from 1, of such a value that the thread may hold
static bool any_undefined;                 // whether any of the block does

struct Stored {  // by the running thread, which may hold an undefined value
    const char* address;
    unsigned size;
    size_t finding;
};
static Stored stored;

static void choose_way() {
    const bool all = recording || exploring || written.address || any_undefined;
    usual_worker = all ? nullptr : seen_worker;
}

static bool is_undefined(const void* value) { return !memcmp(value, &INACTIVE, 4); }

static void compare_stored() {
    for (unsigned at = 0; stored.address && at + 4 <= stored.size; at += 4)
        if (is_undefined(stored.address + at)) findings[stored.finding].harmless = 0;
    stored.address = nullptr;
}

static void compare_written() {
    compare_stored();
    if (!written.address) return;
    if (!memcmp(written.address, written.before, written.size)) is_harmless(written.finding, SAME_VALUE);
    written.address = nullptr;
    choose_way();
}

// `while (atomicCAS(p, old, …) != old)` after a plain read of *p: the result does not depend on that read.
static void end_read_first(const Worker& w, const char* address) {
    ReadFirst* read = read_of(w.current, address);
    if (read && read->finding) is_harmless(read->finding - 1, READ_FIRST);
    if (read) read->finding = 0;
}

// Whether a copy into the word is pending, and another access comes between.
static bool check_pending(const Worker& w, const Access& a, const Word& word) {
    if (!word.pending || a.way == END_COPY || word.write_phase < first_of_block) return false;
    found("unfinished copy", a.place, places[word.write_place],
          "%s of %s + %zu bytes by %s, which an asynchronous copy by %s may not have filled yet",
          way_names[a.way], a.name, a.offset, Who(w).text, Who(w, word.write_phase, word.write_thread).text);
    return true;
}

// Atomic and volatile accesses of one address do not race. But lanes of a warp that exchange data by volatile
// shared memory rely on running in step, which they do not.
static bool may_meet(const Worker& w, const Access& a, bool atomic, bool by_volatile, unsigned thread) {
    if (!is_strong(a.way) || !(atomic || by_volatile)) return false;
    return atomic || a.way == ATOMIC || a.space != SHARED || thread / LANES != w.current / LANES;
}

// Whether the access has a race in this word.
static bool check_word(const Worker& w, const Access& a, const Word& word) {
    if (word.write_phase && !may_meet(w, a, word.atomic, word.written_volatile, word.write_thread) &&
        !is_ordered(w, a.since, word.write_phase, word.write_thread, word.write_clock)) {
        const size_t finding = report_race(w, a, word.write_phase, word.write_thread, word.write_clock,
                                           word.atomic ? way_names[ATOMIC] : "write", word.write_place);
        if (a.way == READ && word.atomic) {
            note_read(w.current, a.address, finding + 1);
        } else if ((a.way == WRITE || a.way == VOLATILE_WRITE) && !word.atomic && a.size <= 16) {
            written = {a.address, a.size, finding, {}};
            memcpy(written.before, a.address, a.size);
            choose_way();
        }
        return true;
    }
    if (reads(a.way) || !word.read_phase) return false;
    const unsigned reader = reader_in_the_way(w, a, word);
    if (reader == MOST_THREADS || may_meet(w, a, false, word.read_volatile, reader)) return false;
    const size_t finding =
        report_race(w, a, word.read_phase, reader, word.read_clock & ~TOGETHER, "read", word.read_place);
    if (a.way == ATOMIC && word.others_done && (word.last_done || is_last_reader(w, a, word)))
        is_harmless(finding, READ_FIRST);
    else if (operation_since(w, word.read_phase, reader, word.read_clock & ~TOGETHER))
        is_harmless(finding, READ_BEFORE_OPERATION);
    return true;
}

// ---- the life of a block ----------------------------------------------------------------------------------

static void forget_copies(const Worker& w);
static void begin_asynchronous_block();
static void end_asynchronous_block(Worker& w);

static void see(Worker* w);  // accesses.h

static bool in_program;  // whose image has the shared variables of all kernels

static void begin_checked_block(Worker& w) {
    first_of_block = ++phase;
    begun.add({phase, block_number(w)});
    for (const Variable& v : image.variables)  // as on a GPU, what earlier blocks have left says nothing
        if (v.space == SHARED && !in_program) memset((void*)v.start, 0xff, (size_t)(v.end - v.start));
    acquired.clear();
    fenced_now = 0, fenced_until = 0;
    memset(read_first, 0, w.threads * sizeof *read_first);
    if (any_undefined) memset(undefined_of, 0, sizeof undefined_of);
    any_undefined = false;
    forget_copies(w);
    begin_readers(w.threads);
    begin_asynchronous_block();
    begin_counting();
    begin_recording();
    see(&w);
}

static void end_checked_block(Worker& w) {
    compare_written();
    see(nullptr);
    end_asynchronous_block(w);
    if (counting) keep_costs(w), keep_work();
    counting = false;
    end_recording();
}

static void pass_barrier(const Worker& w) {
    compare_written();
    if (recording) record_barrier(w);
    pass_fences(w.live);
    phase++;
    if (counting) flush(w, 0, w.warps);
}

static void meet_in_warp(const Worker& w, unsigned warp, unsigned lanes, bool orders) {
    compare_written();
    if (orders) pass_warp_barrier(warp, lanes);
    else note_operation(w, warp, lanes);
    if (counting && lanes == ~0u) flush(w, warp, warp + 1);
}

// Lanes that read by a shuffle from lanes which take no part get anything. That is a defect if the mask names
// such a lane, or if the value is used.
static void check_sources(const Worker& w, unsigned warp, unsigned lanes) {
    for (unsigned left = lanes; left; left &= left - 1) {
        const unsigned lane = lowest(left), self = warp * LANES + lane;
        const unsigned source = (unsigned)shuffle_of(w, self).source, other = warp * LANES + source;
        if (lanes >> source & 1) {
            if (undefined_of[other] && is_undefined(&shuffle_of(w, other).bits))
                undefined_of[self] = undefined_of[other];
            continue;
        }
        const bool is_named = w.wait[warp][lane].mask >> source & 1;
        const char* why = other >= w.threads ? "the block does not have"
                          : is_named         ? "has passed it by, or exited"
                                             : "takes no part";
        touched = nullptr;
        const size_t finding = found("inactive lane", {nullptr, w.site[self]}, {},
                                     "a shuffle of %s reads lane %u, which %s", Who(w, phase, self).text,
                                     source, why);
        if (is_named || finding >= findings.count) continue;
        is_harmless(finding, UNDEFINED);
        undefined_of[self] = finding + 1;
        any_undefined = true;
        choose_way();
    }
}

}  // namespace tt_emu
