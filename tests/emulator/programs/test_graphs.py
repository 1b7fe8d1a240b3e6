"""Graphs by capture, launches by kernels, by address, and of other files."""

import re

from tests.helpers.programs import needs_compiler, place, ran

pytestmark = needs_compiler

PROGRAM = r"""
#include <thread>
#include <cstdio>
__global__ void add(int* p, int v);
template <class T> __global__ void scale(T* p, T v) { p[threadIdx.x] *= v; }
struct Pair { int a, b; };
__global__ void put(int* p, Pair q) { p[0] = q.a, p[1] = q.b; }
// A full tree: each thread adds 1 and launches two more, `depth` times.
__global__ void tree(int* p, int depth) {
    atomicAdd(p, 1);
    if (depth == 0) return;
    cudaStream_t s;
    cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking);
    tree<<<1, 2, 0, s>>>(p, depth - 1);
    cudaStreamDestroy(s);
}
static int *d, r[4];
static void show(const char* what) {
    cudaMemcpy(r, d, sizeof r, cudaMemcpyDeviceToHost);
    printf("%s: %d %d %d %d\n", what, r[0], r[1], r[2], r[3]);
}
static void captured_over_two_streams() {
    cudaStream_t s, t;
    cudaEvent_t fork, join;
    cudaGraph_t g;
    cudaGraphExec_t x;
    size_t nodes;
    cudaStreamCreate(&s), cudaStreamCreate(&t), cudaEventCreate(&fork), cudaEventCreate(&join);
    cudaMemset(d, 0, sizeof r);
    cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal);
    cudaEventRecord(fork, s), cudaStreamWaitEvent(t, fork);
    add<<<1, 4, 0, t>>>(d, 5);
    cudaEventRecord(join, t), cudaStreamWaitEvent(s, join);
    scale<<<1, 4, 0, s>>>(d, 2);
    cudaStreamEndCapture(s, &g);
    cudaGraphGetNodes(g, nullptr, &nodes);
    show("captured");
    cudaGraphInstantiate(&x, g);
    cudaGraphLaunch(x, s), cudaGraphLaunch(x, s);
    printf("%zu ", nodes), show("launched twice");
}
#define SAY(CALL) (printf("%s ", cudaGetErrorName(CALL)))
#define CAPTURE(...)                                           \
    cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal);    \
    __VA_ARGS__;                                               \
    cudaGetLastError();                                        \
    SAY((add<<<1, 1, 0, s>>>(d, 1), cudaGetLastError()));      \
    SAY(cudaStreamEndCapture(s, &g)), puts(g ? "" : "null");
static void forbidden_in_a_capture() {
    cudaStream_t s, t, free;
    cudaEvent_t e, before;
    cudaGraph_t g;
    cudaStreamCreate(&s), cudaStreamCreate(&t), cudaStreamCreateWithFlags(&free, cudaStreamNonBlocking);
    cudaEventCreate(&e), cudaEventCreate(&before), cudaEventRecord(before, t);
    void* p;
    CAPTURE(SAY(cudaMalloc(&p, 8)))
    CAPTURE(SAY(cudaFree(d)))
    CAPTURE(SAY(cudaMallocAsync(&p, 8, s)))
    CAPTURE(SAY(cudaDeviceSynchronize()))
    CAPTURE(SAY(cudaStreamSynchronize(s)))
    CAPTURE(SAY(cudaStreamQuery(s)))
    CAPTURE(SAY(cudaStreamSynchronize(0)))
    CAPTURE(SAY(cudaMemcpy(r, d, sizeof r, cudaMemcpyDeviceToHost)))
    CAPTURE(SAY((add<<<1, 1>>>(d, 1), cudaGetLastError())))
    CAPTURE(cudaEventRecord(e, s), SAY(cudaEventQuery(e)))
    CAPTURE(SAY(cudaStreamWaitEvent(s, before)))
    CAPTURE(SAY(cudaMemsetAsync(d, 0, 4, t)), SAY(cudaStreamQuery(t)), SAY(cudaStreamEndCapture(t, &g)))
    CAPTURE(cudaEventRecord(e, s), SAY(cudaStreamWaitEvent(t, e)), add<<<1, 1, 0, t>>>(d, 1))
    SAY(cudaEventSynchronize(e));
    puts("");
    CAPTURE(std::thread([&] { SAY(cudaStreamEndCapture(s, &g)); }).join())
    CAPTURE(cudaEventRecord(e, s), cudaStreamWaitEvent(t, e), SAY(cudaStreamEndCapture(t, &g)),
            cudaEventRecord(e, t), cudaStreamWaitEvent(s, e))
    cudaStreamBeginCapture(t, cudaStreamCaptureModeGlobal);
    CAPTURE(cudaEventRecord(e, s), SAY(cudaStreamWaitEvent(t, e)), SAY(cudaStreamEndCapture(t, &g)))
    cudaStreamBeginCapture(free, cudaStreamCaptureModeRelaxed);
    SAY(cudaMemcpy(r, d, sizeof r, cudaMemcpyDeviceToHost));
    SAY(cudaMalloc(&p, 8)), SAY(cudaFree(p));
    std::thread([&] { SAY(cudaStreamEndCapture(free, &g)); }).join();
    puts("");
}
static void events_that_are_not_there() {
    cudaEvent_t e, never = nullptr;
    cudaEventCreate(&e);
    cudaEventDestroy(e);
    puts(cudaGetErrorName(cudaEventDestroy(e)));
    puts(cudaGetErrorName(cudaEventRecord(e, 0)));
    puts(cudaGetErrorName(cudaStreamWaitEvent(0, e, 0)));
    puts(cudaGetErrorName(cudaEventSynchronize(never)));
    puts(cudaGetErrorName(cudaEventQuery(never)));
    float time;
    puts(cudaGetErrorName(cudaEventElapsedTime(&time, e, never)));
}
int main(int argc, char** words) {
    if (argc > 1 && *words[1] == 'e') return events_that_are_not_there(), 0;
    cudaMalloc(&d, sizeof r);
    if (argc > 1) return forbidden_in_a_capture(), 0;
    captured_over_two_streams();
    cudaMemset(d, 0, sizeof r);
    tree<<<1, 1>>>(d, 3);
    show("tree");
    int v = 100;
    void *arguments[] = {&d, &v}, *kernel = (void*)add;
    cudaLaunchKernel(kernel, dim3(1), dim3(2), arguments);
    show("by address");
    puts(cudaGetErrorName(cudaLaunchKernel((const void*)&v, dim3(1), dim3(2), arguments)));
    cudaFree(d);
}
"""
OTHER_FILE = "__global__ void add(int* p, int v) { p[threadIdx.x] += v; }\n"


def test_graphs_and_launches_by_kernels():
    run = ran(PROGRAM, check=True, more=OTHER_FILE)
    assert run.output.splitlines() == [
        "captured: 0 0 0 0",
        "2 launched twice: 30 30 30 30",  # ((0 + 5) * 2 + 5) * 2
        "tree: 15 0 0 0",  # 1 + 2 + 4 + 8
        "by address: 115 100 0 0",
        "cudaErrorInvalidDeviceFunction",
    ]
    assert [finding.kind for finding in run.report.findings] == ["CUDA error"]


def test_calls_that_a_capture_forbids():
    """The errors are those of the CUDA programming guide and of the runtime API's list of errors."""
    run = ran(PROGRAM, "forbidden", check=True, more=OTHER_FILE)
    said = run.output.replace("cudaError", "").replace("cuda", "")
    broken = "StreamCaptureInvalidated StreamCaptureInvalidated null"
    assert [line.strip() for line in said.splitlines()] == [
        f"StreamCaptureUnsupported {broken}",  # cudaMalloc
        f"StreamCaptureUnsupported {broken}",  # cudaFree
        f"StreamCaptureUnsupported {broken}",  # cudaMallocAsync: graphs have no memory here
        f"StreamCaptureUnsupported {broken}",  # cudaDeviceSynchronize
        f"StreamCaptureUnsupported {broken}",  # cudaStreamSynchronize of the stream
        f"StreamCaptureUnsupported {broken}",  # cudaStreamQuery of it
        f"StreamCaptureImplicit {broken}",  # cudaStreamSynchronize of the default stream
        f"StreamCaptureImplicit {broken}",  # cudaMemcpy
        f"StreamCaptureImplicit {broken}",  # a launch on the default stream
        f"CapturedEvent {broken}",
        f"StreamCaptureIsolation {broken}",
        "Success Success IllegalState Success Success",  # another stream goes on
        "Success Success StreamCaptureUnjoined null",
        "CapturedEvent",
        "StreamCaptureWrongThread Success Success",  # the capture goes on, as nothing says that it is lost
        "StreamCaptureUnmatched Success Success",
        f"StreamCaptureMerge StreamCaptureInvalidated {broken}",
        "Success Success Success Success",  # relaxed: another thread may end it
    ]
    assert place(PROGRAM, "CAPTURE(SAY(cudaMalloc") in {f.place for f in run.report.findings}


def test_events_that_are_not_there():
    run = ran(PROGRAM, "events", check=True, more=OTHER_FILE)
    assert (run.code, run.output.split()) == (0, ["cudaErrorInvalidResourceHandle"] * 6)
    wrong = [
        i
        for i, text in enumerate(PROGRAM.splitlines(), 1)
        if re.search(r"puts.*\((e|never|0, e|&time)\b", text)
    ]
    assert [f.place for f in run.report.findings] == [f"program.cu:{i}" for i in wrong]
