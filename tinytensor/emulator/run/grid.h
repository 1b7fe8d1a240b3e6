// Barriers of the whole grid: all blocks of the launch are resident, one worker each, on one operating system
// thread. A block that waits is left, the next one runs; when all wait, all go on.
//
// Variables in shared memory are static data of the unit, so each block has a copy of them while it waits.
#pragma once
#include "run/image.h"
#ifdef TT_CHECKED
#include "check/grid_checks.h"
#endif

namespace tt_emu {

constexpr unsigned MOST_RESIDENT = 256;

struct Resident {
    Worker* worker;
    char* shared;  // the shared variables, while another block runs
    bool ended;
    TT_CHECK(Left left;)
};
static Resident residents[MOST_RESIDENT];

// Calls f with each variable in shared memory, and its place in a copy. Returns the size of a copy.
template <class F>
static size_t each_shared(F f) {
    size_t at = 0;
    for (const Variable& v : image.variables) {
        if (v.space != SHARED) continue;
        const size_t size = (size_t)(v.end - v.start);
        f((char*)v.start, at, size);
        at += size;
    }
    return at;
}

static void resume_block(Worker& w) {
    for (unsigned warp = 0; warp < w.warps; warp++) {
        make_ready(w, warp, w.at_grid[warp]);
        w.at_grid[warp] = 0;
    }
    w.in_grid = 0;
    w.suspended = false;
    w.current = w.threads - 1;
    const unsigned t = (unsigned)pick(w);
    make_busy(w, t);
    w.current = t;
    w.run(w.job, 0, 0);  // sets the variables of the unit
    w.guarded = true;
    switch_stack(&w.main_stack, w.saved[t]);
    if (w.failed) w.stacks.reset();
    TT_CHECK(if (!w.suspended) end_checked_block(w);)
}

static bool make_resident(Launch& launch, unsigned i) {
    Resident& r = residents[i];
    if (i == 0) r.worker = workers[0];
    if (!r.worker) r.worker = (Worker*)calloc(1, sizeof(Worker));
    free(r.shared);
    TT_CHECK(free(r.left.written); r.left.written = nullptr;)
    r.shared = (char*)malloc(each_shared([](char*, size_t, size_t) {}) + 1);
    r.ended = false;
    if (!r.worker || !r.shared || !prepare(*r.worker)) return false;
    // As they are: static variables of a program's functions are among them.
    each_shared([&](char* variable, size_t at, size_t size) { memcpy(r.shared + at, variable, size); });
    if (i) prepare_launch(*r.worker, launch, *launch.kernel->copies[0]);
    return true;
}

// Runs a block until it ends or waits for the others; false if it failed.
static bool run_resident(Launch& launch, unsigned i) {
    Resident& r = residents[i];
    Worker& w = *r.worker;
    here = &w;
    each_shared([&](char* variable, size_t at, size_t size) { memcpy(variable, r.shared + at, size); });
    if (w.suspended) {
        TT_CHECK(continue_checked_block(w, r.left);)
        resume_block(w);
    } else {
        run_index(w, launch, i);
    }
    TT_CHECK(if (w.suspended) leave_checked_block(w, r.left);)
    each_shared([&](char* variable, size_t at, size_t size) { memcpy(r.shared + at, variable, size); });
    r.ended = !w.suspended;
    return !w.failed;
}

// A launch of which the first block waits for the others already.
static int run_grid(Launch& launch) {
    const unsigned n = (unsigned)launch.blocks;
    if (launch.blocks > MOST_RESIDENT)
        return refuse("grid.sync() with %llu blocks; at most %u can wait for each other",
                      (unsigned long long)launch.blocks, MOST_RESIDENT),
               (int)REFUSED;
    look_at(*launch.kernel->copies[0]);
    for (unsigned i = 0; i < n; i++)
        if (!make_resident(launch, i)) return refuse("there is no memory for %u blocks", n), (int)REFUSED;
    TT_CHECK(leave_checked_block(*residents[0].worker, residents[0].left);)
    for (unsigned left = n, first = 1; left; first = 0) {
        for (unsigned i = first; i < n; i++)
            if (!residents[i].ended && !run_resident(launch, i))
                return describe_failure(*residents[i].worker);
        left = 0;
        for (unsigned i = 0; i < n; i++) left += !residents[i].ended;
        if (left && left < n) {
            unsigned waits = 0;
            while (residents[waits].ended) waits++;
            return refuse("deadlock: block %u waits in grid.sync() for a block that has ended", waits),
                   (int)FAILED;
        }
        TT_CHECK(first_of_launch = ++phase;)
    }
    return DONE;
}

}  // namespace tt_emu

TT_API bool tt_emu_is_cooperative(Worker* worker) { return !worker->apart; }

TT_SWITCHES void tt_emu_grid_barrier(Worker* worker, unsigned self, Site site) {
    Worker& w = *worker;
    if (w.apart) {
        enter(w, self, site);
        fail(w,
             "grid.sync() at %s:%d by %s in a launch that is not cooperative: only "
             "cudaLaunchCooperativeKernel starts all blocks together",
             site.file, site.line, Name(w, self).text);
    }
    const unsigned* grid = w.job.grid;
    if ((unsigned long long)grid[0] * grid[1] * grid[2] == 1) {
        tt_emu_barrier(worker, self, 0, nullptr, site);
        return;
    }
    enter(w, self, site);
    TT_CHECK(check_grid_barrier(w, site);)
    w.wait[self / LANES][self % LANES] = {GRID, 0, nullptr};
    w.at_grid[self / LANES] |= 1u << self % LANES;
    if (++w.in_grid < w.live) return pause(w, self);
    w.suspended = true;
    w.guarded = false;
    switch_stack(&w.saved[self], w.main_stack);
}
