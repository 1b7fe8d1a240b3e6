// Streams and events: work is done in the order of the calls.
#pragma once
#include "submission.h"

using tt_program::failed;
using tt_program::sticky_error;

static cudaError_t no_stream(const char* call, const char* file, int line) {
    return failed(cudaErrorInvalidResourceHandle, call, file, line, "there is no such stream");
}
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
        return no_stream("cudaStreamDestroy", file, line);
    std::lock_guard<std::mutex> guard(tt_program::streams_lock);
    tt_program::streams.erase(s);
    delete s;
    return sticky_error;
}
TT_HOST cudaError_t cudaStreamSynchronize(cudaStream_t s, TT_SITE) {
    if (!tt_program::is_stream(s))
        return no_stream("cudaStreamSynchronize", file, line);
    if (const cudaError_t error =
            tt_program::refuse_default_stream(s, "cudaStreamSynchronize", file, line))
        return error;
    const auto conflicts = [=](const CUstream_st& other) { return &other == s; };
    const cudaError_t error =
        tt_program::refuse_in_capture(conflicts, cudaErrorStreamCaptureUnsupported, "cudaStreamSynchronize",
                                      file, line, "the stream captures");
    return error ? error : sticky_error;
}
// An event of a capture takes the stream into that capture.
TT_HOST cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags, TT_SITE) {
    if (!tt_program::is_stream(s))
        return no_stream("cudaStreamWaitEvent", file, line);
    if (!tt_program::is_event(e)) return no_event("cudaStreamWaitEvent", file, line);
    if (const cudaError_t error = tt_program::refuse_default_stream(s, "cudaStreamWaitEvent", file, line))
        return error;
    if ((size_t)s <= 4 || flags & cudaEventWaitExternal) return sticky_error;
    if (s->graph && s->graph->capture.invalid)
        return tt_program::last_error = cudaErrorStreamCaptureInvalidated;
    if (e->graph == &tt_program::ended)
        return tt_program::refuse_captured(e, "cudaStreamWaitEvent", file, line);
    const auto refused = [=](cudaError_t error, const char* why) {
        const auto conflicts = [=](const CUstream_st& other) {
            return other.graph == s->graph || other.graph == e->graph;
        };
        return tt_program::refuse_in_capture(conflicts, error, "cudaStreamWaitEvent", file, line, why);
    };
    if (s->graph && e->graph && s->graph != e->graph)
        return refused(cudaErrorStreamCaptureMerge, "stream and event are of different captures");
    if (s->graph && !e->graph && e->time >= 0)
        return refused(cudaErrorStreamCaptureIsolation, "the event was recorded outside of the capture");
    if (e->graph) {
        s->graph = e->graph;
        s->last.insert(s->last.end(), e->last.begin(), e->last.end());
    }
    return sticky_error;
}
TT_HOST cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t f, void* data, TT_SITE) {
    return tt_program::submit(s, [=] { return f(data), cudaSuccess; });
}
TT_HOST cudaError_t cudaStreamAddCallback(cudaStream_t s, cudaStreamCallback_t f, void* data, unsigned,
                                          TT_SITE) {
    return tt_program::submit(
        s, [=] { return f(s, sticky_error, data), cudaSuccess; });
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
        return no_stream("cudaEventRecord", file, line);
    if (!tt_program::is_event(e)) return no_event("cudaEventRecord", file, line);
    if (const cudaError_t error = tt_program::refuse_default_stream(s, "cudaEventRecord", file, line))
        return error;
    e->graph = tt_program::captures(s) ? s->graph : nullptr;
    if (e->graph) e->last = s->last;
    else e->time = tt_emu::now();
    return cudaSuccess;
}
static cudaError_t await_event(const char* call, cudaEvent_t e, TT_SITE) {
    if (!tt_program::is_event(e)) return no_event(call, file, line);
    const cudaError_t error = tt_program::refuse_captured(e, call, file, line);
    return error ? error : sticky_error;
}
TT_HOST cudaError_t cudaEventSynchronize(cudaEvent_t e, TT_SITE) {
    return await_event("cudaEventSynchronize", e, file, line);
}
TT_HOST cudaError_t cudaEventQuery(cudaEvent_t e, TT_SITE) {
    return await_event("cudaEventQuery", e, file, line);
}
TT_HOST cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end, TT_SITE) {
    if (sticky_error) return sticky_error;
    if (!tt_program::is_event(start) || !tt_program::is_event(end))
        return no_event("cudaEventElapsedTime", file, line);
    for (const cudaEvent_t e : {start, end})
        if (const cudaError_t error = tt_program::refuse_captured(e, "cudaEventElapsedTime", file, line))
            return error;
    if (start->time < 0 || end->time < 0 || !start->timed || !end->timed)
        return failed(cudaErrorInvalidResourceHandle, "cudaEventElapsedTime", file, line,
                      "an event was not recorded, or takes no time");
    *milliseconds = (float)((end->time - start->time) * 1e3);
    return cudaSuccess;
}
