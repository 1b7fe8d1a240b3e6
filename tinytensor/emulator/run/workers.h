// Worker threads, and a copy of each unit for each of them.
#pragma once
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>

#include "run/blocks.h"
#include "run/watchdog.h"

namespace tt_emu {

constexpr unsigned MOST_WORKERS = 256;

struct Unit {  // one compiled file
    char* path;
    void* copies[MOST_WORKERS];  // one for each worker, since __shared__ variables are static data
    unsigned count;              // of copies, those that could not be made included
    Unit* next;
};

struct Loaded {  // one kernel of one unit
    Unit* unit;            // null in a program
    char* symbol;
    const Kernel* copies[MOST_WORKERS];
    unsigned count;
    double block_seconds;  // measured; 0 if it never ran
    bool alone;            // on one worker, since each copy has its own variables
};

struct Pool {
    pthread_mutex_t launching = PTHREAD_MUTEX_INITIALIZER;  // one launch at a time
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;      // guards what follows
    pthread_cond_t work = PTHREAD_COND_INITIALIZER, idle = PTHREAD_COND_INITIALIZER;
    Launch* launch;
    uint64_t round;
    unsigned threads, wanted, running;
    pthread_t ids[MOST_WORKERS];
};
static Pool pool;
static Worker* workers[MOST_WORKERS];

static Worker* worker_of(unsigned number) {
    if (!workers[number]) workers[number] = (Worker*)calloc(1, sizeof(Worker));
    Worker* w = workers[number];
    return w && prepare(*w) ? w : nullptr;
}

static void* work(void* argument) {
    unsigned number = (unsigned)(uintptr_t)argument;
    need_signal_stack();
    need_watchdog();
    standard_arithmetic();
    uint64_t seen = workers[number]->round;
    pthread_mutex_lock(&pool.mutex);
    for (;;) {
        while (pool.round == seen || number > pool.wanted) {
            if (pool.round != seen) seen = pool.round;
            pthread_cond_wait(&pool.work, &pool.mutex);
        }
        seen = pool.round;
        Launch& launch = *pool.launch;
        pthread_mutex_unlock(&pool.mutex);
        here = workers[number];
        run_blocks(*here, launch);
        pthread_mutex_lock(&pool.mutex);
        if (--pool.running == 0) pthread_cond_signal(&pool.idle);
    }
}

// A signal that they do not block, instead of SIGINT, which goes to the threads of the process.
static void interrupt_workers() {
    for (unsigned i = 1; i <= pool.threads; i++) pthread_kill(pool.ids[i], SIGFPE);
}

static bool is_worker_thread() {
    for (unsigned i = 1; i <= pool.threads; i++)
        if (pthread_equal(pool.ids[i], pthread_self())) return true;
    return false;
}

static bool start_thread(unsigned number) {
    sigset_t all, before;
    sigfillset(&all);
    for (int s : signals) sigdelset(&all, s);
    sigdelset(&all, SIGURG);  // of the watchdog
    pthread_sigmask(SIG_SETMASK, &all, &before);  // process signals go to other threads
    pthread_t thread;
    workers[number]->round = pool.round;
    bool made = pthread_create(&thread, nullptr, work, (void*)(uintptr_t)number) == 0;
    if (made) pthread_detach(thread);
    pool.ids[number] = thread;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return made;
}

static bool copy_file(const char* from, const char* to) {
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    char buffer[65536];
    ssize_t got = -1;
    if (in >= 0 && out >= 0)
        while ((got = read(in, buffer, sizeof buffer)) > 0)
            if (write(out, buffer, (size_t)got) != got) {
                got = -1;
                break;
            }
    if (in >= 0) close(in);
    if (out >= 0) close(out);
    return got == 0;
}

// Static data belong to a loaded file, so another worker needs another file, which is deleted after loading.
static void* load_copy(const Unit& unit, unsigned number) {
    const char* folder = getenv("TMPDIR");
    const char* name = strrchr(unit.path, '/');
    for (int attempt = 0; attempt < 2; attempt++) {
        char path[4096];
        if (attempt == 0)
            snprintf(path, sizeof path, "%s.%d.%u", unit.path, (int)getpid(), number);
        else
            snprintf(path, sizeof path, "%s%s.%d.%u", folder ? folder : "/tmp", name, (int)getpid(), number);
        bool copied = copy_file(unit.path, path);
        void* library = copied ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
        if (copied) unlink(path);
        if (library) return library;
    }
    return nullptr;
}

// Whether worker `number` can run a kernel; creates its thread and copy of the unit if needed.
static bool equip(Loaded& kernel, unsigned number) {
    if (!worker_of(number)) return false;
    if (number > pool.threads) {
        if (!start_thread(number)) return false;
        pool.threads = number;
    }
    if (!kernel.unit) {  // of a program: one code for all workers
        kernel.copies[number] = kernel.copies[0];
        return true;
    }
    Unit& unit = *kernel.unit;
    if (number >= unit.count) unit.copies[number] = load_copy(unit, number), unit.count = number + 1;
    if (!unit.copies[number]) return false;
    if (number >= kernel.count) {
        kernel.copies[number] = (const Kernel*)dlsym(unit.copies[number], kernel.symbol);
        kernel.count = number + 1;
    }
    return true;
}

// ---- processes that fork ----------------------------------------------------------------------------------

static void before_fork() {
    pthread_mutex_lock(&pool.launching);
    pthread_mutex_lock(&pool.mutex);
}
static void after_fork_in_parent() {
    pthread_mutex_unlock(&pool.mutex);
    pthread_mutex_unlock(&pool.launching);
}
static void
after_fork_in_child() {  // the child has no other threads; the next large launch starts new ones
    pthread_mutex_init(&pool.launching, nullptr);
    pthread_mutex_init(&pool.mutex, nullptr);
    pthread_cond_init(&pool.work, nullptr);
    pthread_cond_init(&pool.idle, nullptr);
    pool.threads = pool.running = 0;
}

__attribute__((constructor)) static void initialize() {
    pthread_key_create(&signal_stack, free_signal_stack);
    pthread_key_create(&report_memory, free);
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

}  // namespace tt_emu
