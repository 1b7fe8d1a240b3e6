// Happens-before order of two accesses: by the same thread, a barrier of the block, __syncwarp within a warp;
// or by a fence and then an atomic or volatile operation on one side, and an atomic or volatile operation on
// the same address and then a fence or a barrier on the other. A fence covers what came before it, also what
// the thread knew of others.
//
// The time between two barriers of one block is a phase. Blocks run one after another, so phases are numbered
// through all blocks and launches.
#pragma once
#include "check/buffers.h"

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

static void later(uint32_t& clock, uint32_t other) {
    if (other > clock) clock = other;
}

// ---- between warps, by barriers that count arrivals (asynchronous_checks.h)

// The latest clock of each thread that happened before what a thread does now.
static uint32_t heard[MOST_THREADS][MOST_THREADS];
static uint32_t heard_at_fence[MOST_THREADS][MOST_THREADS];  // the same at the last fence of each thread
static bool has_met;  // whether any was heard of in this launch

static bool was_heard(unsigned me, unsigned thread, uint32_t clock) {
    return clock && heard[me][thread] >= clock;
}

static void share_heard(unsigned warp, unsigned lanes) {
    for (unsigned t = 0; t < MOST_THREADS; t++) {
        uint32_t latest = 0;
        for (unsigned left = lanes; left; left &= left - 1)
            later(latest, heard[warp * LANES + lowest(left)][t]);
        for (unsigned left = lanes; left; left &= left - 1) heard[warp * LANES + lowest(left)][t] = latest;
    }
}

// ---- within a warp: vector clocks of the lanes

static uint32_t seen[MOST_THREADS][LANES];

static void reset_clocks() {
    if (has_met) memset(heard, 0, sizeof heard), memset(heard_at_fence, 0, sizeof heard_at_fence);
    has_met = false;
    memset(seen, 0, sizeof seen);
    for (unsigned t = 0; t < MOST_THREADS; t++) seen[t][t % LANES] = 1;
}

static void fence_acquired(unsigned warp, unsigned lanes);

static void pass_warp_barrier(unsigned warp, unsigned lanes) {
    uint32_t latest[LANES] = {};
    for (unsigned left = lanes; left; left &= left - 1)
        for (unsigned i = 0; i < LANES; i++) later(latest[i], seen[warp * LANES + lowest(left)][i]);
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
    size_t heard, heard_end;  // clocks of all threads, in `released_clocks`
};
struct Flag {
    const char* address;
    List<Release> releases;
    size_t taken;  // of these, by any thread
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
    uint32_t clock(unsigned thread) const { return lanes[thread % LANES]; }
};
static List<Flag> flags;
static List<Acquired> acquired;
static List<Taken> passed_on;
static List<uint32_t> released_clocks;
static Fence fences[MOST_THREADS];
static unsigned fenced_now;   // threads that have passed a fence in this phase
static uint64_t fenced_until;  // all threads have passed one in the phase before this one
static uint64_t visit;

static void fence_acquired(unsigned warp, unsigned lanes) {
    for (Acquired& a : acquired)
        if (a.thread / LANES == warp && lanes >> a.thread % LANES & 1) a.fence = ON_DEVICE;
}

static bool keeps_readers;  // whether the block has used what orders reads within a phase; see read_sets.h

static void pass_fence(unsigned self, bool in_block) {
    keeps_readers = true;
    Fence& fence = fences[self];
    if (fence.phase != phase) fenced_now++;
    fence.phase = phase, fence.in_block = in_block;
    memcpy(fence.lanes, seen[self], sizeof fence.lanes);
    if (has_met) memcpy(heard_at_fence[self], heard[self], sizeof heard[self]);
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

// What a thread has acquired; polling again and again adds nothing.
static void acquire(unsigned thread, Taken taken, Scope fence) {
    static size_t last_of[MOST_THREADS][4];  // of several flags, which a thread may poll in turn
    size_t& slot = last_of[thread][taken.flag % 4];
    const size_t at = slot;
    if (Acquired* last = at < acquired.count ? &acquired[at] : nullptr) {
        const bool same = last->thread == thread && last->phase == phase && last->taken.flag == taken.flag;
        if (same && last->taken.count == taken.count && last->fence >= fence) return;
        if (same && last->fence == NO_FENCE) acquired[at] = acquired[--acquired.count];
    }
    slot = acquired.count;
    acquired.add({taken, phase, thread, seen[thread][thread % LANES]++, fence});
}

// Fences that other threads have passed before they met with this one, in this phase.
static void add_fences_of_others(const Worker& w, Release& now, uint32_t* heard_then) {
    const unsigned me = now.thread, first = me / LANES * LANES;
    const unsigned end = has_met || w.threads < first + LANES ? w.threads : first + LANES;
    for (unsigned t = has_met ? 0 : first; t < end; t++) {
        const Fence& fence = fences[t];
        const uint32_t known = t / LANES == me / LANES ? seen[me][t % LANES] : heard[me][t];
        if (t == me || fence.phase != phase || known <= fence.clock(t)) continue;
        if (now.phase && fence.in_block && !now.in_block) continue;
        if (now.phase < phase) {
            now.in_block = fence.in_block;
            memset(now.lanes, 0, sizeof now.lanes);
            if (heard_then) memset(heard_then, 0, w.threads * sizeof *heard_then);
        }
        now.phase = phase;
        if (t / LANES == me / LANES)
            for (unsigned i = 0; i < LANES; i++) later(now.lanes[i], fence.lanes[i]);
        else later(heard_then[t], fence.clock(t));
    }
}

static bool is_same(const Release& a, const Release& b) {
    const size_t clocks = a.heard_end - a.heard, known = a.known_end - a.known;
    const uint32_t* const all = released_clocks.items;
    return a.first == b.first && a.phase == b.phase && a.thread == b.thread && a.in_block == b.in_block &&
           !memcmp(a.lanes, b.lanes, sizeof a.lanes) && known == b.known_end - b.known &&
           clocks == b.heard_end - b.heard &&
           (!clocks || !memcmp(all + a.heard, all + b.heard, clocks * sizeof *all));
}

// The running thread releases what it and others have done before their fences.
static void release(const Worker& w, Flag& flag, uint64_t until) {
    const unsigned thread = w.current;
    const Fence& fence = fences[thread];
    Release now = {first_of_block, until >= first_of_block ? until : 0, thread, {}, fence.in_block,
                   passed_on.count, 0, 0, released_clocks.count, 0};
    for (unsigned t = 0; has_met && t < w.threads; t++)
        released_clocks.add(until == fence.phase ? heard_at_fence[thread][t] : 0);
    now.heard_end = released_clocks.count;
    if (now.phase && until == fence.phase) memcpy(now.lanes, fence.lanes, sizeof now.lanes);
    if (fenced_now) add_fences_of_others(w, now, has_met ? &released_clocks[now.heard] : nullptr);
    for (const Acquired& a : acquired)
        if (was_acquired(w, a)) passed_on.add(a.taken);
    now.known_end = passed_on.count;
    List<Release>& list = flag.releases;
    Release* const last = list.count ? &list[list.count - 1] : nullptr;
    bool adds = now.phase;
    for (size_t i = list.count; adds && i-- > 0 && list.count - i < 64;) adds = !is_same(list[i], now);
    if (!adds) passed_on.count = now.known, released_clocks.count = now.heard;
    else if (list.count > flag.taken && last->thread == thread && last->first == now.first) *last = now;
    else list.add(now);
}

// The thread is about to read the flag, and perhaps to write it.
static void meet_at_flag(const Worker& w, const char* address, bool acquires, bool releases) {
    const Fence& fence = fences[w.current];
    const bool is_own = fence.phase >= first_of_block && fence.phase > fenced_until;
    const uint64_t until = is_own ? fence.phase : fenced_until;
    releases = releases && (until >= first_of_block || fenced_now);
    keeps_readers = true;
    unsigned at = 0;
    while (at < flags.count && flags[at].address != address) at++;
    if (at == flags.count) {
        if (!releases) return;
        flags.add({address, {}, 0});
    }
    Flag& flag = flags[at];
    if (acquires && flag.releases.count) {
        flag.taken = flag.releases.count;
        acquire(w.current, {at, flag.taken}, NO_FENCE);
    }
    if (releases) release(w, flag, until);
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
        const bool was_heard_of = then == r.phase && !same_warp && thread < r.heard_end - r.heard && clock &&
                                  clock <= released_clocks[r.heard + thread];
        if (r.first == first && (then < r.phase || by_clock || was_heard_of)) return true;
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
    released_clocks.clear();
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
