"""Whole CUDA programs: compiled, run, and checked. Each program is compiled once and shows many things."""

import json
from pathlib import Path

import pytest

from tests.helpers.programs import needs_compiler, place, placed, ran
from tinytensor.__main__ import main
from tinytensor.commands.run import _options, _tell
from tinytensor.emulator.check.findings import Finding
from tinytensor.emulator.programs import build
from tinytensor.emulator.programs.build import build_program
from tinytensor.errors import KernelError

pytestmark = needs_compiler

LANGUAGE = r"""
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <vector>
#include "cublas_v2.h"

namespace a {
template <class T, int N = 4>
__global__ void fill(T* p, T v) { p[blockIdx.x * N + threadIdx.x] = v; }
}
__constant__ float scale[2] = {1, 2};
__device__ int counter;
extern __shared__ float all[];
__global__ void turn(float* y) {
    all[threadIdx.x] = scale[1] * threadIdx.x;
    __syncthreads();
    y[threadIdx.x] = all[31 - threadIdx.x];
    if (threadIdx.x == 0) atomicAdd(&counter, 1);
}
template <class T>
__global__ void sum(T* y, const T* x, int n) {
    static __shared__ T s[64];
    const int i = blockIdx.x * 64 + threadIdx.x;
    s[threadIdx.x] = i < n ? x[i] : T(0);
    __syncthreads();
    for (int d = 32; d; d /= 2) {
        if (threadIdx.x < d) s[threadIdx.x] += s[threadIdx.x + d];
        __syncthreads();
    }
    if (threadIdx.x == 0) atomicAdd(y, s[0]);
}
// With the name of a parameter and variable of others; pointers and numbers can be 0.
__global__ void p(int* y, int n, const char* text) { y[n] = text ? 1 : 2; }
template <class T> __global__ void put(T* y, T x) { *y = x; }
template <class F> __global__ void each(F f, int* p) { p[threadIdx.x] = f(threadIdx.x); }
#define LAUNCH(K, ...) do { K<<<1, 32, 128>>>(__VA_ARGS__); } while (0)

int main(int argc, char** argv) {
    float *d, h[32];
    cudaMalloc(&d, sizeof h);
    a::fill<float>
        <<<dim3(8),
           4>>>(d, 3);
    cudaMemcpy(h, d, sizeof h, cudaMemcpyDeviceToHost);
    printf("%g %g\n", h[0], h[31]);
    const float three[2] = {3, 5};
    cudaMemcpyToSymbol(scale, three, sizeof three);
    LAUNCH(turn, d);
    void (*pointer)(float*) = turn;
    pointer<<<1, 32, 128>>>(d);
    void* arguments[] = {&d};
    cudaLaunchKernel((void*)turn, dim3(1), dim3(32), arguments, 128, 0);
    int count;
    cudaMemcpy(h, d, sizeof h, cudaMemcpyDeviceToHost);
    cudaMemcpyFromSymbol(&count, counter, sizeof count);
    printf("%g %g %d\n", h[0], h[31], count);

    const int n = 1 << 16;
    std::vector<int> ones(n, 1);
    int *x, *total;
    cudaMalloc(&x, n * sizeof(int));
    cudaMallocManaged(&total, 128);
    cudaMemcpy(x, ones.data(), n * sizeof(int), cudaMemcpyDefault);
    *total = 0;
    sum<<<n / 64, 64>>>(total, x, n);  // the argument of the template is deduced
    cudaDeviceSynchronize();
    printf("%d\n", *total);
    const int factor = 7;
    each<<<1, 32>>>([=] __device__(int t) { return t * factor; }, total);
    printf("%d\n", total[3]);
    p<<<1, 1>>>(total, 0, 0);
    put<<<1, 1>>>(total + 1, 0);
    printf("%d %d\n", total[0], total[1]);

    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t replay;
    cudaStreamCreate(&stream);
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
    sum<<<1, 64, 0, stream>>>(total + 1, x, 64);
    cudaStreamEndCapture(stream, &graph);
    cudaGraphInstantiate(&replay, graph);
    total[1] = 0;
    for (int i = 0; i < 3; i++) cudaGraphLaunch(replay, stream);
    printf("%d\n", total[1]);

    cublasHandle_t handle;
    cublasCreate(&handle);
    const float a[6] = {1, 2, 3, 4, 5, 6}, b[6] = {1, 0, 2, 1, 1, 1}, one = 1, half = 0.5f;
    float *da, *db, *dc, c[4] = {2, 2, 2, 2};  // c = aᵀ b + c / 2, column-major, of shape (2, 2)
    cudaMalloc(&da, sizeof a), cudaMalloc(&db, sizeof b), cudaMalloc(&dc, sizeof c);
    cublasSetMatrix(3, 2, 4, a, 3, da, 3), cublasSetMatrix(3, 2, 4, b, 3, db, 3);
    cublasSetMatrix(2, 2, 4, c, 2, dc, 2);
    cublasSgemm(handle, CUBLAS_OP_T, CUBLAS_OP_N, 2, 2, 3, &one, da, 3, db, 3, &half, dc, 2);
    cublasGetMatrix(2, 2, 4, dc, 2, c, 2);
    printf("%g %g %g %g\n", c[0], c[1], c[2], c[3]);

    try { throw std::runtime_error("host code has exceptions"); }
    catch (const std::exception& e) { puts(e.what()); }
    turn<<<1, 2048>>>(d);
    puts(cudaGetErrorName(cudaGetLastError()));
    puts(cudaGetErrorName(cudaMemcpy(d, h, sizeof h + 4, cudaMemcpyHostToDevice)));
    puts(cudaGetErrorName(cudaFree(h)));
    puts(cudaGetErrorName(cudaPeekAtLastError()));
    switch (argc > 1 ? argv[1][0] : 0) {
        case 'r': return printf("%g\n", d[0]);  // reads
        case 'p': return printf("%s\n", (char*)d);  // prints
        case 'f': free(d);  // frees
    }
    a::fill<float><<<1, 4>>>(d + 1000, 1);
    puts(cudaGetErrorName(cudaDeviceSynchronize()));
    puts(cudaGetErrorName(cudaMalloc(&d, 4)));
    return 3;
}
"""

DEFECTS = r"""
#include <cooperative_groups.h>
__shared__ int of_file[32];
__global__ void right(int* y) {  // blocks that wait for each other
    __shared__ int own[32];
    own[threadIdx.x] = of_file[threadIdx.x] = y[blockIdx.x] = blockIdx.x;
    for (int i = 0; threadIdx.x == 0 && i < 20; i++) {
        int* p;
        cudaMalloc(&p, 40);
        p[9] = y[blockIdx.x];
        if (i % 2) cudaFree(p);
    }
    cooperative_groups::this_grid().sync();
    if (own[31 - threadIdx.x] != blockIdx.x || of_file[31 - threadIdx.x] != blockIdx.x ||
        y[3 - blockIdx.x] != 3 - blockIdx.x) __trap();
}
__global__ void race(int* y) {
    __shared__ int s[64];
    s[threadIdx.x] = threadIdx.x;
    y[threadIdx.x] = s[63 - threadIdx.x];
}
__global__ void same(int* y) {
    y[0] = 7;
}
__global__ void past(float* y, const float* x, int n) {
    if (threadIdx.x <= n) y[threadIdx.x] = x[threadIdx.x];
}
__global__ void behind_dynamic() {
    extern __shared__ float d[];
    d[threadIdx.x + 1] = 1;
}
__global__ void behind_static(int n) {
    __shared__ float s[32];
    s[threadIdx.x + n] = 1;
}
int main() {
    int* y;
    float *p, *q;
    cudaMalloc(&y, 64 * sizeof(int));
    void* arguments[] = {&y};
    cudaLaunchCooperativeKernel(right, dim3(4), dim3(32), arguments);
    race<<<1, 64>>>(y);
    same<<<1, 64>>>(y);
    cudaMalloc(&p, 5 * sizeof(float));
    cudaMalloc(&q, 6 * sizeof(float));
    cudaSetDevice(1);
    cudaStream_t stream;
    cudaStreamCreate(&stream);
    cudaStreamDestroy(stream);
    same<<<1, 32, 0, stream>>>(y);
    cudaMemset(q, 0, 5 * sizeof(float));
    past<<<1, 32>>>(p, q, 5);
    cudaFree(y);
    cudaDeviceReset();
    behind_dynamic<<<1, 32, 128>>>();
    cudaDeviceReset();
    behind_static<<<1, 32>>>(1);
}
"""


def test_a_program_of_many_features():
    run = ran(LANGUAGE)
    assert run.output.splitlines() == [
        "3 3",
        "155 0 3",
        "65536",
        "21",
        "2 0",
        "192",
        "8 17 7 16",
        "host code has exceptions",
        "cudaErrorInvalidConfiguration",
        "cudaErrorInvalidValue",
        "cudaErrorInvalidValue",
        "cudaErrorInvalidValue",
        "cudaErrorIllegalAddress",
        "cudaErrorIllegalAddress",
    ]
    assert run.code == 3
    kinds = [finding.kind for finding in run.report.findings]
    assert kinds == ["launch failed", "out of bounds"]
    assert run.report.findings[0].place == place(LANGUAGE, "turn<<<1, 2048>>>(d);")
    assert run.report.findings[1].place == place(LANGUAGE, "void fill")
    assert ["launched at" in finding.text for finding in run.report.findings] == [False, True]


@pytest.mark.parametrize("how", ["reads", "prints", "frees"])
def test_host_code_that_uses_memory_of_the_device_is_told_where(how):
    run = ran(LANGUAGE, how)
    (finding,) = [f for f in run.report.findings if f.kind == "host access"]
    assert (run.code, finding.place) == (139, place(LANGUAGE, f"// {how}"))
    assert "cudaMalloc at program.cu:" in finding.text
    assert ("cudaFree" in finding.text) == (how == "frees")


def test_check_finds_what_a_run_does_not_show():
    run = ran(DEFECTS, check=True)
    found = [(f.kind, f.place) for f in run.report.findings]
    for kind, line in (
        ("shared race", "y[threadIdx.x] = s[63 - threadIdx.x];"),
        ("CUDA error", "cudaSetDevice(1);"),
        ("CUDA error", "same<<<1, 32, 0, stream>>>(y);"),
        ("uninitialized global read", "if (threadIdx.x <= n) y[threadIdx.x] = x[threadIdx.x];"),
        ("out of bounds", "if (threadIdx.x <= n) y[threadIdx.x] = x[threadIdx.x];"),
    ):
        assert (kind, place(DEFECTS, line)) in found
    assert any("byte 20 of `y`" in f.text for f in run.report.findings)
    texts = [f.text for f in run.report.findings if f.kernel.startswith("behind")]
    assert "byte 128 of `d`, dynamic shared memory, of which the launch asked for 128 bytes" in texts[0]
    assert "index 32 of `s`, an array of type 'float [32]'" in texts[1].replace("float[32]", "float [32]")
    kernels = ["right", "race", "same", "past", "behind_dynamic", "behind_static"]
    assert [count.kernel for count in run.report.kernels] == kernels
    assert run.report.kernels[1].written_bytes == 64 * 4
    assert not any(f.kernel == "right" for f in run.report.findings)
    assert [(f.kind, f.kernel) for f in run.report.warnings] == [
        ("same-value race", k) for k in ("right", "same")
    ]


STAGED = """
#include <cstdio>
template <int N> __global__ void staged(long long* y) {
    __shared__ long long s[N], t[4];
    s[threadIdx.x] = t[0] = clock64();
    __syncthreads();
    y[threadIdx.x] = s[31 - threadIdx.x];
}
__global__ void plain(long long* y) { y[threadIdx.x] = clock64(); }
"""
ALIKE = (
    STAGED
    + r"""
#include <cstdlib>
#include <thread>
#include <vector>
void tell(const void* kernel, int blocks) {
    cudaFuncAttributes a;
    cudaFuncGetAttributes(&a, kernel);
    printf("%zu %d\n", a.sharedSizeBytes, blocks);
}
void resources() {
    int blocks;
    cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, staged<5120>, 32, 16384);
    tell((const void*)staged<5120>, blocks);
    cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, plain, 64, 0);
    tell((const void*)plain, blocks);
}
__global__ void add(int* p, int v) { p[threadIdx.x] += v; }
void threads() {
    std::vector<std::thread> threads;
    int wrong[4] = {};
    for (int t = 0; t < 4; t++)
        threads.emplace_back([&, t] {
            int *p, h[32];
            cudaMalloc(&p, sizeof h), cudaMemset(p, 0, sizeof h);
            for (int i = 0; i < 200; i++) add<<<1, 32>>>(p, t + 1);
            cudaMemcpy(h, p, sizeof h, cudaMemcpyDeviceToHost);
            for (int x : h) wrong[t] += x != 200 * (t + 1);
            cudaFree(p);
        });
    for (auto& thread : threads) thread.join();
    printf("%d\n", wrong[0] + wrong[1] + wrong[2] + wrong[3]);
}
__device__ void* kept;  // so that no compiler can do without the memory
__global__ void use_up(int* p) {
    char* last = nullptr;
    for (; char* block = (char*)malloc(1 << 20); last = block, p[0]++) *(char**)block = last;
    while (char* block = last) last = *(char**)block, free(block);
    kept = malloc(7 << 20);
    p[1] = kept != nullptr;
    free(kept);
    kept = malloc(1 << 24);
    p[2] = kept != nullptr;
}
void heap(bool larger) {
    int *p, h[3];
    cudaMalloc(&p, sizeof h), cudaMemset(p, 0, sizeof h);
    if (larger) printf("%d ", cudaDeviceSetLimit(cudaLimitMallocHeapSize, 32 << 20));
    use_up<<<1, 1>>>(p);
    cudaMemcpy(h, p, sizeof h, cudaMemcpyDeviceToHost);
    printf("%d %d %d ", h[0], h[1], h[2]);
    printf("%d ", cudaDeviceSetLimit(cudaLimitMallocHeapSize, 64 << 20));  // too late
    cudaFree(p);
}
__global__ void plane(float* to, cudaTextureObject_t t) {
    const float x[] = {0.25f, 0.5f, 0.5f, 1.25f, -0.25f}, y[] = {0.25f, 0.25f, 0.5f, 0.75f, 0.25f};
    to[threadIdx.x] = tex2D<float>(t, x[threadIdx.x], y[threadIdx.x]);
}
cudaTextureObject_t object(size_t width, size_t height) {
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    std::vector<float> values(width * height);
    for (size_t i = 0; i < values.size(); i++) values[i] = i;
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeArray;
    if (cudaMallocArray(&resource.res.array.array, &format, width, height)) return 0;
    cudaMemcpy2DToArray(resource.res.array.array, 0, 0, values.data(), width * 4, width * 4, height,
                        cudaMemcpyHostToDevice);
    cudaTextureDesc how = {};
    how.normalizedCoords = 1, how.filterMode = cudaFilterModeLinear;
    how.addressMode[0] = cudaAddressModeWrap, how.addressMode[1] = cudaAddressModeClamp;
    cudaTextureObject_t made = 0;
    cudaCreateTextureObject(&made, &resource, &how, nullptr);
    return made;
}
void plane_of_textures() {
    float* y;
    cudaMallocManaged(&y, 5 * sizeof *y);
    plane<<<1, 5>>>(y, object(2, 2));
    cudaDeviceSynchronize();
    for (int i = 0; i < 5; i++) printf("%g ", y[i]);
}
// Each line stores a struct, which the compiler could let the function write, unwatched.
__global__ void read(float4* y, cudaTextureObject_t t, int which) {
    const int i = threadIdx.x;
    if (which == 0) y[i] = tex1Dfetch<float4>(t, i);
    if (which == 1) y[i] = tex1D<float4>(t, i);
    if (which == 2) y[i] = tex2D<float4>(t, i, 0);
}
__global__ void sum(float* total, const float4* y) {
    for (int i = 0; i < 8; i++) *total += y[i].x + y[i].w;
}
void structs_of_textures(int which, int n) {
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<float4>();
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeArray;
    cudaMallocArray(&resource.res.array.array, &format, 8, 1);
    const float4 ones[8] = {{1, 1, 1, 1}};
    cudaMemcpyToArray(resource.res.array.array, 0, 0, ones, sizeof ones, cudaMemcpyHostToDevice);
    cudaTextureDesc how = {};
    cudaTextureObject_t t;
    cudaCreateTextureObject(&t, &resource, &how, nullptr);
    float4* y;
    float* total;
    cudaMalloc(&y, n * sizeof *y), cudaMalloc(&total, 4), cudaMemset(total, 0, 4);
    read<<<1, 8>>>(y, t, which), sum<<<1, 1>>>(total, y);
    cudaFree(y), cudaFree(total), cudaFreeArray(resource.res.array.array);
}
int main(int count, char** arguments) {
    switch (arguments[1][0]) {
        case 'r': resources(); break;
        case 't': threads(); break;
        case 'h': heap(count > 2); break;
        case 'p': plane_of_textures(); break;
        case 's': structs_of_textures(atoi(arguments[2]), atoi(arguments[3]));
    }
}
"""
)
MORE = STAGED.replace("staged", "other").replace("plain", "more")
with_and_without = pytest.mark.parametrize("check", [False, True])


@with_and_without
def test_attributes_and_occupancy_count_static_shared_memory(check):
    """5,120 + 4 numbers of 8 bytes; with 16 KiB more and 1 KiB of the system, three fit into 228 KiB."""
    assert ran(ALIKE, "resources", check=check, more=MORE).output.splitlines() == ["40992 3", "0 32"]


@with_and_without
def test_host_threads_launch_one_kernel(check):
    run = ran(ALIKE, "threads", check=check, more=MORE)
    assert (run.output, run.code, run.report.findings) == ("0\n", 0, [])
    assert run.report.launches == (800 if check else 0)


@with_and_without
def test_the_heap_of_kernels_has_a_limit(check):
    default, larger = 8 << 20, 32 << 20
    for size, arguments in ((default, []), (larger, ["larger"])):
        run = ran(ALIKE, "heap", *arguments, check=check, more=MORE)
        *set_first, blocks, whole, array, set_late = map(int, run.output.split())
        assert set_first == [0] * len(arguments)
        assert size // (1 << 20) - 1 <= blocks <= size // (1 << 20)  # each may need some bytes more
        assert (whole, array) == (1, size > 1 << 24)
        assert set_late == 1  # cudaErrorInvalidValue
        if check:
            (finding,) = run.report.findings
            assert "a kernel has called malloc" in finding.text


@with_and_without
def test_a_plane_is_read_between_its_elements(check):
    """Elements 0 1 / 2 3 with centers at 0.25 and 0.75; along x it wraps, along y it does not."""
    assert ran(ALIKE, "plane", check=check, more=MORE).output.split() == ["0", "0.5", "1.5", "2", "1"]


def test_structs_of_textures_are_stored_under_a_check():
    for which in range(3):
        assert not ran(ALIKE, "structs", str(which), "8", check=True, more=MORE).report.findings
        finding = ran(ALIKE, "structs", str(which), "7", check=True, more=MORE).report.findings[0]
        assert (finding.kind, finding.place) == ("out of bounds", place(ALIKE, f"which == {which}"))
        assert "16-byte write at byte 112" in finding.text


def test_static_shared_memory_above_48_kib_is_refused():
    with pytest.raises(KernelError, match="kernel staged: 49,160 bytes of static shared memory"):
        ran(STAGED + "int main() { staged<6141><<<1, 1>>>(nullptr); }")


def test_an_error_of_the_api_is_not_told_as_a_kernel(capsys):
    _tell(Finding("CUDA error", "cudaFree", "a.cu:7", "", "cudaFree returned cudaErrorInvalidValue"))
    said = "tinytensor: CUDA error at a.cu:7: cudaFree returned cudaErrorInvalidValue\n"
    assert capsys.readouterr().err == said


def test_the_example_of_the_documentation(capfd):
    page = (Path(__file__).parents[3] / "docs" / "cuda_programs.md").read_text(encoding="utf-8")
    source = placed(page.partition("```cpp\n")[2].partition("```")[0])
    assert main(["run", str(source), "--json"]) == 0
    fields = json.loads(capfd.readouterr().out)
    assert (fields["command"], fields["exit_code"], fields["output"]) == ("run", 0, "3 3\n")
    assert fields["report"]["findings"] == []


def test_source_files_that_are_missing_or_wrong(tmp_path, capsys):
    assert main(["run", str(tmp_path / "none.cu")]) == 2
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "wrong.cu").write_text("int main() {\n  return missing;\n}\n")
    assert main(["run", str(tmp_path / "wrong.cu")]) == 2
    assert "wrong.cu:2" in capsys.readouterr().err
    (tmp_path / "wrong.cu").write_text("int main() {\n  missing<<<1, 1>>>();\n}\n")
    assert main(["run", str(tmp_path / "wrong.cu")]) == 2
    said = capsys.readouterr().err
    assert "wrong.cu:2" in said
    assert "program_launch.h" not in said
    assert main(["run", "-lineinfo", str(tmp_path / "wrong.cu")]) == 2
    assert "-lineinfo is an option of nvcc" in capsys.readouterr().err
    assert main(["run", "--counts", str(tmp_path / "wrong.cu")]) == 2
    assert "add --check" in capsys.readouterr().err


ECHO = r"""
#include <cstdio>
__global__ void past(int* y) { y[threadIdx.x] = 1; }
int main(int argc, char** argv) {
    int* y;
    cudaMalloc(&y, 128);
    past<<<1, 33>>>(y);
    for (int i = 1; i < argc; i++) printf("%s ", argv[i]);
    cudaFree(y);
}
"""


def test_a_source_is_compiled_once(tmp_path, monkeypatch):
    source = placed(ECHO)
    build_program([source], tmp_path)
    commands = []
    run = build._run
    monkeypatch.setattr(
        build, "_run", lambda command, *rest: (commands.append(command), run(command, *rest))[1]
    )
    build_program([source], tmp_path)
    assert [command[-1] for command in commands if "-c" in command] == []
    assert len(commands) == 2  # the preprocessor, and the linker


def test_a_check_with_arguments_behind_two_dashes(capfd):
    assert main(["run", str(placed(ECHO)), "--check", "--json", "--", "a", "--json"]) == 1
    said = json.loads(capfd.readouterr().out)
    assert (said["checked"], said["output"]) == (True, "a --json ")
    assert [finding["kind"] for finding in said["report"]["findings"]] == ["out of bounds"]


@pytest.mark.parametrize(
    ("words", "own", "given"),
    [
        ("--check --", (True, False), ""),
        ("2 --json -- --check --", (False, True), "2 --check --"),
        ("--json --check a --html b", (True, True), "a --html b"),
        ("-- --html b", (False, False), "--html b"),
    ],
)
def test_options_in_front_of_two_dashes_are_those_of_the_command(words, own, given):
    options, _, arguments = _options([str(placed(ECHO)), *words.split()])
    assert ((options.check, options.json), arguments) == (own, given.split())


@pytest.mark.parametrize("option", ["--html", "--html=x.html", "--launch"])
def test_an_option_of_another_command_is_not_handed_to_the_program(option, tmp_path, capsys):
    (tmp_path / "a.cu").write_text("int main() {}")
    assert main(["run", str(tmp_path / "a.cu"), "--check", option, "x.html", "--", "--json"]) == 2
    said = capsys.readouterr()
    assert (said.out, f"a.cu -- {option}" in said.err) == ("", True)
