// Which threads have read a word in this phase, and when. A Word has room for two threads of several warps,
// without their clocks: enough where only a barrier of the block can order their reads with a write. Where
// barriers that count arrivals, or fences, may order some of them, all are kept here.
#pragma once
#include "order.h"

namespace tt_emu {

constexpr unsigned MOST_READ_WORDS = 1 << 14;

static const Word* read_words[2 * MOST_READ_WORDS];  // by hash
static uint32_t (*read_clocks)[MOST_THREADS];        // of these, by thread; 0: it has not read
static unsigned kept_words, readers_in_block;
static uint64_t readers_phase;

static void begin_readers(unsigned threads) { keeps_readers = false, readers_in_block = threads; }

// The clocks of the threads that have read a word; null if they are not kept.
static uint32_t* clocks_of(const Word& word, bool add) {
    if (!keeps_readers) return nullptr;
    if (readers_phase != phase) {
        if (kept_words) memset((void*)read_words, 0, sizeof read_words);
        kept_words = 0, readers_phase = phase;
    }
    size_t at = (size_t)&word / sizeof word * 0x9e3779b97f4a7c15ull >> 49;
    while (read_words[at] && read_words[at] != &word) at = (at + 1) % (2 * MOST_READ_WORDS);
    if (!add || read_words[at]) return read_words[at] ? read_clocks[at] : nullptr;
    const size_t bytes = 2 * MOST_READ_WORDS * sizeof *read_clocks;
    if (!read_clocks) read_clocks = (uint32_t(*)[MOST_THREADS])pages(bytes);
    if (!read_clocks || kept_words == MOST_READ_WORDS) return nullptr;
    read_words[at] = &word, kept_words++;
    return read_clocks[at];
}

// The lanes of one warp have read a word, and now a thread of another one does.
static __attribute__((noinline)) void begin_several(const Word& word, unsigned me, uint32_t clock) {
    uint32_t* const clocks = clocks_of(word, true);
    if (!clocks) return;
    memset(clocks, 0, readers_in_block * sizeof *clocks);
    uint32_t* const warp = clocks + word.read_thread / LANES * LANES;
    for (unsigned left = word.read_lanes; left; left &= left - 1) warp[lowest(left)] = word.read_clock;
    clocks[me] = clock;
}

static __attribute__((noinline)) void join_several(const Word& word, unsigned me, uint32_t clock) {
    if (uint32_t* const clocks = clocks_of(word, false)) clocks[me] = clock;
}

// One of several readers that is unordered with the running thread, or MOST_THREADS.
static unsigned several_in_the_way(const Worker& w, uint64_t since, const Word& word) {
    const unsigned me = w.current, first = word.read_thread;
    const uint32_t* const clocks = clocks_of(word, false);
    if (!clocks) return first / LANES == me / LANES ? word.read_lanes : first;
    for (unsigned t = 0; t < readers_in_block; t++)
        if (clocks[t] && !is_ordered(w, since, phase, t, clocks[t])) return t;
    return MOST_THREADS;
}

}  // namespace tt_emu
