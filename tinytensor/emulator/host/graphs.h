// Graphs by capture of streams.
#pragma once

#define TT_HOST extern "C" __attribute__((visibility("default")))
TT_HOST cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode, TT_SITE);
TT_HOST cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t*, TT_SITE);
TT_HOST cudaError_t cudaGraphGetNodes(cudaGraph_t, cudaGraphNode_t*, size_t* n);
TT_HOST cudaError_t cudaGraphDestroy(cudaGraph_t);
TT_HOST cudaError_t tt_instantiate(cudaGraphExec_t*, cudaGraph_t);
TT_HOST cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t, TT_SITE);
TT_HOST cudaError_t cudaGraphExecDestroy(cudaGraphExec_t);
#undef TT_HOST
static inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* e, cudaGraph_t g, unsigned long long = 0) {
    return tt_instantiate(e, g);
}
static inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* e, cudaGraph_t g, cudaGraphNode_t*, char*,
                                               size_t) {
    return tt_instantiate(e, g);
}
