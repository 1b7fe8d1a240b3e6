// Streams, events and graphs: work is done in the order of the calls.
#pragma once
#include "submission.h"

using tt_program::failed;
using tt_program::sticky_error;

TT_HOST cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned flags, int priority, TT_SITE) {
    if (sticky_error) return sticky_error;
    *s = new CUstream_st{flags, priority, false, {}};
    tt_program::streams.insert(*s);
    return cudaSuccess;
}
TT_HOST cudaError_t cudaStreamDestroy(cudaStream_t s, TT_SITE) {
    if ((size_t)s <= 2 || !tt_program::streams.erase(s))
        return failed(cudaErrorInvalidResourceHandle, "cudaStreamDestroy", file, line,
                      "there is no such stream");
    delete s;
    return sticky_error;
}
TT_HOST cudaError_t cudaStreamSynchronize(cudaStream_t s, TT_SITE) {
    if (!tt_program::is_stream(s))
        return failed(cudaErrorInvalidResourceHandle, "cudaStreamSynchronize", file, line,
                      "there is no such stream");
    if ((size_t)s > 2 && s->capturing)
        return failed(cudaErrorStreamCaptureUnsupported, "cudaStreamSynchronize", file, line,
                      "the stream captures");
    return sticky_error;
}
TT_HOST cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned, TT_SITE) {
    return sticky_error;
}
TT_HOST cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t f, void* data, TT_SITE) {
    return tt_program::submit(s, [=] { return f(data), cudaSuccess; });
}
TT_HOST cudaError_t cudaStreamAddCallback(cudaStream_t s, cudaStreamCallback_t f, void* data, unsigned,
                                          TT_SITE) {
    return tt_program::submit(s, [=] { return f(s, sticky_error, data), cudaSuccess; });
}
TT_HOST cudaError_t cudaStreamGetPriority(cudaStream_t s, int* priority) {
    return *priority = (size_t)s > 2 ? s->priority : 0, cudaSuccess;
}
TT_HOST cudaError_t cudaStreamGetFlags(cudaStream_t s, unsigned* flags) {
    return *flags = (size_t)s > 2 ? s->flags : 0, cudaSuccess;
}

TT_HOST cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned flags, TT_SITE) {
    if (sticky_error) return sticky_error;
    *e = new CUevent_st{-1.0, !(flags & cudaEventDisableTiming)};
    return cudaSuccess;
}
TT_HOST cudaError_t cudaEventDestroy(cudaEvent_t e, TT_SITE) { return delete e, sticky_error; }
TT_HOST cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s, TT_SITE) {
    if (sticky_error) return sticky_error;
    return tt_program::submit(s, [=] { return e->time = tt_emu::now(), cudaSuccess; });
}
TT_HOST cudaError_t cudaEventSynchronize(cudaEvent_t, TT_SITE) { return sticky_error; }
TT_HOST cudaError_t cudaEventQuery(cudaEvent_t, TT_SITE) { return sticky_error; }
TT_HOST cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end, TT_SITE) {
    if (sticky_error) return sticky_error;
    if (start->time < 0 || end->time < 0 || !start->timed || !end->timed)
        return failed(cudaErrorInvalidResourceHandle, "cudaEventElapsedTime", file, line,
                      "an event was not recorded, or takes no time");
    *milliseconds = (float)((end->time - start->time) * 1e3);
    return cudaSuccess;
}

TT_HOST cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode, TT_SITE) {
    if ((size_t)s <= 2 || !tt_program::is_stream(s))
        return failed(cudaErrorStreamCaptureUnsupported, "cudaStreamBeginCapture", file, line,
                      "the default stream cannot capture");
    s->capturing = true;
    s->recorded.clear();
    return cudaSuccess;
}
TT_HOST cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* graph, TT_SITE) {
    if ((size_t)s <= 2 || !tt_program::is_stream(s) || !s->capturing)
        return failed(cudaErrorIllegalState, "cudaStreamEndCapture", file, line,
                      "the stream does not capture");
    s->capturing = false;
    *graph = new CUgraph_st{std::move(s->recorded)};
    s->recorded.clear();
    return cudaSuccess;
}
TT_HOST cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus* status, TT_SITE) {
    *status = (size_t)s > 2 && s->capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}
TT_HOST cudaError_t cudaGraphInstantiate(cudaGraphExec_t* e, cudaGraph_t g, unsigned long long, TT_SITE) {
    *e = new CUgraphExec_st{g->works};
    return cudaSuccess;
}
TT_HOST cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s, TT_SITE) {
    for (const Work& work : e->works)
        if (const cudaError_t error = tt_program::submit(s, work)) return error;
    return sticky_error;
}
TT_HOST cudaError_t cudaGraphDestroy(cudaGraph_t g) { return delete g, cudaSuccess; }
TT_HOST cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e) { return delete e, cudaSuccess; }
