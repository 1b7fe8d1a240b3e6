// Ends a launch of which one thread of a block runs on and on: it waits for something that never happens, by
// plain or volatile reads, which nothing but a signal can interrupt.
//
// Each operating system thread that runs blocks has a timer of its own processor time. A tick compares what
// the worker does with what it did at the last one.
#pragma once
#include "run/faults.h"

#ifdef __linux__
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace tt_emu {

constexpr int TICKS = 4;  // in vain until a launch ends

struct Glance {
    unsigned index[3], thread[3];
    uint64_t operations;
    int ticks;  // for which all of that has been the same
};

static double watchdog_seconds() {
    static const char* given = getenv("TINYTENSOR_WATCHDOG");
    return given ? atof(given) : 60;
}

static void on_tick(int, siginfo_t*, void* context) {
    static __thread Glance last;
    Worker* w = here;
    if (!w || !w->guarded || w->whole) return;
    Glance now = {{w->job.index[0], w->job.index[1], w->job.index[2]}, {}, w->operations, last.ticks + 1};
    w->exchange(now.thread, false);
    const bool same = !memcmp(now.index, last.index, sizeof now.index) &&
                      !memcmp(now.thread, last.thread, sizeof now.thread) &&
                      now.operations == last.operations;
    if (!same) now.ticks = 0;
    last = now;
    if (now.ticks < TICKS) return;
    faulty_code = code_of(context);
    fail(*w,
         "endless wait: thread (%u, %u, %u) has run for %g s of processor time without an end, a barrier or "
         "an atomic operation; a thread that waits for another one must ask with atomic operations "
         "(TINYTENSOR_WATCHDOG=seconds allows more, 0 any time)",
         now.thread[0], now.thread[1], now.thread[2], watchdog_seconds());
}

// Makes the timer of the calling thread, once. Its signal is ignored where nothing handles it.
static void need_watchdog() {
    static __thread bool done;
    if (done || watchdog_seconds() <= 0) return;
    done = true;
    struct sigaction ours = {};
    ours.sa_sigaction = on_tick;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER;
    sigaction(SIGURG, &ours, nullptr);
    sigevent event = {};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGURG;
    event._sigev_un._tid = (int)syscall(SYS_gettid);
    int timer;
    if (syscall(SYS_timer_create, CLOCK_THREAD_CPUTIME_ID, &event, &timer)) return;
    const double step = watchdog_seconds() / TICKS;
    const timespec each = {(time_t)step, (long)((step - (double)(time_t)step) * 1e9)};
    const itimerspec times = {each, each};
    syscall(SYS_timer_settime, timer, 0, &times, nullptr);
}

}  // namespace tt_emu
#else
namespace tt_emu {
static void need_watchdog() {}
}  // namespace tt_emu
#endif
