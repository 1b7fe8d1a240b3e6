// Launches, called from Python. Blocks run on the calling thread and, if that is faster, on worker threads.
#pragma once
#include "run/workers.h"

namespace tt_emu {

static Unit* units;
static unsigned most_workers = 1;
static double threshold = 300e-6;  // seconds of work that justify waking other threads

static void run_parallel(Launch& launch) {
    for (unsigned i = 0; i < launch.workers; i++)
        prepare_launch(*workers[i], launch, *launch.kernel->copies[i]);
    launch.chunk = launch.blocks / (launch.workers * 8);
    if (launch.chunk == 0) launch.chunk = 1;
    pthread_mutex_lock(&pool.mutex);
    pool.launch = &launch;
    pool.running = pool.wanted = launch.workers - 1;
    pool.round++;
    pthread_cond_broadcast(&pool.work);
    pthread_mutex_unlock(&pool.mutex);
    run_blocks(*workers[0], launch);
    pthread_mutex_lock(&pool.mutex);
    while (pool.running) pthread_cond_wait(&pool.idle, &pool.mutex);
    pthread_mutex_unlock(&pool.mutex);
}

static unsigned useful_workers(Launch& launch) {
    uint64_t left = launch.blocks - launch.next;
    if (order || launch.kernel->alone || most_workers < 2 || left < 2) return 1;
    if (launch.kernel->block_seconds * (double)left < threshold)
        return 1;
    unsigned count = 1;
    while (count < most_workers && count < left && equip(*launch.kernel, count)) count++;
    return count;
}

static int run_grid(Launch& launch);  // grid.h

static int run_launch(Launch& launch) {
    Worker& w = *workers[0];
    Loaded& kernel = *launch.kernel;
    double start = now();
    launch.workers = kernel.block_seconds > 0 ? useful_workers(launch) : 1;
    if (launch.workers == 1) {
        prepare_launch(w, launch, *kernel.copies[0]);
        here = &w;
        if (kernel.block_seconds == 0) {  // estimate the total time from one block
            run_index(w, launch, launch.next++);
            if (w.suspended && !w.failed) return run_grid(launch);
            kernel.block_seconds = now() - start;
            launch.workers = w.failed ? 1 : useful_workers(launch);
        }
    }
    here = &w;
    unsigned count = launch.workers;
    if (count > 1) {
        run_parallel(launch);
    } else if (!w.failed) {
        launch.chunk = launch.blocks;
        run_blocks(w, launch);
    }
    here = nullptr;
    for (unsigned i = 0; i < count; i++)
        if (workers[i]->failed) return describe_failure(*workers[i]);
    double mean = (now() - start) * count / (double)launch.blocks;
    kernel.block_seconds = 0.5 * (kernel.block_seconds + mean);
    return DONE;
}

static bool refuse(const char* format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(report(), REPORT, format, values);
    va_end(values);
    return false;
}

static bool check(const Loaded& kernel, const Packed& p) {
    static const unsigned most_block[] = {1024, 1024, 64}, most_grid[] = {0x7fffffff, 65535, 65535};
    unsigned bound = kernel.copies[0]->bound;
    uint64_t threads = (uint64_t)p.block[0] * p.block[1] * p.block[2];
    for (int i = 0; i < 3; i++) {
        if (p.grid[i] < 1 || p.grid[i] > most_grid[i])
            return refuse("grid size along %c is %u, outside 1 to %u", "xyz"[i], p.grid[i], most_grid[i]);
        if (p.block[i] < 1 || p.block[i] > most_block[i])
            return refuse("block size along %c is %u, outside 1 to %u", "xyz"[i], p.block[i], most_block[i]);
    }
    if (threads > MOST_THREADS)
        return refuse("a block of %llu threads; the most are 1024", (unsigned long long)threads);
    if (bound && threads > bound)
        return refuse("a block of %u threads, but __launch_bounds__ promises at most %u", (unsigned)threads,
                      bound);
    if (p.shared > MOST_SHARED)
        return refuse("%u bytes of dynamic shared memory; the most are %u", p.shared, MOST_SHARED);
    return true;
}

}  // namespace tt_emu

// ---- called from Python -----------------------------------------------------------------------------------

static Unit* load_unit(const char* path) {
    for (Unit* unit = units; unit; unit = unit->next)
        if (strcmp(unit->path, path) == 0) return unit;
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    Unit* unit = library ? (Unit*)calloc(1, sizeof(Unit)) : nullptr;
    if (!unit) return nullptr;
    unit->path = strdup(path);
    unit->copies[0] = library;
    unit->count = 1;
    unit->next = units;
    return units = unit;
}

TT_API Loaded* tt_emu_load(const char* path, const char* symbol) {
    pthread_mutex_lock(&pool.launching);
    Unit* unit = load_unit(path);
    void* kernel = unit ? dlsym(unit->copies[0], symbol) : nullptr;
    Loaded* loaded = kernel ? (Loaded*)calloc(1, sizeof(Loaded)) : nullptr;
    pthread_mutex_unlock(&pool.launching);
    if (!loaded) {
        const char* error = dlerror();
        refuse("%s", error ? error : "out of memory");
        return nullptr;
    }
    loaded->unit = unit;
    loaded->symbol = strdup(symbol);
    loaded->copies[0] = (const Kernel*)kernel;
    loaded->count = 1;
    return loaded;
}

// A kernel of the program that is linked to the core.
TT_API Loaded* tt_emu_adopt(const Kernel* kernel) {
    Loaded* loaded = (Loaded*)calloc(1, sizeof(Loaded));
    if (!loaded) return nullptr;
    loaded->copies[0] = kernel;
    loaded->count = 1;
    return loaded;
}

// Size of parameter i, negative for a struct; 0 beyond the last one.
TT_API int tt_emu_parameter(const Loaded* kernel, unsigned i) {
    const Kernel& k = *kernel->copies[0];
    if (i >= k.count) return 0;
    return k.parameters[i].is_struct ? -(int)k.parameters[i].size : (int)k.parameters[i].size;
}

TT_API void tt_emu_keep_alone(Loaded* kernel) { kernel->alone = true; }

// `interruptible`: whether Python raises KeyboardInterrupt for Ctrl-C, so that the launch may end early.
TT_API int tt_emu_launch(Loaded* kernel, const void* packed, int interruptible) {
    Launch launch = {kernel, (const Packed*)packed, 0, 0, 1, 1, false};
    if (!check(*kernel, *launch.packed)) return REFUSED;
    const unsigned* grid = launch.packed->grid;
    launch.blocks = (uint64_t)grid[0] * grid[1] * grid[2];
    pthread_mutex_lock(&pool.launching);
    int result = REFUSED;
    if (worker_of(0)) {
        need_signal_stack();
        need_watchdog();
        catch_faults();
        interrupted = false;
        const bool catching = interruptible && catch_interrupts();
        auto arithmetic = standard_arithmetic();
        result = run_launch(launch);
        former_arithmetic(arithmetic);
        if (catching) sigaction(SIGINT, &former_interrupt, nullptr);
        if (interrupted) result = INTERRUPTED;
        interrupted = false;
    } else {
        refuse("there is no memory for the stacks of the threads");
    }
    if (printed) fflush(stdout), printed = false;
    pthread_mutex_unlock(&pool.launching);
    return result;
}

TT_API const char* tt_emu_report() { return report(); }
TT_API const void* tt_emu_report_address() { return report_address; }
TT_API void tt_emu_set_order(unsigned long long value) { order = value; }
TT_API void tt_emu_set_workers(unsigned count, double seconds) {
    most_workers = count < 1 ? 1 : count > MOST_WORKERS ? MOST_WORKERS : count;
    threshold = seconds;
}

TT_API int tt_emu_printf(const char* format, ...) {
    Whole whole(*here);
    char text[4096];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    if (length > 0) fwrite(text, 1, length < (int)sizeof text ? (size_t)length : sizeof text - 1, stdout);
    __atomic_store_n(&printed, true, __ATOMIC_RELAXED);
    return length;
}
