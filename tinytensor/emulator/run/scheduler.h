// Scheduler: the threads of a block as fibers.
//
// Fibers are created lazily: threads run one after another on one stack until one of them has to wait; only
// then does the next thread get its own stack. A kernel without barriers never switches.
//
// Order 0 runs ready threads in ascending order, the lanes of the running warp first. Order 1 runs them in
// descending order, other numbers in random order: a kernel whose result depends on the order lacks a
// barrier.
#pragma once
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "run/core.h"
#include "run/fibers.h"

namespace tt_emu {

constexpr unsigned MOST_THREADS = 1024, LANES = 32, WARPS = 32, NUMBERED = 16;

enum Kind : int {
    SYNC,
    SHUFFLE,
    VOTE,
    MATCH,
    REDUCE,
    LDMATRIX,
    MMA,
    WGMMA,
    WGMMA_WAIT,
    WMMA,
    GATHER,
    NUMBER,
    GRID
};
static const char* const kind_names[] = {
    "__syncwarp", "a shuffle", "a vote",           "a match",  "a reduction",  "ldmatrix",           "mma",
    "wgmma",      "wgmma.wait_group", "mma_sync", "__activemask", "a numbered barrier", "grid.sync()"};

struct Wait {  // what a lane published before it began to wait for its warp
    Kind kind;
    unsigned mask;
    void* operand;
};

struct Worker {
    Job job;
    Run run;
    uint64_t order, random;  // random: state of the generator of random orders
    bool single;             // one run per thread, so that the faulting thread is known

    unsigned threads, warps, live, current;
    unsigned first, last;  // the run in progress
    bool plain;            // no thread of that run has waited yet; `current` is valid if checked

    unsigned ready[WARPS], finished[WARPS], started[WARPS], waiting[WARPS];
    unsigned warps_ready;  // bit per warp: ready[warp] != 0

    unsigned arrived, counted;           // at the block's barrier; counted: with a true predicate
    unsigned first_arrived;              // the first thread to arrive
    int result_counted, result_arrived;  // of the last completed barrier

    bool apart;                        // the blocks may not wait for each other
    unsigned in_grid, at_grid[WARPS];  // threads that wait for the grid
    bool suspended;                    // all live threads do; grid.h

    unsigned in_warp[WARPS];  // lanes that wait for their warp
    Wait wait[WARPS][LANES];
    unsigned gathering[WARPS];  // lanes that ask for the mask of those that are active with them
    struct {
        unsigned arrived, parity, waiting[WARPS];
    } numbered[2 * NUMBERED];  // barriers with numbers, then those of tiles of several warps
    Site site[MOST_THREADS];  // where each thread waits

    struct Asynchronous* asynchronous;  // asynchronous.h; null before the first such work
    Stacks stacks;
    unsigned char* shared_end;  // where the dynamic shared memory ends
    int stack_of[MOST_THREADS];
    void* saved[MOST_THREADS];  // stack pointers of waiting threads
    void *main_stack, *nowhere;

    uint64_t operations;  // barriers, warp operations and others that its threads have called
    unsigned idle;      // yields since a thread began to wait or ended, or wrote
    double idle_since;  // when the first of them was
    Exchange exchange;  // of the running kernel

    uint64_t round;  // of the last launch that a worker thread has processed
    bool failed;
    volatile bool guarded;  // on a fiber: a fault belongs to the running block, and main_stack is the exit
    volatile bool whole;    // in a function of the core that must not be interrupted
    int fault;       // the signal, or 0
    int fault_code;  // its si_code
    const void* fault_address;
    char message[1024];
};

extern "C" void tt_emu_enter_fiber();
static Worker& running_worker();
static void finish_warp_operation(Worker& w, unsigned warp, unsigned lanes);
static void forget_asynchronous(Worker& w);
static bool awaits_phase(const Worker& w, unsigned thread);
static void release_gathered(Worker& w, unsigned warp);  // named_barriers.h
static void forget_gathered(Worker& w);
#ifdef TT_CHECKED  // races.h
static void begin_checked_block(Worker& w);
static void end_checked_block(Worker& w);
static void pass_barrier(const Worker& w);
static void meet_in_warp(const Worker& w, unsigned warp, unsigned lanes, bool orders);
static void check_sources(const Worker& w, unsigned warp, unsigned lanes);
static void record_warp(Worker& w, unsigned warp, unsigned lanes);
static void read_rows(Worker& w, unsigned warp);
static void read_matrices(Worker& w, unsigned warp);
static void count_product(Matrix kind, Site site, unsigned operations);
#endif

static double now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double patience = 10;  // seconds that threads may poll in vain

static bool interrupted;  // whether the user interrupted the launch

// Leaves a fiber, to the start of its block; the other threads of the block are abandoned.
[[noreturn]] static void leave_block(Worker& w) {
    w.guarded = w.whole = false;
    switch_stack(&w.nowhere, w.main_stack);
    __builtin_unreachable();
}

// Ends the running block of an interrupted launch, if it can be left now. Otherwise this is checked again at
// the start of the next block, or at the end of the uninterruptible section.
static void leave_if_interrupted(Worker& w) {
    if (!w.guarded || w.whole || !__atomic_load_n(&interrupted, __ATOMIC_RELAXED)) return;
    w.failed = true;
    leave_block(w);
}

// Uninterruptible section, for taking a lock or changing a list: an interrupt waits for its end.
struct Whole {
    Worker& w;
    const bool before;
    explicit Whole(Worker& w) : w(w), before(w.whole) { w.whole = true; }
    ~Whole() {
        w.whole = before;
        leave_if_interrupted(w);
    }
};

// Ends the launch with a message.
[[noreturn]] static void fail(Worker& w, const char* format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(w.message, sizeof w.message, format, values);
    va_end(values);
    w.failed = true;
    leave_block(w);
}

struct Name {  // "thread (1, 2, 3)" of a thread's number
    char text[64];
    Name(const Worker& w, unsigned t) {
        const unsigned* b = w.job.block;
        snprintf(text, sizeof text, "thread (%u, %u, %u)", t % b[0], t / b[0] % b[1], t / b[0] / b[1]);
    }
};

static inline unsigned lowest(unsigned mask) { return (unsigned)__builtin_ctz(mask); }
static inline unsigned highest(unsigned mask) { return 31u - (unsigned)__builtin_clz(mask); }

// ---- who runs next ----------------------------------------------------------------------------------------

static inline void make_ready(Worker& w, unsigned warp, unsigned lanes) {
    w.ready[warp] |= lanes;
    if (w.ready[warp]) w.warps_ready |= 1u << warp;
}

static inline void make_busy(Worker& w, unsigned thread) {
    unsigned warp = thread / LANES;
    w.ready[warp] &= ~(1u << thread % LANES);
    if (!w.ready[warp]) w.warps_ready &= ~(1u << warp);
}

static uint64_t draw(Worker& w) {
    uint64_t x = w.random;  // xorshift64
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    return w.random = x;
}

static unsigned nth_bit(unsigned mask, unsigned n) {
    while (n--) mask &= mask - 1;
    return lowest(mask);
}

static unsigned draw_bit(Worker& w, unsigned mask) {
    return nth_bit(mask, (unsigned)(draw(w) % (unsigned)__builtin_popcount(mask)));
}

static unsigned draw_ready(Worker& w) {
    const unsigned warp = draw_bit(w, w.warps_ready);
    return warp * LANES + draw_bit(w, w.ready[warp]);
}

static unsigned pick_in_other_order(Worker& w) {
    if (w.order != 1) return draw_ready(w);
    const unsigned warp = highest(w.warps_ready);
    return warp * LANES + highest(w.ready[warp]);
}

// Number of a ready thread, or -1. In order 0 it is the next ready lane above the running one, or of the next
// warp if there is none; so threads that have not begun are always the last ones of the block.
static inline int pick(Worker& w) {
    if (!w.warps_ready) return -1;
    if (w.order) return (int)pick_in_other_order(w);
    unsigned warp = w.current / LANES, lane = w.current % LANES, lanes = w.ready[warp];
    if (!lanes) {
        unsigned above = warp == 31 ? 0 : w.warps_ready & (~0u << (warp + 1));
        warp = lowest(above ? above : w.warps_ready);
        return (int)(warp * LANES + lowest(w.ready[warp]));
    }
    unsigned above = lane == 31 ? 0 : lanes & (~0u << (lane + 1));
    return (int)(warp * LANES + lowest(above ? above : lanes));
}

static inline bool has_begun(const Worker& w, unsigned thread) {
    return w.started[thread / LANES] >> (thread % LANES) & 1;
}

static inline void begin_run(Worker& w, unsigned thread) {
    w.first = thread;
    w.last = w.order || w.single ? thread + 1 : w.threads;
    w.current = thread;
    w.plain = true;
}

// The operation that a thread waits in.
static const char* operation(const Worker& w, unsigned t) {
    if (awaits_phase(w, t)) return "a phase of a barrier";
    bool in_block = w.waiting[t / LANES] >> (t % LANES) & 1;
    return in_block ? "__syncthreads" : kind_names[w.wait[t / LANES][t % LANES].kind];
}

static bool same_place(const Worker& w, unsigned a, unsigned b) {
    return w.site[a].line == w.site[b].line && w.site[a].file == w.site[b].file;
}

// Names two threads that wait at different source locations, if there are any.
[[noreturn]] static void report_deadlock(Worker& w) {
    unsigned a = w.threads, b = w.threads;
    for (unsigned t = 0; t < w.threads && b == w.threads; t++) {
        if (w.finished[t / LANES] >> (t % LANES) & 1) continue;
        if (a == w.threads) a = t;
        else if (!same_place(w, a, t) || operation(w, a) != operation(w, t)) b = t;
    }
    if (b == w.threads)
        fail(w, "deadlock: %s waits in %s at %s:%d for threads that never arrive", Name(w, a).text,
             operation(w, a), w.site[a].file, w.site[a].line);
    fail(w, "deadlock: %s waits in %s at %s:%d while %s waits in %s at %s:%d", Name(w, a).text,
         operation(w, a), w.site[a].file, w.site[a].line, Name(w, b).text, operation(w, b), w.site[b].file,
         w.site[b].line);
}

static __attribute__((noinline)) void begin_on_new_stack(Worker& w, unsigned t) {
    const int stack = w.stacks.take();
    w.stack_of[t] = stack;
    w.saved[t] = new_stack(w.stacks.top(stack), tt_emu_enter_fiber);
    begin_run(w, t);
}

// Continues with thread t until another thread continues this one. Inline, as `pause` and `meet` are: each
// call between a kernel and a switch would touch more of a stack that has left the cache.
static TT_ALWAYS_INLINE void run_instead(Worker& w, unsigned self, unsigned t) {
    make_busy(w, t);
    if (t == self) return;
    if (has_begun(w, t)) w.current = t;
    else begin_on_new_stack(w, t);
    const char* const likely = (const char*)w.saved[(t + 1) % MOST_THREADS];  // the one that follows
    for (int line = 0; line < 4; line++) __builtin_prefetch(likely + 64 * line);
    switch_stack(&w.saved[self], w.saved[t]);
    w.plain = false;
}

// Blocks the running thread: runs others, and returns when this one is ready.
static TT_ALWAYS_INLINE void pause(Worker& w, unsigned self) {
    if (w.gathering[self / LANES]) release_gathered(w, self / LANES);
    int next = pick(w);
    if (next < 0) report_deadlock(w);
    w.idle = 0;
    run_instead(w, self, (unsigned)next);
}

// ---- threads that let others run --------------------------------------------------------------------------

// The ready thread with the next higher number than `after`, or the first one; -1 if there is none.
static int next_ready(const Worker& w, unsigned after) {
    for (unsigned i = 0; i <= w.warps; i++) {
        const unsigned warp = (after / LANES + i) % w.warps;
        unsigned lanes = w.ready[warp];
        if (i == 0) lanes &= after % LANES == 31 ? 0 : ~0u << (after % LANES + 1);
        if (i == w.warps) lanes &= (1u << after % LANES) - 1;
        if (lanes) return (int)(warp * LANES + lowest(lanes));
    }
    return -1;
}

static inline void enter(Worker& w, unsigned self, const Site& site);

// Runs thread `next`, which is ready, and returns when this one is continued, which stays ready.
static void give_way(Worker& w, unsigned self, unsigned next, const Site& site) {
    enter(w, self, site);
    make_ready(w, self / LANES, 1u << self % LANES);
    run_instead(w, self, next);
}

// ---- the block's barrier, and the ends of threads ---------------------------------------------------------

static void release_block(Worker& w) {
    TT_CHECK({ Whole whole(w); pass_barrier(w); })
    w.result_counted = (int)w.counted;
    w.result_arrived = (int)w.arrived;
    for (unsigned warp = 0; warp < w.warps; warp++) {
        make_ready(w, warp, w.waiting[warp]);
        w.waiting[warp] = 0;
    }
    w.arrived = w.counted = 0;
}

// Releases lanes that wait for one which has ended. Returns whether some of them can continue.
static bool release_lanes(Worker& w, unsigned warp) {
    for (unsigned left = w.in_warp[warp]; left; left &= left - 1) {
        unsigned lanes = w.wait[warp][lowest(left)].mask & ~w.finished[warp];
        if ((w.in_warp[warp] & lanes) != lanes) continue;
        w.in_warp[warp] &= ~lanes;
        finish_warp_operation(w, warp, lanes);
        make_ready(w, warp, lanes);
        return true;
    }
    return false;
}

static void end_threads(Worker& w, unsigned first, unsigned last) {
    if (first == last) return;
    for (unsigned warp = first / LANES; warp <= (last - 1) / LANES; warp++) {
        unsigned from = warp * LANES < first ? first - warp * LANES : 0;
        unsigned to = last - warp * LANES < LANES ? last - warp * LANES : LANES;
        unsigned lanes = (to == LANES ? ~0u : (1u << to) - 1) & (~0u << from);
        w.finished[warp] |= lanes;
        w.started[warp] |= lanes;
        w.ready[warp] &= ~lanes;
        if (!w.ready[warp]) w.warps_ready &= ~(1u << warp);
        while (w.in_warp[warp] && release_lanes(w, warp)) {
        }
        if (w.gathering[warp]) release_gathered(w, warp);
    }
    w.live -= last - first;
    w.idle = 0;
}

// Called at the start of each operation: registers the running thread with the scheduler.
static inline void enter(Worker& w, unsigned self, const Site& site) {
    w.operations++;
    if (w.plain) {
        end_threads(w, w.first, self);
        w.plain = false;
        w.current = self;
        w.started[self / LANES] |= 1u << self % LANES;
        make_busy(w, self);
        w.stack_of[self] = w.stack_of[w.first];
    }
    // One by one: the caller has stored them so just now, and a load of both would wait for the stores.
    w.site[self].file = site.file;
    w.site[self].line = site.line;
}

#ifdef TT_CHECKED
// Registers the ends of the threads that ran before the running one on its stack, without a pause.
static void end_earlier(Worker& w) {
    const unsigned self = w.current;
    if (!w.plain || w.first == self) return;
    end_threads(w, w.first, self);
    make_busy(w, self);
    w.stack_of[self] = w.stack_of[w.first];
    w.first = self;
}
#endif

// Main loop of a stack: runs threads until all have begun, then ends.
void tt_emu_enter_fiber() {
    Worker& w = running_worker();
    w.guarded = true;
    leave_if_interrupted(w);
    int stack = w.stack_of[w.first];
    for (;;) {
        unsigned stopped = w.run(w.job, w.first, w.last);
        if (w.plain) {
            end_threads(w, w.first, w.last);
            w.current = w.last - 1;
        } else {
            end_threads(w, stopped, stopped + 1);
        }
        if (w.live && w.arrived == w.live) release_block(w);
        int next = pick(w);
        if (next < 0) {
            w.suspended = w.live && w.in_grid == w.live;
            if (w.live && !w.suspended) report_deadlock(w);
            w.stacks.give(stack);
            leave_block(w);
        }
        unsigned t = (unsigned)next;
        make_busy(w, t);
        if (!has_begun(w, t)) {
            w.stack_of[t] = stack;
            begin_run(w, t);
            continue;
        }
        w.stacks.give(stack);
        w.current = t;
        switch_stack(&w.nowhere, w.saved[t]);
    }
}

static void run_block(Worker& w) {
    TT_CHECK(begin_checked_block(w);)
    forget_asynchronous(w);
    forget_gathered(w);
    w.live = w.threads;
    w.arrived = w.counted = w.in_grid = 0;
    w.suspended = false;
    w.warps_ready = w.warps == WARPS ? ~0u : (1u << w.warps) - 1;
    for (unsigned warp = 0; warp < w.warps; warp++) {
        unsigned left = w.threads - warp * LANES;
        w.ready[warp] = left >= LANES ? ~0u : (1u << left) - 1;
        w.waiting[warp] = w.finished[warp] = w.started[warp] = w.in_warp[warp] = w.at_grid[warp] = 0;
    }
    unsigned t = w.order ? pick_in_other_order(w) : 0;
    make_busy(w, t);
    if (!w.stacks.all_are_free()) w.stacks.reset();  // a refused grid barrier keeps those of its first block
    int stack = w.stacks.take();
    w.stack_of[t] = stack;
    void* sp = new_stack(w.stacks.top(stack), tt_emu_enter_fiber);
    begin_run(w, t);
    switch_stack(&w.main_stack, sp);
    if (w.failed) w.stacks.reset();
    TT_CHECK(if (!w.suspended) end_checked_block(w);)
}

}  // namespace tt_emu
