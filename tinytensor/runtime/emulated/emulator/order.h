// Happens-before order of two accesses: by the same thread, a barrier of the block, __syncwarp within a warp.
// Blocks of one launch are ordered only by a __threadfence and an atomic operation on one side, and an atomic
// operation on the same address on the other.
//
// The time between two barriers of one block is a phase. Blocks run one after another, so phases are numbered
// through all blocks and launches.
#pragma once
#include "buffers.h"

namespace tt_emu {

static uint64_t phase = 1, first_of_block = 1, first_of_launch = 1;

struct Begun {
    uint64_t phase, block;
};
static List<Begun> begun;  // the blocks of this launch, in the order in which they run

static const Begun& block_in(uint64_t then) {
    size_t low = 0, high = begun.count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (begun[middle].phase <= then) low = middle;
        else high = middle;
    }
    return begun[low];
}

// ---- between warps, by barriers that count arrivals (asynchronous_checks.h)

// The latest clock of each thread that happened before what a thread does now.
static uint32_t heard[MOST_THREADS][MOST_THREADS];
static bool has_met;  // whether any was heard of in this launch

static bool was_heard(unsigned me, unsigned thread, uint32_t clock) {
    return clock && heard[me][thread] >= clock;
}

static void share_heard(unsigned warp, unsigned lanes) {
    for (unsigned t = 0; t < MOST_THREADS; t++) {
        uint32_t latest = 0;
        for (unsigned left = lanes; left; left &= left - 1) {
            const uint32_t clock = heard[warp * LANES + lowest(left)][t];
            if (clock > latest) latest = clock;
        }
        for (unsigned left = lanes; left; left &= left - 1) heard[warp * LANES + lowest(left)][t] = latest;
    }
}

// ---- within a warp: vector clocks of the lanes

static uint32_t seen[MOST_THREADS][LANES];

static void reset_clocks() {
    if (has_met) memset(heard, 0, sizeof heard);
    has_met = false;
    memset(seen, 0, sizeof seen);
    for (unsigned t = 0; t < MOST_THREADS; t++) seen[t][t % LANES] = 1;
}

static void pass_warp_barrier(unsigned warp, unsigned lanes) {
    uint32_t latest[LANES] = {};
    for (unsigned left = lanes; left; left &= left - 1)
        for (unsigned i = 0; i < LANES; i++) {
            const uint32_t clock = seen[warp * LANES + lowest(left)][i];
            if (clock > latest[i]) latest[i] = clock;
        }
    for (unsigned left = lanes; left; left &= left - 1) {
        uint32_t* mine = seen[warp * LANES + lowest(left)];
        memcpy(mine, latest, sizeof latest);
        mine[lowest(left)]++;
    }
    if (has_met) share_heard(warp, lanes);
}

// ---- between blocks

struct Release {  // by a block that began in phase `first`: releases its accesses before `phase`
    uint64_t first, phase;
    unsigned thread;  // and those of this thread in it
};
struct Flag {  // an address of atomic operations by threads that had passed a fence
    const char* address;
    List<Release> releases;
    uint64_t taken;  // the phase in which the running block first read it
    unsigned taker;  // thread that did; MOST_THREADS: several
};
constexpr unsigned MOST_FLAGS = 64;
static Flag flags[MOST_FLAGS];
static unsigned flag_count;
static uint64_t fenced[MOST_THREADS];  // the phase of each thread's last fence

static void meet_at_flag(unsigned thread, const char* address) {
    const bool releases = fenced[thread] >= first_of_block;
    Flag* flag = nullptr;
    for (unsigned i = 0; i < flag_count && !flag; i++)
        if (flags[i].address == address) flag = &flags[i];
    if (!flag) {
        if (!releases || flag_count == MOST_FLAGS) return;
        flag = &flags[flag_count++];
        *flag = {address, {}, 0, 0};
    }
    if (flag->taken < first_of_block) flag->taken = phase, flag->taker = thread;
    else if (flag->taken == phase && flag->taker != thread) flag->taker = MOST_THREADS;
    if (!releases) return;
    List<Release>& list = flag->releases;
    const Release now = {first_of_block, fenced[thread], thread};
    if (list.count && list[list.count - 1].first == now.first) list[list.count - 1] = now;
    else list.add(now);
}

static bool was_released(const Worker& w, uint64_t then, unsigned thread) {
    const uint64_t first = block_in(then).phase;
    for (unsigned i = 0; i < flag_count; i++) {
        Flag& flag = flags[i];
        const bool known = flag.taken >= first_of_block &&
                           (flag.taken < phase || flag.taker == w.current || flag.taker == MOST_THREADS);
        if (!known) continue;
        for (size_t j = flag.releases.count; j-- > 0 && flag.releases[j].first >= first;) {
            const Release& r = flag.releases[j];
            if (r.first == first && (then < r.phase || (then == r.phase && thread == r.thread))) return true;
        }
    }
    return false;
}

static void forget_flags() {
    for (unsigned i = 0; i < flag_count; i++) flags[i].releases.drop();
    flag_count = 0;
}

// Whether an access of a thread happens before the current access of the running thread.
// `since`: the first phase that matters, of the launch or, for shared memory, of the block.
static bool is_ordered(const Worker& w, uint64_t since, uint64_t then, unsigned thread, uint32_t clock) {
    if (then < since) return true;
    if (then < first_of_block) return was_released(w, then, thread);
    if (then != phase) return true;
    const unsigned me = w.current;
    if (thread == me) return true;
    return thread / LANES == me / LANES ? seen[me][thread % LANES] >= clock : was_heard(me, thread, clock);
}

}  // namespace tt_emu

TT_API void tt_checked_fence(unsigned self) { tt_emu::fenced[self] = tt_emu::phase; }
