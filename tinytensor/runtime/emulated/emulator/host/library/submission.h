// Work on a stream: done at once, or recorded while the stream captures.
#pragma once
#include <functional>
#include <set>
#include <vector>

#include "reports.h"

using Work = std::function<cudaError_t()>;

struct CUstream_st {
    unsigned flags;
    int priority;
    bool capturing;
    std::vector<Work> recorded;
};
struct CUevent_st {
    double time;  // negative: not recorded
    bool timed;
};
struct CUgraph_st {
    std::vector<Work> works;
};
struct CUgraphExec_st {
    std::vector<Work> works;
};

namespace tt_program {

static auto& streams = *new std::set<cudaStream_t>;

static bool is_stream(cudaStream_t s) {
    return (size_t)s <= 2 || streams.count(s);  // 0, cudaStreamLegacy, cudaStreamPerThread
}

static cudaError_t submit(cudaStream_t stream, Work work) {
    if (!is_stream(stream)) return last_error = cudaErrorInvalidResourceHandle;
    if ((size_t)stream > 2 && stream->capturing) {
        stream->recorded.push_back(std::move(work));
        return cudaSuccess;
    }
    const cudaError_t error = work();
    if (error) last_error = error;
    return error;
}

}  // namespace tt_program
