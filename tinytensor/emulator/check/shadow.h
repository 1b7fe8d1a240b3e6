// Shadow memory: a Word for each 4 bytes, or for each 2 or 1 after accesses of that size.
#pragma once
#include "run/image.h"

namespace tt_emu {

struct Word {
    // Phases (happens_before.h) are never reused, so data of earlier launches need no clearing. They are the
    // high bits, so that comparing two halves compares their phases.
    uint64_t write_thread : 10, atomic : 1, pending : 1;  // pending: see races.h
    uint64_t written_volatile : 1, unused : 3, write_phase : 48;
    uint64_t read_thread : 10, several : 1;  // several: warps have read
    uint64_t read_volatile : 1;
    uint64_t others_done : 1, last_done : 1;  // which readers went on with an atomic operation (races.h)
    uint64_t also_unused : 2, read_phase : 48;
    uint32_t write_clock, read_clock;
    uint32_t read_lanes;  // of one warp; or a thread of another warp than read_thread, if `several`
    uint16_t write_place, read_place;
};
static_assert(sizeof(Word) == 32, "32 bytes for each 4");

// The last write and the last read of a word, each as one number. Stored in one piece, since it is soon
// loaded in one: a processor waits for stores of parts.
struct Halves {
    uint64_t written, read;
    explicit Halves(const Word& word) { memcpy(this, &word, sizeof *this); }
};
enum : uint64_t { ATOMIC_BIT = 1 << 10, PENDING_BIT = 1 << 11, WRITTEN_VOLATILE_BIT = 1 << 12 };
enum : uint64_t { SEVERAL_BIT = 1 << 10, READ_VOLATILE_BIT = 1 << 11 };
enum : uint64_t { OTHERS_DONE_BIT = 1 << 12, LAST_DONE_BIT = 1 << 13 };
static uint64_t half_of(uint64_t phase, unsigned thread = 0) { return phase << 16 | thread; }
static void put_written(Word& word, uint64_t half) { memcpy(&word, &half, sizeof half); }
static void put_read(Word& word, uint64_t half) { memcpy((char*)&word + sizeof half, &half, sizeof half); }

constexpr size_t MOST_SHADOW = (size_t)8 << 30, KEPT_SHADOW = (size_t)256 << 20;
static size_t shadow_bytes;  // of all buffers, and of those that were freed

struct Spare {  // shadow memory of earlier launches without a buffer, which needs no clearing
    Word* words;
    size_t size;
};
static List<Spare> spares;

static void* pages(size_t bytes) {
    void* memory =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    madvise(memory, bytes, MADV_HUGEPAGE);  // else half of the time of a first launch is page faults
    return memory;
}

static void free_words(const Spare& words) {
    munmap((void*)words.words, words.size);
    shadow_bytes -= words.size;
}

// Words of at least so many bytes: the smallest spare ones, or new ones; null if there is no memory.
static Spare take_words(size_t size) {
    Spare* best = nullptr;
    for (Spare& s : spares)
        if (s.size >= size && (!best || s.size < best->size)) best = &s;
    if (best) {
        const Spare taken = *best;
        *best = spares[--spares.count];
        return taken;
    }
    if (shadow_bytes + size > MOST_SHADOW) {
        for (const Spare& s : spares) free_words(s);
        spares.clear();
    }
    Word* words = shadow_bytes + size > MOST_SHADOW ? nullptr : (Word*)pages(size);
    if (words) shadow_bytes += size;
    return {words, size};
}

struct Shadow {
    Word* words = nullptr;
    size_t bytes = 0;      // size of the shadowed memory
    unsigned granule = 4;  // bytes per word
    size_t mapped = 0;     // size of the words

    // In a launch, its own words would need clearing.
    void drop() {
        if (words && (here || shadow_bytes > KEPT_SHADOW)) free_words({words, mapped});
        else if (words) spares.add({words, mapped});
        words = nullptr;
        granule = 4;
    }

    // Whether shadow memory of `length` bytes is available, in words of `wanted` bytes or fewer.
    bool prepare(size_t length, unsigned wanted) {
        if (words && granule <= wanted) return true;
        bytes = length;
        const size_t count = (bytes + wanted - 1) / wanted;
        const Spare taken = take_words(count * sizeof(Word));
        Word* finer = taken.words;
        if (!finer) return false;
        if (words) {
            const size_t each = granule / wanted;
            for (size_t i = 0; i < count; i++) {
                const Word& known = words[i / each];
                if (known.write_phase || known.read_phase) finer[i] = known;
            }
            free_words({words, mapped});  // they are of this launch
        }
        words = finer;
        mapped = taken.size;
        granule = wanted;
        return true;
    }
};

// The largest words that represent an access exactly.
static unsigned granule_of(size_t offset, size_t size) {
    return 1u << __builtin_ctzll((unsigned long long)(offset | size | 4));
}

}  // namespace tt_emu
