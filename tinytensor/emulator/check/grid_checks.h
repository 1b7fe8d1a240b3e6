// Checks of blocks that wait for the grid: a block is left there, others run, and it goes on later. What
// came before the barrier of the grid happens before all that follows, as with the end of a launch; so
// global memory that is touched again is counted again. Of its shared memory a block keeps which bytes were
// written.
#pragma once
#include "check/asynchronous_checks.h"

namespace tt_emu {

struct Left {       // of a block, while others run
    char* written;  // per byte of its shared variables, then of its dynamic shared memory
    bool counted, recorded;
};

// Calls f with each word of the block's shared memory, the first of its bytes in `written`, and how many.
template <class F>
static size_t each_shared_word(const Worker& w, F f) {
    size_t at = 0;
    const auto visit = [&](const char* start, size_t size, Shadow& shadow, const char* shadow_start) {
        for (size_t i = 0; shadow.words && i < size; i++)
            f(shadow.words[(size_t)(start + i - shadow_start) / shadow.granule], at + i);
        at += size;
    };
    for (const Variable& v : image.variables)
        if (v.space == SHARED) visit(v.start, (size_t)(v.end - v.start), image_shadow, image.data_start);
    visit(dynamic_start(w), dynamic_bytes, dynamic_shadow, (const char*)w.shared_end - MOST_SHARED);
    return at;
}

static void leave_checked_block(Worker& w, Left& left) {
    compare_written();
    see(nullptr);
    const size_t size = each_shared_word(w, [](Word&, size_t) {});
    if (!left.written) left.written = (char*)calloc(size + 1, 1);
    if (!left.written) abort();
    each_shared_word(w,
                     [&](Word& word, size_t i) { left.written[i] = word.write_phase >= first_of_block; });
    left.counted = counting, left.recorded = recording;
    if (counting) keep_costs(w), keep_work();
    counting = false;
    end_recording();
}

static void continue_checked_block(Worker& w, const Left& left) {
    first_of_block = ++phase;
    begun.add({phase, block_number(w)});
    each_shared_word(w, [&](Word& word, size_t i) {
        word = {};
        if (left.written[i]) word.write_phase = first_of_block;
    });
    phase++;  // so that these writes are before what follows
    begin_asynchronous_block();
    acquired.clear();
    fenced_now = 0, fenced_until = 0;
    memset(read_first, 0, sizeof read_first);
    counting = left.counted && !cut;
    if (counting) forget_traces(), counted_blocks--;  // it will be counted at its next end
    recording = left.recorded && events.count < MOST_EVENTS;
    see(&w);
}

// What a block must have finished when it waits for the grid.
static void check_grid_barrier(Worker& w, Site site) {
    if (exploring)
        fail(w, "grid.sync() at %s:%d: schedules are for kernels whose blocks do not wait for each other",
             site.file, site.line);
    bool flying = boxes.count;
    for (unsigned t = 0; t < w.threads; t++) flying = flying || copies[t].count;
    if (flying)
        fail(w,
             "grid.sync() at %s:%d while asynchronous copies are in flight, which the check cannot follow; "
             "without it (on `emulated`) it works",
             site.file, site.line);
}

}  // namespace tt_emu
