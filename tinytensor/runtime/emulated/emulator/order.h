// Happens-before order of two accesses: by the same thread, a barrier of the block, __syncwarp within a warp;
// or by a fence and then an atomic or volatile operation on one side, and an atomic or volatile operation on
// the same address and then a fence or a barrier on the other. A fence covers what came before it, also what
// the thread knew of others.
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

static void fence_acquired(unsigned warp, unsigned lanes);

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
    fence_acquired(warp, lanes);
    if (has_met) share_heard(warp, lanes);
}

// ---- operations of a warp that order no memory: a finding tells of the last one of all its lanes

struct WarpOperation {
    uint64_t phase;
    Kind kind;
    Site site;
};
static WarpOperation last_operation[WARPS];
static uint32_t clock_before[MOST_THREADS];  // of each thread, before the last operation of its warp

static void note_operation(const Worker& w, unsigned warp, unsigned lanes) {
    const unsigned threads = w.threads - warp * LANES, all = threads >= LANES ? ~0u : (1u << threads) - 1;
    if (all & ~w.finished[warp] & ~lanes) return;
    const unsigned first = warp * LANES + lowest(lanes);
    last_operation[warp] = {phase, w.wait[warp][lowest(lanes)].kind, w.site[first]};
    for (unsigned left = lanes; left; left &= left - 1) {
        const unsigned thread = warp * LANES + lowest(left);
        clock_before[thread] = seen[thread][lowest(left)]++;
    }
}

// What the running thread and another one have met in since an access of the other; null if nothing.
static const WarpOperation* operation_since(const Worker& w, uint64_t then, unsigned thread, uint32_t clock) {
    const WarpOperation& last = last_operation[thread / LANES];
    const bool met = thread / LANES == w.current / LANES && then == phase && last.phase == phase;
    return met && clock <= clock_before[thread] ? &last : nullptr;
}

// ---- by fences and atomic (or volatile) operations on one address

struct Taken {  // releases of a flag that a thread has read: all up to `count`
    unsigned flag;
    size_t count;
};
struct Release {  // what a thread had done, and what it knew, at its last fence
    uint64_t first, phase;  // the first phase of its block, and that of the fence
    unsigned thread;
    uint32_t lanes[LANES];  // clocks of its warp
    bool in_block;          // by __threadfence_block
    size_t known, known_end;  // in `passed_on`
    uint64_t visit;
};
struct Flag {
    const char* address;
    List<Release> releases;
};
enum Scope : uint8_t { NO_FENCE, IN_BLOCK, ON_DEVICE };
struct Acquired {  // by a thread of the running block
    Taken taken;
    uint64_t phase;
    unsigned thread;
    uint32_t clock;
    Scope fence;  // that the thread, or a barrier of its warp, has passed since
};
struct Fence {
    uint64_t phase;  // of the thread's last fence
    uint32_t lanes[LANES];
    bool in_block;
};
static List<Flag> flags;
static List<Acquired> acquired;
static List<Taken> passed_on;
static Fence fences[MOST_THREADS];
static unsigned fenced_now;   // threads that have passed a fence in this phase
static uint64_t fenced_until;  // all threads have passed one in the phase before this one
static uint64_t visit;

static void fence_acquired(unsigned warp, unsigned lanes) {
    for (Acquired& a : acquired)
        if (a.thread / LANES == warp && lanes >> a.thread % LANES & 1) a.fence = ON_DEVICE;
}

static bool keeps_readers;  // whether the block has used what orders reads within a phase; see readers.h

static void pass_fence(unsigned self, bool in_block) {
    keeps_readers = true;
    Fence& fence = fences[self];
    if (fence.phase != phase) fenced_now++;
    fence.phase = phase, fence.in_block = in_block;
    memcpy(fence.lanes, seen[self], sizeof fence.lanes);
    seen[self][self % LANES]++;  // what the thread does next is not released
    const Scope scope = in_block ? IN_BLOCK : ON_DEVICE;
    for (Acquired& a : acquired)
        if (a.thread == self && a.fence < scope) a.fence = scope;
}

// Threads that all pass a fence before a barrier release what they did before it by the operation of one.
static void pass_fences(unsigned live) {
    if (fenced_now >= live) fenced_until = phase + 1;
    fenced_now = 0;
}

static bool without_fences;  // whether acquired flags count without a fence behind, for an explanation

static bool was_acquired(const Worker& w, const Acquired& a) {
    const unsigned me = w.current;
    if (a.phase < phase) return true;  // a barrier of the block
    if (a.thread == me) return a.fence != NO_FENCE || without_fences;
    return a.thread / LANES == me / LANES && seen[me][a.thread % LANES] >= a.clock;
}

// The thread is about to read the flag, and perhaps to write it.
static void meet_at_flag(const Worker& w, const char* address, bool acquires, bool releases) {
    const unsigned thread = w.current;
    const Fence& fence = fences[thread];
    const bool is_own = fence.phase >= first_of_block && fence.phase > fenced_until;
    const uint64_t until = is_own ? fence.phase : fenced_until;
    releases = releases && until >= first_of_block;
    keeps_readers = true;
    unsigned at = 0;
    while (at < flags.count && flags[at].address != address) at++;
    if (at == flags.count) {
        if (!releases) return;
        flags.add({address, {}});
    }
    List<Release>& list = flags[at].releases;
    if (acquires && list.count) {
        const Acquired* last = acquired.count ? &acquired[acquired.count - 1] : nullptr;
        const bool again = last && last->thread == thread && last->taken.flag == at &&
                           last->taken.count == list.count && last->phase == phase;
        if (!again) acquired.add({{at, list.count}, phase, thread, seen[thread][thread % LANES]++, NO_FENCE});
    }
    if (!releases) return;
    Release now = {first_of_block, until, thread, {}, fence.in_block, passed_on.count, 0, 0};
    if (until == fence.phase) memcpy(now.lanes, fence.lanes, sizeof now.lanes);
    for (const Acquired& a : acquired)
        if (was_acquired(w, a)) passed_on.add(a.taken);
    now.known_end = passed_on.count;
    Release* last = list.count ? &list[list.count - 1] : nullptr;
    if (last && last->first == now.first && last->thread == thread) *last = now;
    else list.add(now);
}

// `in_block`: whether the acquiring fence covers only what threads of the running block released.
static bool is_released(Taken taken, bool in_block, uint64_t first, uint64_t then, unsigned thread,
                        uint32_t clock) {
    List<Release>& list = flags[taken.flag].releases;
    for (size_t i = taken.count < list.count ? taken.count : list.count; i-- > 0;) {
        Release& r = list[i];
        if (r.visit == visit || ((r.in_block || in_block) && r.first != first_of_block)) continue;
        r.visit = visit;
        const bool same_warp = r.thread / LANES == thread / LANES;
        const bool by_clock = then == r.phase && same_warp && clock <= r.lanes[thread % LANES];
        if (r.first == first && (then < r.phase || by_clock)) return true;
        for (size_t k = r.known; k < r.known_end; k++)
            if (is_released(passed_on[k], in_block, first, then, thread, clock)) return true;
    }
    return false;
}

static bool was_released(const Worker& w, uint64_t then, unsigned thread, uint32_t clock) {
    const uint64_t first = block_in(then).phase;
    visit++;
    for (const Acquired& a : acquired) {
        if (!was_acquired(w, a)) continue;
        const bool in_block = a.phase == phase && a.thread == w.current && a.fence == IN_BLOCK;
        if (is_released(a.taken, in_block && !without_fences, first, then, thread, clock)) return true;
    }
    return false;
}

// Whether an access of a thread would be released if the running thread had passed a fence.
static bool is_released_without_fence(const Worker& w, uint64_t then, unsigned thread, uint32_t clock) {
    without_fences = true;
    const bool released = acquired.count && was_released(w, then, thread, clock);
    without_fences = false;
    return released;
}

static void forget_flags() {
    for (Flag& flag : flags) flag.releases.drop();
    flags.clear();
    acquired.clear();
    passed_on.clear();
}

// Whether an access of a thread happens before the current access of the running thread.
// `since`: the first phase that matters, of the launch or, for shared memory, of the block.
static bool is_ordered(const Worker& w, uint64_t since, uint64_t then, unsigned thread, uint32_t clock) {
    if (then < since) return true;
    const unsigned me = w.current;
    if (then >= first_of_block) {
        if (then != phase || thread == me) return true;
        if (thread / LANES == me / LANES ? seen[me][thread % LANES] >= clock : was_heard(me, thread, clock))
            return true;
    }
    return acquired.count && was_released(w, then, thread, clock);
}

}  // namespace tt_emu

TT_API void tt_checked_fence(unsigned self, int in_block) { tt_emu::pass_fence(self, in_block); }
