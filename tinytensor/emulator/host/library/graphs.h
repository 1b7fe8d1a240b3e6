// Graphs: by capture of streams, or node by node. A launch does the work of the nodes one after another.
#pragma once
#include <algorithm>

#include "launching.h"
#include "streams.h"

struct CUgraphExec_st {
    cudaGraph_t graph;  // a copy
    std::map<cudaGraphNode_t, cudaGraphNode_t> copies;
};

namespace tt_program {

using Copies = std::map<cudaGraphNode_t, cudaGraphNode_t>;

static cudaGraph_t copy_of(cudaGraph_t graph, Copies& copies) {
    auto* made = new CUgraph_st{};
    for (const cudaGraphNode_t node : graph->nodes) {
        auto* copy = new CUgraphNode_st(*node);
        if (copy->graph) copy->graph = copy_of(copy->graph, copies);
        made->nodes.push_back(copies[node] = copy);
    }
    for (const cudaGraphNode_t node : made->nodes)
        for (cudaGraphNode_t& before : node->after) before = copies[before];
    return made;
}

static void destroy(cudaGraph_t graph) {
    for (const cudaGraphNode_t node : graph->nodes) {
        if (node->graph) destroy(node->graph);
        delete node;
    }
    delete graph;
}

// In an order that respects all edges, that of the calls as far as possible; fewer if there is a cycle.
static std::vector<cudaGraphNode_t> ordered(cudaGraph_t graph) {
    std::vector<cudaGraphNode_t> order, left = graph->nodes;
    std::set<cudaGraphNode_t> done;
    for (bool any = true; any;) {
        any = false;
        std::vector<cudaGraphNode_t> waiting;
        for (const cudaGraphNode_t node : left) {
            const bool ready = std::all_of(node->after.begin(), node->after.end(),
                                           [&](cudaGraphNode_t n) { return done.count(n); });
            if (ready) order.push_back(node), done.insert(node), any = true;
            else waiting.push_back(node);
        }
        left = waiting;
    }
    return order;
}

static cudaError_t run_graph(cudaGraph_t graph) {
    const bool before = in_graph;
    cudaError_t error = cudaSuccess;
    for (const cudaGraphNode_t node : ordered(graph)) {
        in_graph = true;
        error = node->graph ? run_graph(node->graph) : node->work();
        in_graph = before;
        if (error) break;
    }
    return error;
}

static Work kernel_work(const cudaKernelNodeParams& p, TT_SITE) {
    return bound(p.func, {{"kernel", file, line}, p.gridDim, p.blockDim, p.sharedMemBytes, nullptr, false},
                 p.kernelParams);
}

// ---- memory of graphs: at one address as long as a graph has it, or the program

struct GraphMemory {
    const char* start;
    size_t bytes;
    bool in_use = false;
    ~GraphMemory();
};
static auto& graph_memories = *new std::map<const char*, GraphMemory*>;
static size_t most_graph_bytes[2];  // used, reserved

static size_t graph_bytes(bool in_use) {
    size_t bytes = 0;
    for (const auto& [start, memory] : graph_memories)
        if (memory->in_use || !in_use) bytes += memory->bytes;
    size_t& most = most_graph_bytes[!in_use];
    return most = std::max(most, bytes), bytes;
}

GraphMemory::~GraphMemory() {
    graph_memories.erase(start);
    if (!in_use && block_at(start) != blocks.end()) release(block_at(start));
}

static bool free_of_graph(const void* p) {
    const auto at = graph_memories.find((const char*)p);
    if (at == graph_memories.end()) return false;
    at->second->in_use = false;
    return true;
}

static cudaError_t graph_memory(void** p, size_t bytes, std::shared_ptr<GraphMemory>* memory, TT_SITE) {
    const cudaError_t error = make("cudaGraphAddMemAllocNode", p, bytes, MemoryKind::device, file, line);
    if (error) return error;
    memory->reset(new GraphMemory{(const char*)*p, bytes});
    graph_memories[(const char*)*p] = memory->get();
    graph_bytes(false);
    return cudaSuccess;
}

static Work take(const std::shared_ptr<GraphMemory>& memory) {
    return [=] { return memory->in_use = true, graph_bytes(true), cudaSuccess; };
}

}  // namespace tt_program

using tt_program::add_node;

// ---- nodes

TT_HOST cudaError_t cudaGraphCreate(cudaGraph_t* graph, unsigned) {
    return *graph = new CUgraph_st{}, cudaSuccess;
}
TT_HOST cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return tt_program::destroy(graph), cudaSuccess; }
TT_HOST cudaError_t cudaGraphClone(cudaGraph_t* to, cudaGraph_t from) {
    tt_program::Copies copies;
    return *to = tt_program::copy_of(from, copies), cudaSuccess;
}
TT_HOST void tt_add_work(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after, size_t n,
                         cudaGraphNodeType type, const Work& work) {
    *node = add_node(graph, type, work, {after, after + n});
}
TT_HOST cudaError_t cudaGraphAddKernelNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                           const cudaGraphNode_t* after, size_t n,
                                           const cudaKernelNodeParams* p, TT_SITE) {
    Work work = tt_program::kernel_work(*p, file, line);
    if (!work)
        return failed(cudaErrorInvalidDeviceFunction, "cudaGraphAddKernelNode", file, line,
                      "the address of a kernel must be written as (void*)kernel");
    *node = add_node(graph, cudaGraphNodeTypeKernel, std::move(work), {after, after + n});
    return cudaSuccess;
}
TT_HOST cudaError_t cudaGraphAddChildGraphNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                               const cudaGraphNode_t* after, size_t n, cudaGraph_t child) {
    tt_program::Copies copies;
    *node = add_node(graph, cudaGraphNodeTypeGraph, nullptr, {after, after + n});
    (*node)->graph = tt_program::copy_of(child, copies);
    return cudaSuccess;
}
TT_HOST cudaError_t cudaGraphAddMemAllocNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                             const cudaGraphNode_t* after, size_t n,
                                             cudaMemAllocNodeParams* p, TT_SITE) {
    std::shared_ptr<tt_program::GraphMemory> memory;
    const cudaError_t error = tt_program::graph_memory(&p->dptr, p->bytesize, &memory, file, line);
    if (error) return error;
    *node = add_node(graph, cudaGraphNodeTypeMemAlloc, tt_program::take(memory), {after, after + n});
    return cudaSuccess;
}
TT_HOST cudaError_t cudaGraphAddMemFreeNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                            const cudaGraphNode_t* after, size_t n, void* p, TT_SITE) {
    if (!tt_program::graph_memories.count((const char*)p))
        return failed(cudaErrorInvalidValue, "cudaGraphAddMemFreeNode", file, line,
                      "no memory of a graph is at this address");
    const Work work = [=] { return tt_program::free_of_graph(p), cudaSuccess; };
    *node = add_node(graph, cudaGraphNodeTypeMemFree, work, {after, after + n});
    return cudaSuccess;
}
TT_HOST cudaError_t cudaDeviceGetGraphMemAttribute(int, cudaGraphMemAttributeType which, void* value) {
    const size_t now[] = {tt_program::graph_bytes(true), tt_program::graph_bytes(false)};
    const bool reserved = which >= cudaGraphMemAttrReservedMemCurrent, high = which & 1;
    *(unsigned long long*)value = high ? tt_program::most_graph_bytes[reserved] : now[reserved];
    return cudaSuccess;
}
TT_HOST cudaError_t cudaDeviceGraphMemTrim(int) { return cudaSuccess; }

TT_HOST cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* to, size_t* n) {
    if (to) std::copy_n(graph->nodes.begin(), std::min(*n, graph->nodes.size()), to);
    return *n = graph->nodes.size(), cudaSuccess;
}
TT_HOST cudaError_t cudaGraphGetRootNodes(cudaGraph_t graph, cudaGraphNode_t* to, size_t* n) {
    size_t found = 0;
    for (const cudaGraphNode_t node : graph->nodes)
        if (node->after.empty()) {
            if (to && found < *n) to[found] = node;
            found++;
        }
    return *n = found, cudaSuccess;
}
TT_HOST cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
    return *type = node->type, cudaSuccess;
}
TT_HOST cudaError_t tt_add_edges(const cudaGraphNode_t* from, const cudaGraphNode_t* to, size_t n) {
    for (size_t i = 0; i < n; i++) to[i]->after.push_back(from[i]);
    return cudaSuccess;
}

// ---- capture

TT_HOST cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t s, TT_SITE) {
    if (!tt_program::captures(s))
        return tt_program::make("cudaMallocAsync", p, bytes, MemoryKind::device, file, line);
    std::shared_ptr<tt_program::GraphMemory> memory;
    const cudaError_t error = tt_program::graph_memory(p, bytes, &memory, file, line);
    return error ? error : tt_program::submit(s, tt_program::take(memory), cudaGraphNodeTypeMemAlloc);
}
TT_HOST cudaError_t cudaFreeAsync(void* p, cudaStream_t s, TT_SITE) {
    if (!tt_program::captures(s)) return tt_program::drop("cudaFreeAsync", p, false, file, line);
    return tt_program::submit(
        s, [=] { return tt_program::drop("cudaFreeAsync", p, false, file, line); },
        cudaGraphNodeTypeMemFree);
}
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
}  // namespace tt_program
TT_HOST cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
    std::swap(*mode, tt_program::mode_of_thread);
    return cudaSuccess;
}
TT_HOST cudaError_t tt_begin_capture(cudaStream_t s, cudaGraph_t graph, const cudaGraphNode_t* after,
                                     size_t n, cudaStreamCaptureMode mode, TT_SITE) {
    if ((size_t)s <= 4 || !tt_program::is_stream(s) || s->graph)
        return failed(cudaErrorStreamCaptureUnsupported, "cudaStreamBeginCapture", file, line,
                      "the stream captures already, or is the default stream, which cannot capture");
    s->graph = graph ? graph : new CUgraph_st{};
    s->graph->capture = {s, mode, pthread_self(), false};
    s->last.assign(after, after + n);
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
TT_HOST cudaError_t tt_capture_info(cudaStream_t s, cudaStreamCaptureStatus* status, unsigned long long* id,
                                    cudaGraph_t* graph, const cudaGraphNode_t** last, size_t* n) {
    const bool active = tt_program::captures(s);
    *status = !active                    ? cudaStreamCaptureStatusNone
              : s->graph->capture.invalid ? cudaStreamCaptureStatusInvalidated
                                          : cudaStreamCaptureStatusActive;
    if (!active) return cudaSuccess;
    if (id) *id = (unsigned long long)s->graph;
    if (graph) *graph = s->graph;
    if (last) *last = s->last.data();
    if (n) *n = s->last.size();
    return cudaSuccess;
}
TT_HOST cudaError_t tt_set_capture_dependencies(cudaStream_t s, const cudaGraphNode_t* nodes, size_t n,
                                                bool add) {
    if (!tt_program::captures(s)) return cudaErrorIllegalState;
    if (!add) s->last.clear();
    s->last.insert(s->last.end(), nodes, nodes + n);
    return cudaSuccess;
}

// ---- executable graphs

TT_HOST cudaError_t tt_instantiate(cudaGraphExec_t* e, cudaGraph_t g, tt_emu::Site site) {
    if (tt_program::ordered(g).size() < g->nodes.size())
        return failed(cudaErrorInvalidValue, "cudaGraphInstantiate", site.file, site.line,
                      "the graph has a cycle");
    *e = new CUgraphExec_st{};
    (*e)->graph = tt_program::copy_of(g, (*e)->copies);
    return cudaSuccess;
}
TT_HOST cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s, TT_SITE) {
    if (const cudaError_t error = tt_program::refuse_default_stream(s, "cudaGraphLaunch", file, line))
        return error;
    if (tt_program::captures(s)) {
        cudaGraphNode_t node;
        cudaGraphAddChildGraphNode(&node, s->graph, s->last.data(), s->last.size(), e->graph);
        s->last = {node};
        return cudaSuccess;
    }
    return tt_program::submit(s, [=] { return tt_program::run_graph(e->graph); }, cudaGraphNodeTypeGraph);
}
TT_HOST cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e) {
    tt_program::destroy(e->graph);
    return delete e, cudaSuccess;
}
TT_HOST cudaError_t tt_set_work(cudaGraphExec_t e, cudaGraphNode_t node, const Work& work) {
    const auto copy = e->copies.find(node);
    if (copy == e->copies.end()) return cudaErrorInvalidValue;
    return copy->second->work = work, cudaSuccess;
}
TT_HOST cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t e, cudaGraphNode_t node,
                                                     const cudaKernelNodeParams* p, TT_SITE) {
    const Work work = tt_program::kernel_work(*p, file, line);
    if (work && !tt_set_work(e, node, work)) return cudaSuccess;
    return failed(cudaErrorInvalidValue, "cudaGraphExecKernelNodeSetParams", file, line,
                  "no node of this graph, or no kernel");
}
TT_HOST cudaError_t cudaGraphKernelNodeSetParams(cudaGraphNode_t node, const cudaKernelNodeParams* p,
                                                 TT_SITE) {
    Work work = tt_program::kernel_work(*p, file, line);
    if (!work)
        return failed(cudaErrorInvalidDeviceFunction, "cudaGraphKernelNodeSetParams", file, line,
                      "the address of a kernel must be written as (void*)kernel");
    return node->work = std::move(work), cudaSuccess;
}
TT_HOST cudaError_t tt_update_graph(cudaGraphExec_t e, cudaGraph_t graph,
                                    cudaGraphExecUpdateResultInfo* result) {
    const auto &now = e->graph->nodes, &next = graph->nodes;
    *result = {cudaGraphExecUpdateErrorTopologyChanged, nullptr, nullptr};
    if (now.size() != next.size()) return cudaErrorGraphExecUpdateFailure;
    for (size_t i = 0; i < now.size(); i++) {
        *result = {cudaGraphExecUpdateErrorTopologyChanged, next[i], now[i]};
        if (now[i]->after.size() != next[i]->after.size()) return cudaErrorGraphExecUpdateFailure;
        result->result = cudaGraphExecUpdateErrorNodeTypeChanged;
        if (now[i]->type != next[i]->type) return cudaErrorGraphExecUpdateFailure;
    }
    *result = {cudaGraphExecUpdateSuccess, nullptr, nullptr};
    tt_program::destroy(e->graph);
    e->copies.clear();
    e->graph = tt_program::copy_of(graph, e->copies);
    return cudaSuccess;
}
