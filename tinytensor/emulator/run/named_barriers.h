// Lanes that run together (__activemask), barriers with numbers (bar.sync), and pauses of a thread.
//
// Lanes of a warp run one after another here. Which of them "are active together" is decided when no lane of
// the warp can continue: those that then wait at the same source line. This is the largest mask that a GPU
// could give.
#pragma once

namespace tt_emu {

// Ends the wait of the lanes that ask for their mask, if no lane of their warp can continue.
static void release_gathered(Worker& w, unsigned warp) {
    while (w.gathering[warp] && !w.ready[warp]) {
        const unsigned first = lowest(w.gathering[warp]);
        unsigned together = 0;
        for (unsigned left = w.gathering[warp]; left; left &= left - 1)
            if (same_place(w, warp * LANES + first, warp * LANES + lowest(left)))
                together |= 1u << lowest(left);
        for (unsigned left = together; left; left &= left - 1)
            *(unsigned*)w.wait[warp][lowest(left)].operand = together;
        w.gathering[warp] &= ~together;
        make_ready(w, warp, together);
    }
}

static void forget_gathered(Worker& w) {
    memset(w.gathering, 0, sizeof w.gathering);
    memset(w.numbered, 0, sizeof w.numbered);
}

// Ends the phase of a numbered barrier.
static void release_numbered(Worker& w, unsigned number) {
    TT_CHECK(end_phase(&w.numbered[number], w.numbered[number].parity);)
    for (unsigned warp = 0; warp < w.warps; warp++) {
        make_ready(w, warp, w.numbered[number].waiting[warp]);
        w.numbered[number].waiting[warp] = 0;
    }
    w.numbered[number].arrived = 0;
    w.numbered[number].parity ^= 1;
}

}  // namespace tt_emu

using namespace tt_emu;

TT_SWITCHES unsigned tt_emu_activemask(Worker* worker, unsigned self, Site site) {
    Worker& w = *worker;
    enter(w, self, site);
    unsigned warp = self / LANES, mask = 0;
    w.wait[warp][self % LANES] = {GATHER, 0, &mask};
    w.gathering[warp] |= 1u << self % LANES;
    release_gathered(w, warp);
    if (mask)
        make_busy(w, self);
    else
        pause(w, self);
    return mask;
}

TT_SWITCHES void tt_emu_yield(Worker* worker, unsigned self, Site site) {
    Worker& w = *worker;
    enter(w, self, site);
    leave_if_interrupted(w);
    if (!w.warps_ready) return;
    const unsigned warp = self / LANES;
    make_ready(w, warp, 1u << self % LANES);
    if (w.order == 1) w.order = 2;  // the last thread would run again and again
    // Then another warp, so that all get their turn; threads that have not begun are begun in their order.
    if (w.order == 0 && !(w.ready[warp] & ~w.started[warp])) {
        const unsigned above = warp == 31 ? 0 : w.warps_ready & (~0u << (warp + 1));
        const unsigned next = lowest(above ? above : w.warps_ready);
        if (next != warp) w.current = next * LANES + LANES - 1;
    }
    pause(w, self);
}

TT_SWITCHES void tt_emu_numbered_barrier(Worker* worker, unsigned self, unsigned number, unsigned count,
                                         int waits, Site site) {
    Worker& w = *worker;
    enter(w, self, site);
    if (number >= NUMBERED) fail(w, "barrier %u at %s:%d; a block has 16", number, site.file, site.line);
    if (waits == OF_TILE) number += NUMBERED;
    if (!count) count = w.live;
    TT_CHECK(release_phase(w, self, &w.numbered[number]);)
    TT_CHECK(const unsigned parity = w.numbered[number].parity;)
    if (++w.numbered[number].arrived >= count) {
        release_numbered(w, number);
    } else if (waits) {
        w.wait[self / LANES][self % LANES] = {NUMBER, 0, nullptr};
        w.numbered[number].waiting[self / LANES] |= 1u << self % LANES;
        pause(w, self);
    }
    TT_CHECK(if (waits) acquire_phase(w, self, &w.numbered[number], parity);)
}
