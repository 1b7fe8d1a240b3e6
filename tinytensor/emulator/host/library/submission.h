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

static cudaError_t submit(cudaStream_t stream, Work work) {
    if (!is_stream(stream)) return last_error = cudaErrorInvalidResourceHandle;
    if (captures(stream)) {
        if (stream->graph->capture.invalid) return last_error = cudaErrorStreamCaptureInvalidated;
        auto& nodes = stream->graph->nodes;
        nodes.emplace_back(new CUgraphNode_st{std::move(work), stream->last});
        stream->last = {nodes.back().get()};
        return cudaSuccess;
    }
    cudaError_t error = refuse_default_stream(stream, "work on the default stream", "", 0);
    if (!error) error = work();
    if (error) last_error = error;
    return error;
}

}  // namespace tt_program
