// Faults of a kernel: a signal during a launch ends that launch, not the process.
#pragma once
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "run/scheduler.h"

namespace tt_emu {

#ifdef TT_CHECKED  // the static TLS block has room only for the fast core
static __thread Worker* here;
#else
static __thread Worker* here __attribute__((tls_model("initial-exec")));
#endif
constexpr size_t REPORT = 1536;  // bytes
constexpr size_t GUARD = 4096;   // bytes behind shared_end, at least, that no access may touch
static pthread_key_t report_memory;

// Report of the last launch of this thread. On the heap, since the static TLS block is small and shared with
// other libraries.
static char* report() {
    static __thread char* text;
    if (text) return text;
    text = (char*)calloc(1, REPORT);
    if (!text) {
        static char for_all[REPORT];  // fallback
        return for_all;
    }
    pthread_setspecific(report_memory, text);  // freed with the thread
    return text;
}
static __thread const void* report_address;

static Worker& running_worker() { return *here; }

static const void* faulty_code;  // the instruction of the last fault

static const void* code_of(void* context) {
#if defined(__linux__) && defined(__x86_64__)
    return (const void*)((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__linux__) && defined(__aarch64__)
    return (const void*)((ucontext_t*)context)->uc_mcontext.pc;
#else
    (void)context;
    return nullptr;
#endif
}

static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
constexpr int SIGNALS = sizeof signals / sizeof *signals;
static struct sigaction former[SIGNALS];

static struct sigaction former_interrupt;
static void interrupt_workers();
static bool is_worker_thread();

// Ctrl-C: calls the previous handler (Python will raise KeyboardInterrupt), and ends the launch.
static void on_interrupt(int signal, siginfo_t* info, void* context) {
    static __thread bool inside;  // two active cores may have each other as the previous handler
    if (inside) return;
    inside = true;
    if (former_interrupt.sa_flags & SA_SIGINFO) former_interrupt.sa_sigaction(signal, info, context);
    else former_interrupt.sa_handler(signal);
    inside = false;
    if (!here) return;
    __atomic_store_n(&interrupted, true, __ATOMIC_RELAXED);
    interrupt_workers();
    leave_if_interrupted(*here);
}

// Installs the handlers for the launch; false if that failed.
static bool catch_interrupts() {
    struct sigaction current;
    sigaction(SIGINT, nullptr, &current);
    const bool handled = current.sa_flags & SA_SIGINFO ||
                         (current.sa_handler != SIG_DFL && current.sa_handler != SIG_IGN);
    if (!handled || current.sa_sigaction == on_interrupt) return false;
    former_interrupt = current;
    struct sigaction ours = {};
    ours.sa_sigaction = on_interrupt;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    return sigaction(SIGINT, &ours, nullptr) == 0;
}

static void on_fault(int signal, siginfo_t* info, void* context) {
    Worker* w = here;
    if (info->si_code <= 0 && is_worker_thread()) {  // from interrupt_workers, perhaps of an earlier launch
        if (w) leave_if_interrupted(*w);
        return;
    }
    if (w && w->guarded) {
        w->failed = true;
        w->fault = signal;
        w->fault_code = info->si_code;
        w->fault_address = info->si_addr;
        faulty_code = code_of(context);
        leave_block(*w);
    }
    for (int i = 0; i < SIGNALS; i++)  // not of a kernel: restore the previous handler, and let it repeat
        if (signals[i] == signal) sigaction(signal, &former[i], nullptr);
    if (info->si_code <= 0) raise(signal);
}

// Another library may have installed handlers since the last launch (faulthandler does), so check each time.
static void catch_faults() {
    for (int i = 0; i < SIGNALS; i++) {
        struct sigaction current;
        sigaction(signals[i], nullptr, &current);
        if (current.sa_sigaction == on_fault) continue;
        former[i] = current;
        struct sigaction ours = {};
        ours.sa_sigaction = on_fault;
        ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        sigaction(signals[i], &ours, nullptr);
    }
}

static pthread_key_t signal_stack;
static void free_signal_stack(void* memory) {
    stack_t off = {};
    off.ss_flags = SS_DISABLE;
    sigaltstack(&off, nullptr);
    free(memory);
}

// The handler cannot run on an overflowed stack.
static void need_signal_stack() {
    static __thread bool done;
    if (done) return;
    done = true;
    stack_t current;
    if (sigaltstack(nullptr, &current) == 0 && !(current.ss_flags & SS_DISABLE) && current.ss_size >= 16384)
        return;
    stack_t ours = {};
    ours.ss_size = 65536;
    ours.ss_sp = malloc(ours.ss_size);
    if (!ours.ss_sp) return;
    sigaltstack(&ours, nullptr);
    pthread_setspecific(signal_stack, ours.ss_sp);
}

static void describe_fault(Worker& w, bool sure) {
    const char* what = "illegal memory access";
    char where[160] = "";
    report_address = nullptr;
    if (w.fault == SIGILL) {
        what = "undefined behavior: the compiler has put an illegal instruction there";
    } else if (w.fault == SIGFPE) {
        what = "integer division by zero or overflow";
    } else if (w.stacks.overflowed(w.fault_address)) {
        what = "stack overflow: the local variables of a thread take more than 120 KiB";
    } else if ((uintptr_t)w.fault_address < 4096 && w.fault_code > 0 && w.fault_code != 0x80) {
        snprintf(where, sizeof where, " at address %#zx, a null pointer", (size_t)w.fault_address);
    } else if (w.fault_code == 0x80) {  // SI_KERNEL: the processor reports no address
        what = "misaligned memory access, or an address that no memory can have";
    } else if (w.fault_address >= w.shared_end && w.fault_address < w.shared_end + GUARD) {
        const unsigned char *at = (const unsigned char*)w.fault_address, *start = w.job.dynamic_shared;
        const char* const text = " at byte %td of dynamic shared memory, of which the launch has %td bytes";
        snprintf(where, sizeof where, text, at - start, w.shared_end - start);
    } else {
        snprintf(where, sizeof where, " at address %#zx", (size_t)w.fault_address);
        report_address = w.fault_address;
    }
    const unsigned* i = w.job.index;
    char who[160];
    if (sure)
        snprintf(who, sizeof who, "%s", Name(w, w.current).text);
    else
        snprintf(who, sizeof who, "a thread from %s on", Name(w, w.first).text);
    snprintf(report(), REPORT, "%s%s in block (%u, %u, %u), %s", what, where, i[0], i[1], i[2], who);
}

}  // namespace tt_emu
