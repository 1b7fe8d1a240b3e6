// Work on a stream: done at once, or recorded as a node of a graph while the stream captures.
#pragma once
#include <deque>

#include "captures.h"

namespace tt_program {

// Launches and copies by kernels. They begin when the grid that made them has ended: it is not complete
// before, and cannot see what they write.
static auto& children = *new std::deque<Work>;
static std::mutex children_lock;

static cudaError_t defer(Work work) {
    tt_emu::Whole whole(*tt_emu::here);
    std::lock_guard<std::mutex> guard(children_lock);
    children.push_back(std::move(work));
    return cudaSuccess;
}

static cudaGraphNode_t add_node(cudaGraph_t graph, cudaGraphNodeType type, Work work,
                                std::vector<cudaGraphNode_t> after) {
    auto* node = new CUgraphNode_st{type, std::move(work), nullptr, std::move(after)};
    graph->nodes.push_back(node);
    return node;
}

static cudaError_t submit(cudaStream_t stream, Work work, cudaGraphNodeType type) {
    if (!is_stream(stream)) return last_error = cudaErrorInvalidResourceHandle;
    if (captures(stream)) {
        if (stream->graph->capture.invalid) return last_error = cudaErrorStreamCaptureInvalidated;
        stream->last = {add_node(stream->graph, type, std::move(work), stream->last)};
        return cudaSuccess;
    }
    cudaError_t error = refuse_default_stream(stream, "work on the default stream", "", 0);
    if (!error) error = work();
    if (error) last_error = error;
    return error;
}

}  // namespace tt_program
