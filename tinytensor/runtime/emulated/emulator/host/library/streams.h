// Streams and events: work is done in the order of the calls.
#pragma once
#include "submission.h"

using tt_program::failed;
using tt_program::sticky_error;

static cudaError_t no_event(const char* call, const char* file, int line) {
    return failed(cudaErrorInvalidResourceHandle, call, file, line,
                  "there is no such event: it was destroyed, or never created");
}

TT_HOST cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned flags, int priority, TT_SITE) {
    if (sticky_error) return sticky_error;
    *s = new CUstream_st{flags, priority, nullptr, {}};
    std::lock_guard<std::mutex> guard(tt_program::streams_lock);
    tt_program::streams.insert(*s);
    return cudaSuccess;
}
TT_HOST cudaError_t cudaStreamDestroy(cudaStream_t s, TT_SITE) {
    if ((size_t)s <= 4 || !tt_program::is_stream(s))
        return failed(cudaErrorInvalidResourceHandle, "cudaStreamDestroy", file, line,
                      "there is no such stream");
    std::lock_guard<std::mutex> guard(tt_program::streams_lock);
    tt_program::streams.erase(s);
    delete s;
    return sticky_error;
}
TT_HOST cudaError_t cudaStreamSynchronize(cudaStream_t s, TT_SITE) {
    if (!tt_program::is_stream(s))
        return failed(cudaErrorInvalidResourceHandle, "cudaStreamSynchronize", file, line,
                      "there is no such stream");
    if (tt_program::captures(s))
        return failed(cudaErrorStreamCaptureUnsupported, "cudaStreamSynchronize", file, line,
                      "the stream captures");
    return sticky_error;
}
// An event of a capture takes the stream into that capture.
TT_HOST cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned, TT_SITE) {
    if (!tt_program::is_stream(s))
        return failed(cudaErrorInvalidResourceHandle, "cudaStreamWaitEvent", file, line,
                      "there is no such stream");
    if (!tt_program::is_event(e)) return no_event("cudaStreamWaitEvent", file, line);
    if ((size_t)s > 4 && e->graph) {
        if (!s->graph) s->graph = e->graph, s->last.clear();
        s->last.insert(s->last.end(), e->last.begin(), e->last.end());
    }
    return sticky_error;
}
TT_HOST cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t f, void* data, TT_SITE) {
    return tt_program::submit(s, [=] { return f(data), cudaSuccess; }, cudaGraphNodeTypeHost);
}
TT_HOST cudaError_t cudaStreamAddCallback(cudaStream_t s, cudaStreamCallback_t f, void* data, unsigned,
                                          TT_SITE) {
    return tt_program::submit(
        s, [=] { return f(s, sticky_error, data), cudaSuccess; }, cudaGraphNodeTypeHost);
}
TT_HOST cudaError_t cudaStreamGetPriority(cudaStream_t s, int* priority) {
    return *priority = (size_t)s > 4 ? s->priority : 0, cudaSuccess;
}
TT_HOST cudaError_t cudaStreamGetFlags(cudaStream_t s, unsigned* flags) {
    return *flags = (size_t)s > 4 ? s->flags : 0, cudaSuccess;
}

TT_HOST cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned flags, TT_SITE) {
    if (sticky_error) return sticky_error;
    *e = new CUevent_st{-1.0, !(flags & cudaEventDisableTiming), nullptr, {}};
    std::lock_guard<std::mutex> guard(tt_program::streams_lock);
    tt_program::events.insert(*e);
    return cudaSuccess;
}
TT_HOST cudaError_t cudaEventDestroy(cudaEvent_t e, TT_SITE) {
    if (!tt_program::is_event(e)) return no_event("cudaEventDestroy", file, line);
    std::lock_guard<std::mutex> guard(tt_program::streams_lock);
    tt_program::events.erase(e);
    delete e;
    return sticky_error;
}
TT_HOST cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s, TT_SITE) {
    if (sticky_error) return sticky_error;
    if (!tt_program::is_stream(s))
        return failed(cudaErrorInvalidResourceHandle, "cudaEventRecord", file, line,
                      "there is no such stream");
    if (!tt_program::is_event(e)) return no_event("cudaEventRecord", file, line);
    e->graph = tt_program::captures(s) ? s->graph : nullptr;
    if (e->graph) e->last = s->last;
    else e->time = tt_emu::now();
    return cudaSuccess;
}
TT_HOST cudaError_t cudaEventSynchronize(cudaEvent_t e, TT_SITE) {
    return tt_program::is_event(e) ? sticky_error : no_event("cudaEventSynchronize", file, line);
}
TT_HOST cudaError_t cudaEventQuery(cudaEvent_t e, TT_SITE) {
    return tt_program::is_event(e) ? sticky_error : no_event("cudaEventQuery", file, line);
}
TT_HOST cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end, TT_SITE) {
    if (sticky_error) return sticky_error;
    if (!tt_program::is_event(start) || !tt_program::is_event(end))
        return no_event("cudaEventElapsedTime", file, line);
    if (start->time < 0 || end->time < 0 || !start->timed || !end->timed)
        return failed(cudaErrorInvalidResourceHandle, "cudaEventElapsedTime", file, line,
                      "an event was not recorded, or takes no time");
    *milliseconds = (float)((end->time - start->time) * 1e3);
    return cudaSuccess;
}
