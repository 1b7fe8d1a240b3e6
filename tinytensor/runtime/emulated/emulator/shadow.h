// Shadow memory: a Word for each 4 bytes, or for each 2 or 1 after accesses of that size.
#pragma once
#include "image.h"

namespace tt_emu {

struct Word {
    // Phases (order.h) are never reused, so data of earlier launches need no clearing.
    uint64_t write_phase : 48, write_thread : 10, atomic : 1, pending : 1;  // pending: see races.h
    uint64_t written_volatile : 1;
    uint64_t read_phase : 48, read_thread : 10, several : 1;  // several: warps have read
    uint64_t read_volatile : 1;
    uint64_t others_done : 1, last_done : 1;  // which readers went on with an atomic operation (races.h)
    uint32_t write_clock, read_clock;
    uint32_t read_lanes;  // of one warp; or a thread of another warp than read_thread, if `several`
    uint16_t write_place, read_place;
};
static_assert(sizeof(Word) == 32, "32 bytes for each 4");

constexpr size_t MOST_SHADOW = (size_t)8 << 30, KEPT_SHADOW = (size_t)256 << 20;
static size_t shadow_bytes;  // of all buffers

static void* pages(size_t bytes) {
    void* memory =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    madvise(memory, bytes, MADV_HUGEPAGE);  // else half of the time of a first launch is page faults
    return memory;
}

struct Shadow {
    Word* words = nullptr;
    size_t bytes = 0;      // size of the shadowed memory
    unsigned granule = 4;  // bytes per word

    size_t size(unsigned of) const { return (bytes + of - 1) / of * sizeof(Word); }

    void drop() {
        if (!words) return;
        munmap((void*)words, size(granule));
        shadow_bytes -= size(granule);
        words = nullptr;
        granule = 4;
    }

    // Whether shadow memory of `length` bytes is available, in words of `wanted` bytes or fewer.
    bool prepare(size_t length, unsigned wanted) {
        if (words && granule <= wanted) return true;
        bytes = length;
        if (shadow_bytes + size(wanted) > MOST_SHADOW) return false;
        Word* finer = (Word*)pages(size(wanted));
        if (!finer) return false;
        shadow_bytes += size(wanted);
        if (words) {
            const size_t each = granule / wanted, count = (bytes + wanted - 1) / wanted;
            for (size_t i = 0; i < count; i++) {
                const Word& known = words[i / each];
                if (known.write_phase || known.read_phase) finer[i] = known;
            }
            drop();
        }
        words = finer;
        granule = wanted;
        return true;
    }
};

// The largest words that represent an access exactly.
static unsigned granule_of(size_t offset, size_t size) {
    return 1u << __builtin_ctzll((unsigned long long)(offset | size | 4));
}

}  // namespace tt_emu
