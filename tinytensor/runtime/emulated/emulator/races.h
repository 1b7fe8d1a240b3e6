// Races: two unordered accesses of the same bytes, one of them a write. Two atomic operations never race. For
// each word the last write is stored, and enough of the later reads: one read, or the lanes of one warp, or
// two threads of different warps, or one read in an earlier block.
//
// An asynchronous copy is a write that begins at its start and ends where its thread waits for it: accesses
// to its target in between find a pending word.
#pragma once
#include "flops.h"

namespace tt_emu {

// A warp reads a matrix collectively: later accesses of its lanes happen after the reads of all of them.
// The reads of a product are remembered until it is over (asynchronous_checks.h), not here.
enum Way : int { READ, WRITE, ATOMIC, READ_TOGETHER, BEGIN_COPY, END_COPY, READ_BY_PRODUCT };
static const char* const way_names[] = {
    "read", "write", "atomic operation", "read", "asynchronous copy", "asynchronous copy", "product"};
static bool reads(Way way) { return way == READ || way == READ_TOGETHER || way == READ_BY_PRODUCT; }
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
};

// A thread whose read of a word is unordered with the running thread; MOST_THREADS if there is none.
static unsigned reader_in_the_way(const Worker& w, const Access& a, const Word& word) {
    const unsigned me = w.current, reader = word.read_thread;
    if (word.read_phase < a.since) return MOST_THREADS;
    if (word.read_phase < first_of_block)
        return was_released(w, word.read_phase, reader) ? MOST_THREADS : reader;
    if (word.read_phase != phase) return MOST_THREADS;
    if (word.several) return reader / LANES == me / LANES ? word.read_lanes : reader;
    if (reader / LANES != me / LANES) return was_heard(me, reader, word.read_clock) ? MOST_THREADS : reader;
    for (unsigned left = word.read_lanes & ~(1u << me % LANES); left; left &= left - 1)
        if (seen[me][lowest(left)] < word.read_clock) return me / LANES * LANES + lowest(left);
    return MOST_THREADS;
}

static void remember_read(const Worker& w, const Access& a, Word& word) {
    const unsigned me = w.current, before = word.read_thread;
    const uint32_t clock = a.way == READ_TOGETHER ? 0 : seen[me][me % LANES];
    if (reader_in_the_way(w, a, word) == MOST_THREADS) {
        word.read_phase = phase;
        word.read_thread = me & 1023;
        word.several = 0;
        word.read_clock = clock;
        word.read_lanes = 1u << me % LANES;
        word.read_place = a.number;
    } else if (word.read_phase != phase || word.several) {
        return;  // a write conflicts with these already
    } else if (before / LANES != me / LANES) {
        word.several = 1;
        word.read_lanes = me;
    } else {
        word.read_lanes |= 1u << me % LANES;
        if (clock < word.read_clock) word.read_clock = clock;
    }
}

static void remember_write(const Worker& w, const Access& a, Word& word) {
    word.write_phase = phase;
    word.write_thread = w.current & 1023;
    word.write_clock = seen[w.current][w.current % LANES];
    word.write_place = a.number;
    word.atomic = a.way == ATOMIC;
    word.pending = a.way == BEGIN_COPY;
}

static void report_race(const Worker& w, const Access& a, uint64_t then, unsigned thread, const char* what,
                        uint16_t other) {
    const bool same_block = then >= first_of_block;
    found(a.space == SHARED ? "shared race" : "global race", a.place, places[other],
          "%s of %s + %zu bytes by %s after a %s by %s, with %s between", way_names[a.way], a.name, a.offset,
          Who(w).text, what, Who(w, then, thread).text, same_block ? "no barrier" : "nothing");
}

// Whether a copy into the word is pending, and another access comes between.
static bool check_pending(const Worker& w, const Access& a, const Word& word) {
    if (!word.pending || a.way == END_COPY || word.write_phase < first_of_block) return false;
    found("unfinished copy", a.place, places[word.write_place],
          "%s of %s + %zu bytes by %s, which an asynchronous copy by %s may not have filled yet",
          way_names[a.way], a.name, a.offset, Who(w).text, Who(w, word.write_phase, word.write_thread).text);
    return true;
}

// Whether the access has a race in this word.
static bool check_word(const Worker& w, const Access& a, const Word& word) {
    const bool both_atomic = word.atomic && a.way == ATOMIC;
    if (word.write_phase && !both_atomic &&
        !is_ordered(w, a.since, word.write_phase, word.write_thread, word.write_clock)) {
        report_race(w, a, word.write_phase, word.write_thread, word.atomic ? way_names[ATOMIC] : "write",
                    word.write_place);
        return true;
    }
    if (reads(a.way) || !word.read_phase) return false;
    const unsigned reader = reader_in_the_way(w, a, word);
    if (reader == MOST_THREADS) return false;
    report_race(w, a, word.read_phase, reader, "read", word.read_place);
    return true;
}

// ---- the life of a block ----------------------------------------------------------------------------------

static void forget_copies();
static void begin_asynchronous_block();
static void end_asynchronous_block(Worker& w);

static void begin_checked_block(Worker& w) {
    first_of_block = ++phase;
    begun.add({phase, block_number(w)});
    forget_copies();
    begin_asynchronous_block();
    begin_counting();
    begin_recording();
}

static void end_checked_block(Worker& w) {
    end_asynchronous_block(w);
    if (counting) keep_costs(), keep_work();
    counting = false;
    end_recording();
}

static void pass_barrier() {
    if (recording) record_barrier(*here);
    phase++;
    if (counting) flush(0, WARPS);
}

static void meet_in_warp(unsigned warp, unsigned lanes, bool orders) {
    if (orders) pass_warp_barrier(warp, lanes);
    if (counting && lanes == ~0u) flush(warp, warp + 1);
}

}  // namespace tt_emu
