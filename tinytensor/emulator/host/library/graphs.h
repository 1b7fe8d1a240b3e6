// Graphs by capture of streams: a launch does the captured work in the order of the calls.
#pragma once
#include "launching.h"
#include "streams.h"

struct CUgraphExec_st {
    std::vector<Work> work;
};

namespace tt_program {

// Whether all that other streams have captured comes before the end of a capturing stream.
static bool is_joined(cudaStream_t origin) {
    std::set<cudaGraphNode_t> before;
    std::vector<cudaGraphNode_t> next = origin->last;
    while (!next.empty()) {
        const cudaGraphNode_t node = next.back();
        next.pop_back();
        if (before.insert(node).second) next.insert(next.end(), node->after.begin(), node->after.end());
    }
    std::lock_guard<std::mutex> guard(streams_lock);
    for (const cudaStream_t s : streams)
        for (const cudaGraphNode_t node : s->graph == origin->graph ? s->last : decltype(s->last){})
            if (!before.count(node)) return false;
    return true;
}

static cudaError_t run_graph(const std::vector<Work>& all) {
    const bool before = in_graph;
    cudaError_t error = cudaSuccess;
    for (const Work& work : all) {
        in_graph = true;
        error = work();
        in_graph = before;
        if (error) break;
    }
    return error;
}

static cudaError_t no_memory_of_graphs(cudaStream_t s, const char* name, TT_SITE) {
    if (!captures(s)) return cudaSuccess;
    s->graph->capture.invalid = true;
    return failed(cudaErrorStreamCaptureUnsupported, name, file, line,
                  "the emulator's graphs have no memory of their own: allocate it before the capture");
}

}  // namespace tt_program

TT_HOST cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t s, TT_SITE) {
    const cudaError_t error = tt_program::no_memory_of_graphs(s, "cudaMallocAsync", file, line);
    return error ? error : tt_program::make("cudaMallocAsync", p, bytes, MemoryKind::device, file, line);
}
TT_HOST cudaError_t cudaFreeAsync(void* p, cudaStream_t s, TT_SITE) {
    const cudaError_t error = tt_program::no_memory_of_graphs(s, "cudaFreeAsync", file, line);
    return error ? error : tt_program::drop("cudaFreeAsync", p, false, file, line);
}

TT_HOST cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode, TT_SITE) {
    if ((size_t)s <= 4 || !tt_program::is_stream(s) || s->graph)
        return failed(cudaErrorStreamCaptureUnsupported, "cudaStreamBeginCapture", file, line,
                      "the stream captures already, or is the default stream, which cannot capture");
    s->graph = new CUgraph_st{{}, {s, mode, pthread_self(), false}};
    s->last.clear();
    return cudaSuccess;
}
TT_HOST cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* graph, TT_SITE) {
    if (!tt_program::captures(s))
        return failed(cudaErrorIllegalState, "cudaStreamEndCapture", file, line,
                      "the stream does not capture");
    const cudaGraph_t captured = s->graph;
    const Capture& capture = captured->capture;
    if (capture.origin != s)
        return failed(cudaErrorStreamCaptureUnmatched, "cudaStreamEndCapture", file, line,
                      "the capture began in another stream");
    if (capture.mode != cudaStreamCaptureModeRelaxed && !pthread_equal(capture.thread, pthread_self()))
        return failed(cudaErrorStreamCaptureWrongThread, "cudaStreamEndCapture", file, line,
                      "the capture began in another thread");
    const cudaError_t error = capture.invalid                ? cudaErrorStreamCaptureInvalidated
                              : tt_program::is_joined(s) ? cudaSuccess
                                                         : cudaErrorStreamCaptureUnjoined;
    std::lock_guard<std::mutex> guard(tt_program::streams_lock);
    for (const cudaStream_t other : tt_program::streams)  // which joined by events, too
        if (other->graph == captured) other->graph = nullptr, other->last.clear();
    for (const cudaEvent_t e : tt_program::events)
        if (e->graph == captured) e->graph = &tt_program::ended, e->last.clear();
    if (graph) *graph = error ? nullptr : captured;
    if (!error) return cudaSuccess;
    return failed(error, "cudaStreamEndCapture", file, line,
                  error == cudaErrorStreamCaptureUnjoined ? "no event joins the work of another stream" : "");
}

TT_HOST cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* to, size_t* n) {
    for (size_t i = 0; to && i < *n && i < graph->nodes.size(); i++) to[i] = graph->nodes[i].get();
    return *n = graph->nodes.size(), cudaSuccess;
}
TT_HOST cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }
TT_HOST cudaError_t tt_instantiate(cudaGraphExec_t* e, cudaGraph_t graph) {
    *e = new CUgraphExec_st{};
    for (const auto& node : graph->nodes) (*e)->work.push_back(node->work);
    return cudaSuccess;
}
TT_HOST cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s, TT_SITE) {
    if (const cudaError_t error = tt_program::refuse_default_stream(s, "cudaGraphLaunch", file, line))
        return error;
    return tt_program::submit(s, [all = e->work] { return tt_program::run_graph(all); });
}
TT_HOST cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e) { return delete e, cudaSuccess; }
