// Races and uninitialized reads: what is known of every 4 bytes of memory.
//
// Two accesses of one word, one of them a write, need something between them: the same thread, a barrier of
// the block, or __syncwarp within a warp. Blocks of one launch have nothing between them at all. Two atomic
// operations never race.
#pragma once
#include "counters.h"

namespace tt_emu {

struct Access {
    uint64_t block;  // serial number over all launches, from 1; 0: none
    unsigned short thread, barriers, warp_barriers;
    unsigned char bytes, atomic;  // which of the 4 bytes
};

enum Readers : unsigned char { ONE, WARP, BLOCK, BLOCKS };

struct Word {
    Access write, read;
    unsigned write_place;  // number in `known`, from 1
    unsigned read_place;
    Readers readers;
    unsigned char initialized;  // of shared memory
};
static_assert(sizeof(Word) <= 48, "see tt_checked_forget");

static List<Place> known;
static uint64_t serial, launch_serial;  // of the running block, and of the first one of its launch
static List<uint64_t> numbers;               // of the blocks of this launch, in the order in which they run
static unsigned short barriers[MOST_THREADS], warp_barriers[MOST_THREADS];
static Word* shared_words;
static size_t shared_count;

static unsigned number_of(Place place) {
    for (size_t i = known.count; i > 0 && i + 64 > known.count; i--)
        if (known[i - 1] == place) return (unsigned)i;
    known.add(place);
    return (unsigned)known.count;
}

// Whether something stands between an access and the running thread.
static bool is_ordered(const Worker& w, const Access& before) {
    if (before.block < launch_serial) return true;
    if (before.block != serial) return false;
    unsigned t = w.current;
    if (before.thread == t || before.barriers != barriers[t]) return true;
    return before.thread / LANES == t / LANES && before.warp_barriers != warp_barriers[t];
}

static bool reads_are_ordered(const Worker& w, const Word& word) {
    const Access& read = word.read;
    if (read.block < launch_serial) return true;
    if (word.readers == BLOCKS || !is_ordered(w, read)) return false;
    if (word.readers == ONE || read.barriers != barriers[w.current]) return true;
    return word.readers == WARP && read.warp_barriers != warp_barriers[w.current];
}

static void remember_read(const Worker& w, Word& word, Access now, Place place) {
    Access& read = word.read;
    bool recent = read.block >= launch_serial && read.block != 0;
    if (recent && read.block != now.block) {
        word.readers = BLOCKS;
    } else if (recent && word.readers != BLOCKS && read.barriers == now.barriers) {
        if (read.thread / LANES != now.thread / LANES) word.readers = BLOCK;
        else if (read.thread != now.thread && word.readers == ONE) word.readers = WARP;
        now.bytes |= read.bytes;
    } else if (!recent || word.readers != BLOCKS) {
        word.readers = ONE;
    }
    read = now;
    word.read_place = number_of(place);
}

struct Where {  // "x + 16 bytes" in a message
    const char* name;
    long offset;
};

static void check_word(Worker& w, Word& word, unsigned bytes, bool write, bool atomic, Place place,
                       Space space, Where where) {
    unsigned t = w.current;
    const uint64_t block = numbers[serial - launch_serial];
    const char* kind = space == SHARED ? "shared race" : "global race";
    if (word.write.block && (word.write.bytes & bytes) && !(word.write.atomic && atomic) &&
        !is_ordered(w, word.write)) {
        const uint64_t other = numbers[word.write.block - launch_serial];
        found(kind, place, known[word.write_place - 1],
              "%s of %s + %ld bytes by %s after a write by %s, with no barrier between",
              atomic ? "atomic operation" : write ? "write" : "read", where.name, where.offset,
              Who(w, block, t).text, Who(w, other, word.write.thread).text);
    }
    if ((write || atomic) && word.read.block && (word.read.bytes & bytes) && !reads_are_ordered(w, word)) {
        const uint64_t other = numbers[word.read.block - launch_serial];
        found(kind, place, known[word.read_place - 1],
              "write of %s + %ld bytes by %s after a read by %s%s, with no barrier between", where.name,
              where.offset, Who(w, block, t).text, Who(w, other, word.read.thread).text,
              word.readers == ONE ? "" : " and others");
    }
    Access now = {serial, (unsigned short)t, barriers[t], warp_barriers[t], (unsigned char)bytes, atomic};
    if (write || atomic) {
        word.write = now;
        word.write_place = number_of(place);
    } else {
        remember_read(w, word, now, place);
    }
}

static void forget_copies();

// ---- the life of a block

static void begin_checked_block(Worker& w) {
    serial++;
    numbers.add(block_number(w));
    forget_copies();
    memset(barriers, 0, sizeof barriers);
    memset(warp_barriers, 0, sizeof warp_barriers);
    memset((void*)shared_words, 0, shared_count * sizeof(Word));
    begin_counting();
}

static void end_checked_block(Worker&) { end_counting(); }
static void pass_barrier(unsigned thread) { barriers[thread]++; }
static void pass_warp_barrier(unsigned thread) { warp_barriers[thread]++; }

}  // namespace tt_emu

// Before each launch.
TT_API void tt_checked_begin(const tt_emu::Loaded* kernel) {
    using namespace tt_emu;
    look_at(*kernel->copies[0]);
    launch_serial = serial + 1;
    numbers.clear();
    findings.clear();
    forget_lines();
    known.clear();
    known.add({});
    size_t need = (size_t)(image.shared_end - image.shared_start + MOST_SHARED) / 4 + 8;
    if (need <= shared_count) return;
    free((void*)shared_words);
    shared_words = (Word*)calloc(need, sizeof(Word));
    shared_count = shared_words ? need : 0;
}
