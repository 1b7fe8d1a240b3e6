// Thread pool of all C++ kernels of the process.
//
// Workers start with the first job that has parts for them. A waiting worker spins for a moment, since the
// next kernel often follows immediately, and then sleeps. A job does not wait for late workers: the caller
// takes parts, too, and when none are left, waits only for parts that have begun. So a worker whose core is
// used by another process costs nothing. After a fork the child starts its own workers.
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

using Index = long long;
using Task = void (*)(void* context, Index part);

namespace {

constexpr int MOST = 256;
constexpr Index SPIN = 50'000;  // nanoseconds

struct Job {
    Task task;
    void* context;
    Index parts;
    Index next;  // the next part to take
};

struct Pool {
    pthread_mutex_t caller = PTHREAD_MUTEX_INITIALIZER;  // one job at a time
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;   // guards the sleepers
    pthread_cond_t wake = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
    pthread_t workers[MOST];
    int wanted = 1;        // threads, including the caller
    int started = 0;       // workers
    int kept_off = -1;     // the core that they must not run on
    unsigned round = 0;    // grows with each job
    int sleeping = 0;      // workers
    int inside = 0;        // workers that access the job
    bool open = false;     // whether the job may have parts left
    bool waiting = false;  // whether the caller sleeps
    bool stop = false;     // whether workers must end
    Job job = {};
};
Pool pool;

template <class T>
T load(const T& x) {
    T value;
    __atomic_load(&x, &value, __ATOMIC_SEQ_CST);
    return value;
}
template <class T>
void store(T& x, T value) {
    __atomic_store(&x, &value, __ATOMIC_SEQ_CST);
}

void relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

Index clock() {  // nanoseconds
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

// Spin until `condition` is true; false after a timeout.
template <class Condition>
bool spin(const Condition& condition) {
    Index start = clock();
    for (;;) {
        for (int i = 0; i < 32; i++) {
            if (condition()) return true;
            relax();
        }
        if (clock() - start > SPIN) return false;
    }
}

void take_parts(Job& job) {
    for (;;) {
        Index part = __atomic_fetch_add(&job.next, 1, __ATOMIC_RELAXED);
        if (part >= job.parts) break;
        job.task(job.context, part);
    }
}

void* work(void* first) {
    unsigned seen = (unsigned)(unsigned long)first;
    for (;;) {
        if (!spin([&] { return load(pool.round) != seen; })) {
            pthread_mutex_lock(&pool.mutex);
            pool.sleeping++;
            while (pool.round == seen)
                pthread_cond_wait(&pool.wake, &pool.mutex);
            pool.sleeping--;
            pthread_mutex_unlock(&pool.mutex);
        }
        if (load(pool.stop)) return nullptr;
        seen = load(pool.round);
        // First `inside`, then `open`; the caller first closes and then reads `inside`. So either it
        // waits for this worker, or this worker reads that the job is closed.
        __atomic_fetch_add(&pool.inside, 1, __ATOMIC_SEQ_CST);
        if (load(pool.open)) take_parts(pool.job);
        if (__atomic_sub_fetch(&pool.inside, 1, __ATOMIC_SEQ_CST) == 0 && load(pool.waiting)) {
            pthread_mutex_lock(&pool.mutex);
            pthread_cond_signal(&pool.done);
            pthread_mutex_unlock(&pool.mutex);
        }
    }
}

// Linux tends to wake a thread on the core of the waking thread, where both then share that core for
// milliseconds although another one is idle: on a machine with two cores, a third of the time was lost. So
// sleepers are kept off the caller's core. With many cores Linux finds an idle one itself.
void keep_off_this_core() {
#ifdef __linux__
    cpu_set_t allowed;
    int here = sched_getcpu();
    if (here < 0 || here == pool.kept_off || sched_getaffinity(0, sizeof allowed, &allowed)) return;
    int cores = CPU_COUNT(&allowed);
    if (cores < 2 || cores > 8) return;
    CPU_CLR(here, &allowed);
    for (int i = 0; i < pool.started; i++)
        pthread_setaffinity_np(pool.workers[i], sizeof allowed, &allowed);
    pool.kept_off = here;
#endif
}

// Notify the workers of a new job; wake at most `most` sleeping ones.
void next_round(Index most) {
    pthread_mutex_lock(&pool.mutex);
    store(pool.round, pool.round + 1);
    int sleeping = pool.sleeping;
    pthread_mutex_unlock(&pool.mutex);
    if (!sleeping) return;
    keep_off_this_core();
    if (most >= sleeping) {
        pthread_cond_broadcast(&pool.wake);
    } else {
        for (Index i = 0; i < most; i++)
            pthread_cond_signal(&pool.wake);
    }
}

void start_workers() {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // process signals go to other threads
    pool.kept_off = -1;
    while (pool.started < pool.wanted - 1) {
        void* first = (void*)(unsigned long)pool.round;
        if (pthread_create(&pool.workers[pool.started], nullptr, work, first)) break;  // continue with fewer
        pool.started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void end_workers() {
    store(pool.stop, true);
    next_round(MOST);
    for (int i = 0; i < pool.started; i++)
        pthread_join(pool.workers[i], nullptr);
    pool.started = 0;
    store(pool.stop, false);
}

int count() { return load(pool.wanted); }

void run(Task task, void* context, Index parts) {
    // The lock is held while a job runs: also for calls from within a part.
    if (parts <= 1 || load(pool.wanted) == 1 || pthread_mutex_trylock(&pool.caller)) {
        for (Index part = 0; part < parts; part++)
            task(context, part);
        return;
    }
    if (pool.started < pool.wanted - 1) start_workers();
    pool.job = {task, context, parts, 0};
    store(pool.open, true);
    next_round(parts - 1);
    take_parts(pool.job);
    store(pool.open, false);
    auto done = [] { return load(pool.inside) == 0; };
    if (!spin(done)) {
        pthread_mutex_lock(&pool.mutex);
        store(pool.waiting, true);
        while (!done())
            pthread_cond_wait(&pool.done, &pool.mutex);
        store(pool.waiting, false);
        pthread_mutex_unlock(&pool.mutex);
    }
    pthread_mutex_unlock(&pool.caller);
}

void after_fork_in_child() {  // the child has no other threads
    int wanted = pool.wanted;
    pool = Pool();
    pool.wanted = wanted;
}

__attribute__((constructor)) void initialize() { pthread_atfork(nullptr, nullptr, after_fork_in_child); }

struct Threads {  // as in threads.h
    int (*count)();
    void (*run)(Task, void*, Index);
};

}  // namespace

extern "C" {

__attribute__((visibility("default"))) extern const Threads tt_thread_pool;
const Threads tt_thread_pool = {count, run};

// Set the number of threads, including the caller. Waits for a job of another caller.
__attribute__((visibility("default"))) void tt_set_threads(int wanted) {
    pthread_mutex_lock(&pool.caller);
    end_workers();
    store(pool.wanted, wanted < 1 ? 1 : wanted > MOST ? MOST : wanted);
    pthread_mutex_unlock(&pool.caller);
}
}
