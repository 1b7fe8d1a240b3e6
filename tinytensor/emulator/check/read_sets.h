// Which threads have read a word in this phase, and when. A Word has room for two threads of several warps,
// without their clocks: enough where only a barrier of the block can order their reads with a write. Where
// barriers that count arrivals, or fences, may order some of them, all are kept here.
#pragma once
#include "check/happens_before.h"

namespace tt_emu {

constexpr unsigned READ_BITS = 18, MOST_READ_WORDS = 1 << 17;
constexpr size_t READ_BYTES = (size_t)128 << 20;

struct ReadWord {
    const Word* word;
    uint32_t* clocks;  // of the threads that have read it; 0: it has not
};
static ReadWord read_words[1 << READ_BITS];  // by hash
static uint32_t used_words[MOST_READ_WORDS], *read_clocks;
static unsigned kept_words, readers_in_block;
static uint64_t readers_phase;

// Bit of the clock of a read that a warp does together: what its lanes do later happens after it.
constexpr uint32_t TOGETHER = 1u << 31;

static bool is_read_before(const Worker& w, uint64_t since, unsigned reader, uint32_t clock) {
    if (clock & TOGETHER && reader / LANES == w.current / LANES) return true;
    return is_ordered(w, since, phase, reader, clock & ~TOGETHER);
}

static void begin_readers(unsigned threads) { keeps_readers = false, readers_in_block = threads; }

// The clocks of the threads that have read a word; null if they are not kept.
static uint32_t* clocks_of(const Word& word, bool add) {
    if (!keeps_readers) return nullptr;
    if (readers_phase != phase) {
        while (kept_words) read_words[used_words[--kept_words]] = {};
        readers_phase = phase;
    }
    size_t at = (size_t)&word / sizeof word * 0x9e3779b97f4a7c15ull >> (64 - READ_BITS);
    while (read_words[at].word && read_words[at].word != &word) at = (at + 1) % (1 << READ_BITS);
    if (!add || read_words[at].word) return read_words[at].clocks;
    if (!read_clocks) read_clocks = (uint32_t*)pages(READ_BYTES);
    const size_t end = ((size_t)kept_words + 1) * readers_in_block * sizeof *read_clocks;
    if (!read_clocks || end > READ_BYTES || kept_words == MOST_READ_WORDS) return nullptr;
    read_words[at] = {&word, read_clocks + (size_t)kept_words * readers_in_block};
    used_words[kept_words++] = (uint32_t)at;
    return read_words[at].clocks;
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

// One of several readers that is unordered with the running thread, or MOST_THREADS. If they began to be kept
// after these reads, or there is no room for more, only the first of them is known with its clock.
static unsigned several_in_the_way(const Worker& w, uint64_t since, const Word& word) {
    const unsigned me = w.current, first = word.read_thread;
    const uint32_t* const clocks = clocks_of(word, false);
    if (!clocks && !keeps_readers) return first / LANES == me / LANES ? word.read_lanes : first;
    if (!clocks) return is_read_before(w, since, first, word.read_clock) ? MOST_THREADS : first;
    for (unsigned t = 0; t < readers_in_block; t++)
        if (clocks[t] && !is_read_before(w, since, t, clocks[t])) return t;
    return MOST_THREADS;
}

}  // namespace tt_emu
