// Graphs whose nodes are added one by one, and captures of streams. Where CUDA 13 has a parameter more than
// CUDA 12, data of edges, both forms are here; the data are ignored.
#pragma once
#include <functional>
#include <vector>

#include "graph_types.h"

#define TT_HOST extern "C" __attribute__((visibility("default")))
#define TT_AFTER cudaGraphNode_t *node, cudaGraph_t graph, const cudaGraphNode_t *after, size_t n
using tt_work = std::function<cudaError_t()>;

TT_HOST cudaError_t cudaGraphCreate(cudaGraph_t*, unsigned flags);
TT_HOST cudaError_t cudaGraphDestroy(cudaGraph_t);
TT_HOST cudaError_t cudaGraphClone(cudaGraph_t* to, cudaGraph_t from);
TT_HOST void tt_add_work(TT_AFTER, cudaGraphNodeType, const tt_work&);
TT_HOST cudaError_t cudaGraphAddKernelNode(TT_AFTER, const cudaKernelNodeParams*, TT_SITE);
TT_HOST cudaError_t cudaGraphAddChildGraphNode(TT_AFTER, cudaGraph_t child);
TT_HOST cudaError_t cudaGraphAddMemAllocNode(TT_AFTER, cudaMemAllocNodeParams*, TT_SITE);
TT_HOST cudaError_t cudaGraphAddMemFreeNode(TT_AFTER, void* p, TT_SITE);
TT_HOST cudaError_t cudaDeviceGetGraphMemAttribute(int device, cudaGraphMemAttributeType, void* value);
TT_HOST cudaError_t cudaDeviceGraphMemTrim(int device);
TT_HOST cudaError_t cudaGraphGetNodes(cudaGraph_t, cudaGraphNode_t*, size_t* n);
TT_HOST cudaError_t cudaGraphGetRootNodes(cudaGraph_t, cudaGraphNode_t*, size_t* n);
TT_HOST cudaError_t cudaGraphNodeGetType(cudaGraphNode_t, cudaGraphNodeType*);
TT_HOST cudaError_t tt_add_edges(const cudaGraphNode_t* from, const cudaGraphNode_t* to, size_t n);
TT_HOST cudaError_t tt_begin_capture(cudaStream_t, cudaGraph_t, const cudaGraphNode_t* after, size_t n,
                                     cudaStreamCaptureMode, TT_SITE);
TT_HOST cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*);
TT_HOST cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t*, TT_SITE);
TT_HOST cudaError_t tt_capture_info(cudaStream_t, cudaStreamCaptureStatus*, unsigned long long* id,
                                    cudaGraph_t*, const cudaGraphNode_t** last, size_t* n);
TT_HOST cudaError_t tt_set_capture_dependencies(cudaStream_t, const cudaGraphNode_t*, size_t n, bool add);
TT_HOST cudaError_t tt_instantiate(cudaGraphExec_t*, cudaGraph_t, tt_emu::Site);
TT_HOST cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t, TT_SITE);
TT_HOST cudaError_t cudaGraphExecDestroy(cudaGraphExec_t);
TT_HOST cudaError_t tt_set_work(cudaGraphExec_t, cudaGraphNode_t, const tt_work&);
TT_HOST cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t, cudaGraphNode_t,
                                                     const cudaKernelNodeParams*, TT_SITE);
TT_HOST cudaError_t cudaGraphKernelNodeSetParams(cudaGraphNode_t, const cudaKernelNodeParams*, TT_SITE);
TT_HOST cudaError_t tt_update_graph(cudaGraphExec_t, cudaGraph_t, cudaGraphExecUpdateResultInfo*);
#undef TT_HOST

// ---- work of nodes

static inline tt_work tt_memset_work(const cudaMemsetParams& p, const char* file, int line) {
    return [=] {
        const size_t pitch = p.height > 1 ? p.pitch : p.width * p.elementSize;
        if (p.elementSize == 1 || p.value == 0)
            return cudaMemset2D(p.dst, pitch, (int)p.value, p.width * p.elementSize, p.height, file, line);
        std::vector<char> row(p.width * p.elementSize);
        for (size_t i = 0; i < row.size(); i++) row[i] = ((const char*)&p.value)[i % p.elementSize];
        cudaError_t error = cudaSuccess;
        for (size_t i = 0; i < p.height && !error; i++)
            error = cudaMemcpy((char*)p.dst + i * pitch, row.data(), row.size(), cudaMemcpyHostToDevice, file,
                               line);
        return error;
    };
}
static inline tt_work tt_host_work(const cudaHostNodeParams& p) {
    return [=] { return p.fn(p.userData), cudaSuccess; };
}
static inline cudaError_t cudaGraphAddMemcpyNode(TT_AFTER, const cudaMemcpy3DParms* p, TT_SITE) {
    const cudaMemcpy3DParms copy = *p;
    tt_add_work(node, graph, after, n, cudaGraphNodeTypeMemcpy,
                [=] { return cudaMemcpy3D(&copy, file, line); });
    return cudaSuccess;
}
static inline cudaError_t cudaGraphAddMemcpyNode1D(TT_AFTER, void* to, const void* from, size_t bytes,
                                                   cudaMemcpyKind kind, TT_SITE) {
    tt_add_work(node, graph, after, n, cudaGraphNodeTypeMemcpy,
                [=] { return cudaMemcpy(to, from, bytes, kind, file, line); });
    return cudaSuccess;
}
static inline cudaError_t cudaGraphAddMemsetNode(TT_AFTER, const cudaMemsetParams* p, TT_SITE) {
    tt_add_work(node, graph, after, n, cudaGraphNodeTypeMemset, tt_memset_work(*p, file, line));
    return cudaSuccess;
}
static inline cudaError_t cudaGraphAddHostNode(TT_AFTER, const cudaHostNodeParams* p) {
    tt_add_work(node, graph, after, n, cudaGraphNodeTypeHost, tt_host_work(*p));
    return cudaSuccess;
}
static inline cudaError_t cudaGraphAddEmptyNode(TT_AFTER) {
    tt_add_work(node, graph, after, n, cudaGraphNodeTypeEmpty, [] { return cudaSuccess; });
    return cudaSuccess;
}
static inline cudaError_t cudaGraphAddEventRecordNode(TT_AFTER, cudaEvent_t event) {
    tt_add_work(node, graph, after, n, cudaGraphNodeTypeEventRecord, [=] { return cudaEventRecord(event); });
    return cudaSuccess;
}
static inline cudaError_t cudaGraphAddEventWaitNode(TT_AFTER, cudaEvent_t) {
    tt_add_work(node, graph, after, n, cudaGraphNodeTypeWaitEvent, [] { return cudaSuccess; });
    return cudaSuccess;
}
static inline cudaError_t cudaGraphAddNode(TT_AFTER, cudaGraphNodeParams* p, TT_SITE) {
    switch (p->type) {
        case cudaGraphNodeTypeKernel:
            return cudaGraphAddKernelNode(node, graph, after, n, &p->kernel, file, line);
        case cudaGraphNodeTypeMemset:
            return cudaGraphAddMemsetNode(node, graph, after, n, &p->memset, file, line);
        case cudaGraphNodeTypeHost: return cudaGraphAddHostNode(node, graph, after, n, &p->host);
        case cudaGraphNodeTypeGraph: return cudaGraphAddChildGraphNode(node, graph, after, n, p->graph.graph);
        case cudaGraphNodeTypeEmpty: return cudaGraphAddEmptyNode(node, graph, after, n);
        case cudaGraphNodeTypeMemAlloc:
            return cudaGraphAddMemAllocNode(node, graph, after, n, &p->alloc, file, line);
        case cudaGraphNodeTypeMemFree:
            return cudaGraphAddMemFreeNode(node, graph, after, n, p->free.dptr, file, line);
        default: return cudaErrorNotSupported;
    }
}
static inline cudaError_t cudaGraphAddNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                           const cudaGraphNode_t* after, const cudaGraphEdgeData*, size_t n,
                                           cudaGraphNodeParams* p, TT_SITE) {
    return cudaGraphAddNode(node, graph, after, n, p, file, line);
}
#undef TT_AFTER
static inline cudaError_t cudaGraphAddDependencies(cudaGraph_t, const cudaGraphNode_t* from,
                                                   const cudaGraphNode_t* to, size_t n) {
    return tt_add_edges(from, to, n);
}
static inline cudaError_t cudaGraphAddDependencies(cudaGraph_t, const cudaGraphNode_t* from,
                                                   const cudaGraphNode_t* to, const cudaGraphEdgeData*,
                                                   size_t n) {
    return tt_add_edges(from, to, n);
}

// ---- executable graphs

#define TT_CALLER tt_emu::Site site = {__builtin_FILE(), __builtin_LINE()}
static inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* e, cudaGraph_t g, unsigned long long = 0,
                                               TT_CALLER) {
    return tt_instantiate(e, g, site);
}
static inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* e, cudaGraph_t g, cudaGraphNode_t*, char*,
                                               size_t, TT_CALLER) {
    return tt_instantiate(e, g, site);
}
static inline cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* e, cudaGraph_t g,
                                                        unsigned long long, TT_CALLER) {
    return tt_instantiate(e, g, site);
}
#undef TT_CALLER
static inline cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }
static inline cudaError_t cudaGraphExecMemcpyNodeSetParams(cudaGraphExec_t e, cudaGraphNode_t node,
                                                           const cudaMemcpy3DParms* p, TT_SITE) {
    const cudaMemcpy3DParms copy = *p;
    return tt_set_work(e, node, [=] { return cudaMemcpy3D(&copy, file, line); });
}
static inline cudaError_t cudaGraphExecMemsetNodeSetParams(cudaGraphExec_t e, cudaGraphNode_t node,
                                                           const cudaMemsetParams* p, TT_SITE) {
    return tt_set_work(e, node, tt_memset_work(*p, file, line));
}
static inline cudaError_t cudaGraphExecHostNodeSetParams(cudaGraphExec_t e, cudaGraphNode_t node,
                                                         const cudaHostNodeParams* p) {
    return tt_set_work(e, node, tt_host_work(*p));
}
static inline cudaError_t cudaGraphExecUpdate(cudaGraphExec_t e, cudaGraph_t graph,
                                              cudaGraphExecUpdateResultInfo* result) {
    return tt_update_graph(e, graph, result);
}
static inline cudaError_t cudaGraphExecUpdate(cudaGraphExec_t e, cudaGraph_t graph, cudaGraphNode_t* node,
                                              cudaGraphExecUpdateResult* result) {
    cudaGraphExecUpdateResultInfo info;
    const cudaError_t error = tt_update_graph(e, graph, &info);
    if (node) *node = info.errorNode;
    return *result = info.result, error;
}

// ---- capture

static inline cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode, TT_SITE) {
    return tt_begin_capture(s, nullptr, nullptr, 0, mode, file, line);
}
static inline cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t s, cudaGraph_t graph,
                                                        const cudaGraphNode_t* after,
                                                        const cudaGraphEdgeData*, size_t n,
                                                        cudaStreamCaptureMode mode, TT_SITE) {
    return tt_begin_capture(s, graph, after, n, mode, file, line);
}
static inline cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus* status) {
    return tt_capture_info(s, status, nullptr, nullptr, nullptr, nullptr);
}
static inline cudaError_t cudaStreamGetCaptureInfo(cudaStream_t s, cudaStreamCaptureStatus* status,
                                                   unsigned long long* id = nullptr,
                                                   cudaGraph_t* graph = nullptr,
                                                   const cudaGraphNode_t** last = nullptr,
                                                   size_t* n = nullptr) {
    return tt_capture_info(s, status, id, graph, last, n);
}
static inline cudaError_t cudaStreamGetCaptureInfo(cudaStream_t s, cudaStreamCaptureStatus* status,
                                                   unsigned long long* id, cudaGraph_t* graph,
                                                   const cudaGraphNode_t** last, const cudaGraphEdgeData**,
                                                   size_t* n) {
    return tt_capture_info(s, status, id, graph, last, n);
}
static inline cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t s, cudaGraphNode_t* nodes,
                                                              size_t n, unsigned flags = 0) {
    return tt_set_capture_dependencies(s, nodes, n, flags == cudaStreamAddCaptureDependencies);
}
static inline cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t s, cudaGraphNode_t* nodes,
                                                              const cudaGraphEdgeData*, size_t n,
                                                              unsigned flags = 0) {
    return tt_set_capture_dependencies(s, nodes, n, flags == cudaStreamAddCaptureDependencies);
}
