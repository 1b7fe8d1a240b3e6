"""Graphs node by node and by capture, launches by kernels, by address, and of other files."""

from pathlib import Path

import pytest

from tests.helpers.programs import needs_compiler, ran

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
static void node_by_node() {
    int h[4] = {1, 2, 3, 4}, v = 10;
    cudaGraph_t g;
    cudaGraphNode_t a, b, c, e;
    cudaGraphExec_t x;
    cudaGraphCreate(&g, 0);
    cudaGraphAddMemcpyNode1D(&a, g, nullptr, 0, d, h, sizeof h, cudaMemcpyHostToDevice);
    void* arguments[] = {&d, &v};
    cudaKernelNodeParams k = {0};
    k.gridDim = dim3(1), k.blockDim = dim3(4), k.kernelParams = arguments;
    k.func = (void*)scale<int>;
    cudaGraphAddKernelNode(&c, g, &a, 1, &k);
    k.func = (void*)add;
    cudaGraphAddKernelNode(&b, g, &a, 1, &k);
    cudaGraphAddDependencies(g, &b, &c, 1);  // the sum is before the product, though it was added later
    cudaMemsetParams m = {&d[3], 0, 7, 4, 1, 1};
    cudaGraphAddMemsetNode(&e, g, &c, 1, &m);
    cudaGraphInstantiate(&x, g, NULL, NULL, 0);
    v = 1;  // too late
    cudaGraphLaunch(x, 0);
    show("nodes");
    cudaGraphExecKernelNodeSetParams(x, b, &k);
    cudaGraphLaunch(x, 0);
    show("changed");
    cudaGraphAddDependencies(g, &e, &a, 1);
    puts(cudaGetErrorName(cudaGraphInstantiate(&x, g, NULL, NULL, 0)));
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
static void child() {
    cudaGraph_t g, inner;
    cudaGraphNode_t node;
    cudaGraphExec_t x;
    int v = 7;
    void* arguments[] = {&d, &v};
    cudaGraphCreate(&g, 0), cudaGraphCreate(&inner, 0);
    cudaGraphNodeParams k = {cudaGraphNodeTypeKernel}, c = {cudaGraphNodeTypeGraph};
    k.kernel.func = (void*)add, k.kernel.kernelParams = arguments;
    k.kernel.gridDim = k.kernel.blockDim = dim3(1);
    cudaGraphAddNode(&node, inner, NULL, NULL, 0, &k);
    c.graph.graph = inner;
    cudaGraphAddNode(&node, g, NULL, NULL, 0, &c);
    cudaGraphInstantiate(&x, g);
    cudaGraphDestroy(inner), cudaGraphDestroy(g);  // which were copied
    put<<<1, 1>>>(d, {3, 0});
    cudaGraphLaunch(x, 0);
    show("child");
    cudaGraphExecDestroy(x);
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
    cudaStreamCaptureStatus status;
    cudaStreamCreate(&s), cudaStreamCreate(&t), cudaStreamCreateWithFlags(&free, cudaStreamNonBlocking);
    cudaEventCreate(&e), cudaEventCreate(&before), cudaEventRecord(before, t);
    void* p;
    CAPTURE(SAY(cudaMalloc(&p, 8)))
    CAPTURE(SAY(cudaFree(d)))
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
    cudaStreamIsCapturing(free, &status);
    std::thread([&] { SAY(cudaStreamEndCapture(free, &g)); }).join();
    puts(status == cudaStreamCaptureStatusActive ? "active" : "");
}
int main(int argc, char**) {
    cudaMalloc(&d, sizeof r);
    if (argc > 1) return forbidden_in_a_capture(), 0;
    node_by_node();
    captured_over_two_streams();
    child();
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
VECTORS = r"""
#include <cstdio>
#include <cublas_v2.h>

__global__ void put(float* p, float a, float b) { p[0] = a, p[1] = b; }
int main() {  // x = d x, d = x·x; x = (1, 2) and d = 2 at first
    cublasHandle_t h;
    cublasCreate(&h);
    float *x, *d, host;
    cudaMallocManaged(&x, 2 * sizeof *x), cudaMallocManaged(&d, 2 * sizeof *d);
    put<<<1, 1>>>(x, 1, 2), put<<<1, 1>>>(d, 2, 0);
    cudaStream_t stream;
    cudaStreamCreate(&stream), cublasSetStream(h, stream);
    cublasSetPointerMode(h, CUBLAS_POINTER_MODE_DEVICE);
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
    cublasSscal(h, 2, d, x, 1);
    cublasSdot(h, 2, x, 1, x, 1, d);
    printf("%d ", cublasSdot(h, 2, x, 1, x, 1, &host) == CUBLAS_STATUS_SUCCESS);
    cudaGraph_t graph;
    cudaGraphExec_t replay;
    cudaStreamEndCapture(stream, &graph), cudaGraphInstantiate(&replay, graph);
    cudaDeviceSynchronize();
    printf("%g %g ", x[0], x[1]);
    cudaGraphLaunch(replay, stream), cudaGraphLaunch(replay, stream);
    cudaDeviceSynchronize();
    printf("%g %g %g\n", x[0], x[1], d[0]);
}
"""
OTHER_FILE = "__global__ void add(int* p, int v) { p[threadIdx.x] += v; }\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


def test_graphs_and_launches_by_kernels(folder: Path) -> None:
    run = ran(PROGRAM, folder, check=True, more=OTHER_FILE)
    assert run.output.splitlines() == [
        "nodes: 110 120 130 7",  # (1 + 10) * 10 …; the last one is set to 7 afterwards
        "changed: 20 30 40 7",  # (1 + 1) * 10 …
        "cudaErrorInvalidValue",  # a cycle
        "captured: 0 0 0 0",
        "2 launched twice: 30 30 30 30",  # ((0 + 5) * 2 + 5) * 2
        "child: 10 0 30 30",
        "tree: 15 0 0 0",  # 1 + 2 + 4 + 8
        "by address: 115 100 0 0",
        "cudaErrorInvalidDeviceFunction",
    ]
    assert [finding.kind for finding in run.report.findings] == ["CUDA error"] * 2


def test_calls_that_a_capture_forbids(folder: Path) -> None:
    """The errors are those of the CUDA programming guide and of the runtime API's list of errors."""
    run = ran(PROGRAM, folder, "forbidden", check=True, more=OTHER_FILE)
    said = run.output.replace("cudaError", "").replace("cuda", "")
    broken = "StreamCaptureInvalidated StreamCaptureInvalidated null"
    assert [line.strip() for line in said.splitlines()] == [
        f"StreamCaptureUnsupported {broken}",  # cudaMalloc
        f"StreamCaptureUnsupported {broken}",  # cudaFree
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
        "Success Success Success Success active",  # relaxed: another thread may end it
    ]
    lines = {f.place for f in run.report.findings}
    calls = [i for i, text in enumerate(PROGRAM.splitlines(), 1) if "CAPTURE(SAY(cudaMalloc" in text]
    assert f"program.cu:{calls[0]}" in lines


def test_vectors_of_cublas_are_captured(tmp_path: Path) -> None:
    # A number for the host cannot be captured; x is 2 (1, 2), then 20 (2, 4), and d = x·x.
    assert ran(VECTORS, tmp_path).output.split() == ["0", "1", "2", "40", "80", "8000"]
