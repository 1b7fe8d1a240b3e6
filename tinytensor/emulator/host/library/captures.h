// Streams and events, and what CUDA forbids while a stream captures: what would need work that is only
// recorded. It invalidates the capture (CUDA programming guide, "Prohibited and Unhandled Operations").
#pragma once
#include <pthread.h>

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "reports.h"

using Work = std::function<cudaError_t()>;

struct CUgraphNode_st {
    Work work;
    std::vector<cudaGraphNode_t> after;  // the nodes that come before it
};
struct Capture {
    cudaStream_t origin;  // the stream in which it began
    cudaStreamCaptureMode mode;
    pthread_t thread;
    bool invalid;
};
struct CUgraph_st {
    std::vector<std::unique_ptr<CUgraphNode_st>> nodes;  // in the order of the calls
    Capture capture;  // while streams capture it
};

struct CUstream_st {
    unsigned flags;
    int priority;
    cudaGraph_t graph;                  // null unless it captures
    std::vector<cudaGraphNode_t> last;  // what the next node comes after
};
struct CUevent_st {
    double time;  // negative: not recorded
    bool timed;
    cudaGraph_t graph;  // of the capture in which it was recorded
    std::vector<cudaGraphNode_t> last;
};

TT_HOST bool tt_in_kernel() { return tt_emu::here && tt_emu::here->guarded; }

namespace tt_program {

static auto& streams = *new std::set<cudaStream_t>;
static auto& events = *new std::set<cudaEvent_t>;
static std::mutex streams_lock;  // of both: kernels make them, too
static CUgraph_st ended;         // the graph of events whose capture has ended

static thread_local bool in_graph;  // in the work of a node

static bool is_stream(cudaStream_t s) {
    if ((size_t)s <= 4) return true;  // 0, and constants such as cudaStreamPerThread
    std::lock_guard<std::mutex> guard(streams_lock);
    return streams.count(s);
}

static bool is_event(cudaEvent_t e) {
    std::lock_guard<std::mutex> guard(streams_lock);
    return events.count(e);
}

static bool captures(cudaStream_t s) { return (size_t)s > 4 && is_stream(s) && s->graph; }

// Fails with an error, and invalidates captures, if there is one with which the call conflicts.
template <class F>
static cudaError_t refuse_in_capture(F conflicts, cudaError_t error, const char* name, const char* file,
                                     int line, const char* why) {
    if (in_graph || tt_in_kernel()) return cudaSuccess;
    bool any = false;
    {
        std::lock_guard<std::mutex> guard(streams_lock);
        for (const cudaStream_t s : streams)
            if (s->graph && conflicts(*s)) s->graph->capture.invalid = any = true;
    }
    return any ? failed(error, name, file, line, why) : cudaSuccess;
}

// For calls that may wait for the device, such as cudaMalloc.
static cudaError_t refuse_unsafe(const char* name, const char* file, int line) {
    const auto conflicts = [](const CUstream_st& s) {
        const Capture& capture = s.graph->capture;
        const bool own = pthread_equal(capture.thread, pthread_self());
        return own ? capture.mode != cudaStreamCaptureModeRelaxed
                   : capture.mode == cudaStreamCaptureModeGlobal;
    };
    return refuse_in_capture(conflicts, cudaErrorStreamCaptureUnsupported, name, file, line,
                             "a stream captures, and this call may wait for it");
}

// For work on the default stream, and waits for it: it comes after the work of all blocking streams.
static cudaError_t refuse_default_stream(cudaStream_t stream, const char* name, const char* file, int line) {
    if (stream > cudaStreamLegacy) return cudaSuccess;
    const auto conflicts = [](const CUstream_st& s) { return !(s.flags & cudaStreamNonBlocking); };
    return refuse_in_capture(conflicts, cudaErrorStreamCaptureImplicit, name, file, line,
                             "the default stream waits for other streams, of which one captures");
}

static cudaError_t refuse_captured(cudaEvent_t e, const char* name, const char* file, int line) {
    if (!e->graph) return cudaSuccess;
    const auto conflicts = [=](const CUstream_st& s) { return s.graph == e->graph; };
    refuse_in_capture(conflicts, cudaErrorCapturedEvent, name, file, line, "");
    return failed(cudaErrorCapturedEvent, name, file, line, "the event was recorded in a capture");
}

}  // namespace tt_program
