// Work on a stream: done at once, or recorded as a node of a graph while the stream captures.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "reports.h"

using Work = std::function<cudaError_t()>;

struct CUgraphNode_st {
    cudaGraphNodeType type;
    Work work;                        // of other types than the next two
    std::vector<cudaGraph_t> graphs;  // owned: a child, or the bodies of a condition
    cudaConditionalNodeParams condition;
    std::vector<cudaGraphNode_t> after;  // the nodes that come before it
};
struct Condition {  // its address is its handle; kernels set the value
    unsigned value, initial;
    bool reset;  // to the initial value, with each launch of its graph
};
struct CUgraph_st {
    std::vector<cudaGraphNode_t> nodes;
    std::vector<std::shared_ptr<Condition>> conditions;
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

static auto& streams = *new std::set<cudaStream_t>;
static auto& events = *new std::set<cudaEvent_t>;
static std::mutex streams_lock;  // of both: kernels make them, too

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

static cudaGraphNode_t add_node(cudaGraph_t graph, cudaGraphNodeType type, Work work,
                                std::vector<cudaGraphNode_t> after) {
    auto* node = new CUgraphNode_st{type, std::move(work), {}, {}, std::move(after)};
    graph->nodes.push_back(node);
    return node;
}

static cudaError_t submit(cudaStream_t stream, Work work, cudaGraphNodeType type) {
    if (!is_stream(stream)) return last_error = cudaErrorInvalidResourceHandle;
    if (captures(stream)) {
        stream->last = {add_node(stream->graph, type, std::move(work), stream->last)};
        return cudaSuccess;
    }
    const cudaError_t error = work();
    if (error) last_error = error;
    return error;
}

}  // namespace tt_program
