// Interface of the thread pool of the C++ kernels. Work is divided into parts, numbered from 0; free threads
// take the next one, so a part must not depend on the thread that runs it. For bitwise equal results on any
// number of threads divide the work by its size, never by the number of threads.
#pragma once

using Index = long long;

struct Threads {  // function table of threads.cpp, passed to each library by the loader
    // Maximum number of threads, including the caller.
    int (*count)();
    // Run task(context, part) for each part; returns when all are done. Runs them sequentially in the caller
    // if there is one thread or one part, if called from within a part, or if another caller uses the
    // threads.
    void (*run)(void (*task)(void* context, Index part), void* context, Index parts);
};

// Defined here, since each library of kernels is one file.
extern "C" {
__attribute__((visibility("default"), used)) const Threads* tt_threads = nullptr;
}

inline int thread_count() { return tt_threads->count(); }

// body(part) for each part in [0, parts).
template <class Body>
inline void run_parts(Index parts, const Body& body) {
    if (parts == 1) return body(Index(0));
    tt_threads->run([](void* context, Index part) { (*(const Body*)context)(part); }, (void*)&body, parts);
}

// body(begin, end) for ranges of `grain` elements (the last may be shorter) that cover [0, count). A range
// should take some 20 microseconds or more: waking a thread takes about 5.
template <class Body>
inline void parallel_for(Index count, Index grain, const Body& body) {
    if (count <= 0) return;
    if (grain < 1) grain = 1;
    run_parts((count + grain - 1) / grain, [&](Index part) {
        Index begin = part * grain, end = count - begin < grain ? count : begin + grain;
        body(begin, end);
    });
}
