"""What the device checked does besides: variables of the device, waits that never end, which accesses of a
warp are one request, outputs that no thread wrote, other orders of threads.
"""

import re
from collections.abc import Iterator

import pytest

import tinytensor as tt
from tests.emulator.check.test_findings import check, kinds, zeros
from tinytensor.cuda import CheckReport
from tinytensor.emulator.run.kernels import EMULATOR
from tinytensor.errors import KernelError
from tinytensor.runtime import runtime_of

WARP = 32


def test_structs_that_a_function_returns_are_seen_where_they_are_stored() -> None:
    source = """
    struct P { float v; int i; };
    __device__ __noinline__ P pair(float v) { P p = {v, 1}; return p; }
    __global__ void k(P* p, __half* h, __half2* h2, float v) {
        const int t = threadIdx.x;
        p[t] = pair(v);
        h[t] = __float2half(v);
        h[t + 32] = __shfl_sync(~0u, h[t], 0);
        h2[t] = __floats2half2_rn(v, v);
        h2[t + 32] = make_half2(h[t], h[t]);
    }"""
    p, h, h2 = [
        tt.empty(n, dtype=d, device="emulated")
        for n, d in ((64, tt.float32), (64, tt.float16), (128, tt.float16))
    ]
    report = check(source, 1, 32, tt.cuda.pointer(p), h, tt.cuda.pointer(h2), 1.5)
    stores = [line for line in report.lines if line.way == "store"]
    assert [line.lanes for line in stores] == [32] * 5
    assert not report.findings


def test_variables_of_the_device_with_one_writer_are_silent() -> None:
    source = """
    __device__ float table[64], two = 2;
    __global__ void fill(float* y) { table[threadIdx.x] = two; }"""
    fill = tt.cuda.kernel(source)
    with tt.cuda.check() as report:
        fill[1, 64](zeros(64))
        fill[1, 64](zeros(64))
    assert not report.findings, str(report)


def test_static_variables_of_functions_are_of_the_device() -> None:
    source = """
    __device__ int next() {
        static int drawn, step = 2;
        return atomicAdd(&drawn, step);
    }
    __global__ void count(int* y) { y[blockIdx.x * blockDim.x + threadIdx.x] = next(); }
    __global__ void race(int* y) {
        static int last[1 << 14];  // more than shared memory has
        last[threadIdx.x % 2] = threadIdx.x;
        y[threadIdx.x] = last[0];
    }"""
    y = zeros(256, tt.int32)
    for launch in range(2):  # they keep their values
        report = check(source, 64, 4, y, name="count")
        assert not report.findings, str(report)
        assert sorted(y.tolist()) == [2 * i for i in range(256 * launch, 256 * (launch + 1))]
    finding = check(source, 1, 4, y, name="race").findings[0]
    assert finding.kind == "global race"
    assert "`last` + 0 bytes" in finding.text
    for _ in range(2):  # the second launch could use several workers
        tt.cuda.kernel(source.replace("next", "following"), "count")[64, 4](y)
    assert sorted(y.tolist()) == [2 * i for i in range(256, 512)]


# ---- lanes -------------------------------------------------------------------------------------------------


def test_an_uninitialized_variable_has_no_plausible_value() -> None:
    source = """
    __global__ void k(float* y, const float* x) {
        float sum;
        for (int i = 0; i < 8; i++) sum += x[i];
        y[threadIdx.x] = sum;
    }"""
    y = tt.empty(4, device="checked")
    tt.cuda.kernel(source)[1, 4](y, tt.ones(8, device="checked"))
    assert all(abs(value) > 1e30 for value in y.tolist())


# ---- waits -------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient() -> Iterator[None]:
    cores = [runtime_of(tt.Device(device)).core for device in ("emulated", "checked")]
    for core in cores:
        core.set_patience(0.1)
    yield
    for core in cores:
        core.set_patience(10.0)


@pytest.mark.usefixtures("impatient")
def test_a_wait_for_a_later_block_is_found() -> None:
    source = """
    __global__ void k(float* y, int* flag) {
        volatile int* f = flag;
        if (blockIdx.x == 0)
            while (*f == 0) {}
        else
            *f = 1;
    }"""
    report = check(source, 2, 1, zeros(1), zeros(1, tt.int32))
    assert kinds(report) == {"endless wait"}
    assert report.findings[0].place.endswith(":5")
    assert "block (0, 0, 0), thread (0, 0, 0)" in report.findings[0].text


@pytest.mark.parametrize("blocks", [0, 4])
def test_threads_that_ended_before_one_waits_run_once(blocks: int) -> None:
    source = """
    __global__ void k(int* runs, int* flag) {
        const int t = threadIdx.x;
        volatile int* f = flag + t / 64;
        atomicAdd(runs + t, 1);
        if (t == 60 || t == 127) while (*f < (t == 60 ? 1 : 2)) {}
        if (t == 63) *f = 1;
        if (t == 20 || t == 90) atomicExch(flag + 1, 2);
    }"""
    runs, flag = zeros(128, tt.int32), zeros(2, tt.int32)
    with tt.cuda.check(blocks=blocks) as report:
        tt.cuda.kernel(source)[1, 128](runs, flag)
    assert kinds(report) == set()
    assert set(runs.tolist()) == {1}


@pytest.mark.usefixtures("impatient")
def test_threads_that_ended_do_not_run_again_for_an_endless_wait() -> None:
    source = """
    __global__ void k(int* runs, int* flag) {
        runs[threadIdx.x] += 1;
        volatile int* f = flag;
        if (threadIdx.x == 63) while (*f == 0) {}  // all others have ended
    }"""
    runs, flag = zeros(64, tt.int32), zeros(1, tt.int32)
    with tt.cuda.check(blocks=0) as report:
        tt.cuda.kernel(source)[1, 64](runs, flag)
    assert kinds(report) == {"endless wait"}
    assert set(runs.tolist()) == {1}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("device", ["emulated", "checked"])
def test_an_endless_atomic_wait_says_where(device: str) -> None:
    source = """
    __global__ void k(int* flag) {
        while (atomicAdd(flag, 0) == 0) {}
    }"""
    with pytest.raises(KernelError, match=r"endless wait.*:3"):
        tt.cuda.kernel(source)[1, 64](tt.zeros(1, dtype=tt.int32, device=device))


def test_a_producer_and_a_consumer_of_one_block_finish_without_checks() -> None:
    source = """
    __global__ void k(float* y, int* flag) {
        if (threadIdx.x == 0) {
            while (atomicAdd(flag, 0) == 0) {}
            y[0] = y[1];
        } else if (threadIdx.x == 63) {
            y[1] = 7;
            __threadfence_block();
            atomicExch(flag, 1);
        }
    }"""
    y = zeros(2)
    tt.cuda.kernel(source)[1, 64](y, zeros(1, tt.int32))
    assert y.tolist() == [7.0, 7.0]


# ---- requests of a warp ------------------------------------------------------------------------------------


def requests(report: CheckReport, line: int) -> list[tuple[int, float]]:
    """Requests and active lanes of the loads in a line."""
    found = [c for c in report.lines if c.way == "load" and re.search(rf":{line}\b", c.place)]
    return [(c.requests, c.active_lanes) for c in found]


KERNEL = """{}
    __global__ void k(float* y, const float* x) {{
        const int t = threadIdx.x;
        float v = 0;
        {}
        y[t] = v;
    }}"""
GET = "__device__ {} float get(const float* x, int i) {{ return\n x[i]; }}"
CALLS = "if (t < 16) v = get(x, t) + 1; else v = get(x, t) * 3;"


@pytest.mark.parametrize(
    ("before", "body", "line", "expected"),
    [
        ("", "for (int j = 0; j < 32; j++) if (j == t)\nv += x[t];", 6, [(32, 1.0)]),
        (
            "",  # a long body of a divergent loop is not shared
            "for (int j = 0; j < 32; j++)\nif (j % 16 == t % 16) {\nfor (int i = 0; i < 3; i++)\n"
            "v += x[(t + i) % 32];\nif (v > 100.0f) v = 0; }",
            *(8, [(32 * 3, 2.0)]),
        ),
        (GET.format("__noinline__"), CALLS, 2, [(2, 16.0)]),  # a function on both sides of a branch
        (GET.format(""), CALLS, 2, [(2, 16.0)]),
        ("", "for (int j = 0; j < t; j++)\nv += x[j];", 6, [(31, 16.0)]),  # lanes leave it early
    ],
)
def test_requests_of_a_warp(before: str, body: str, line: int, expected: list[tuple[int, float]]) -> None:
    report = check(KERNEL.format(before, body), 1, WARP, zeros(WARP), zeros(WARP))
    assert requests(report, line) == expected
    assert [(c.requests, c.lanes) for c in report.lines if c.way == "store"] == [(1, 32)]


def test_arrays_in_constant_and_device_memory_are_counted() -> None:
    source = """
    __constant__ float c[32] = {1, 2, 3};
    __device__ float d[32];
    __global__ void k(float* y) {
        const int t = threadIdx.x;
        y[t] = c[t];
        d[t] = 1;
    }"""
    report = check(source, 1, WARP, zeros(WARP))
    assert {(c.space, c.way, c.requests) for c in report.lines} >= {
        ("constant", "load", 1),
        ("global", "store", 1),
    }
    assert sum(c.sectors for c in report.lines if c.space == "global") == 8


def test_arrays_in_local_memory_are_counted() -> None:
    source = """
    __device__ __noinline__ void fill(int* a, int n) { for (int i = 0; i < n; i++) a[i] = i; }
    __global__ void k(int* y, int n) {
        int a[16];
        fill(a, n);
        y[threadIdx.x] = a[n - 1];
    }"""
    local = [c for c in check(source, 1, WARP, zeros(WARP, tt.int32), 16).lines if c.space == "local"]
    assert local
    assert all(c.sectors_per_request == 4.0 for c in local)


# ---- outputs and sizes -------------------------------------------------------------------------------------

ONES = """
__global__ void ones(float* y, const float* x, int n) {
    const int i = blockIdx.x * 64 + threadIdx.x;
    if (i < n) y[i] = 1;
}"""


def test_an_output_that_no_thread_wrote_is_found_when_the_host_reads_it() -> None:
    x = zeros(1)
    with tt.cuda.check() as report:
        y = tt.empty(100, device="emulated")
        tt.cuda.kernel(ONES)[1, 64](y, x, 100)
        y.tolist()
    assert kinds(report) == {"unwritten output"}
    assert "`y`, of which no thread has written byte 256" in report.findings[0].text
    with tt.cuda.check() as report:
        y = tt.empty(100, device="emulated")
        tt.cuda.kernel(ONES)[2, 64](y, x, 100)
        y.tolist()
    assert not report.findings, str(report)


def test_an_unwritten_output_is_an_error_on_checked() -> None:
    y, x = tt.empty(100, device="checked"), tt.empty(100, device="checked")
    tt.cuda.kernel(ONES)[1, 64](y, x, 100)
    with pytest.raises(KernelError, match="unwritten output"):
        y.tolist()
    x.tolist()  # no kernel was to write it


@pytest.mark.parametrize("device", ["emulated", "checked"])
def test_static_shared_memory_above_48_kib_is_refused(device: str) -> None:
    source = """
    template <int N> __global__ void large(float* y) {
        __shared__ float s[N], t[N];
        s[threadIdx.x] = t[threadIdx.x] = 1;
        __syncthreads();
        y[threadIdx.x] = s[threadIdx.x] + t[threadIdx.x];
    }"""
    y = tt.empty(4, device=device)
    tt.cuda.kernel(source, "large", 6144)[1, 4](y)
    with pytest.raises(KernelError, match="49,160 bytes of static shared memory"):
        tt.cuda.kernel(source, "large", 6145)[1, 4](y)


# ---- schedules ---------------------------------------------------------------------------------------------


def explored(source: str, block: int, *args: object) -> CheckReport:
    with tt.cuda.check(schedules=20) as report:
        tt.cuda.kernel(source)[1, block](*args)
    return report


def test_a_result_that_depends_on_the_order_is_reduced_to_few_switches() -> None:
    """Without a barrier thread 5 may read before thread 4 has written."""
    source = """
    __global__ void k(float* y, const float* x) {
        __shared__ float s[64];
        s[threadIdx.x] = x[threadIdx.x];
        y[threadIdx.x] = threadIdx.x > 0 ? s[threadIdx.x - 1] : 0.0f;
    }"""
    y, x = zeros(64), tt.ones(64, device="emulated")
    (schedule,) = explored(source, 64, y, x).schedules
    assert len(schedule.switches) == 1
    (switch,) = schedule.switches
    assert switch.to[0] > switch.thread[0]
    assert schedule.result.startswith("y[")
    assert y.tolist() == [0.0, *[1.0] * 63], "the memory is that of the default schedule"


def test_a_lost_update_takes_two_threads_at_the_same_line() -> None:
    source = """
    __global__ void k(int* y) {
        y[0] =
            y[0] + 1;
    }"""
    y = zeros(1, tt.int32)
    report = explored(source, 32, y)
    assert y.item() == 32
    (schedule,) = report.schedules
    assert len(schedule.switches) == 1
    assert "y[0] is" in str(schedule)
    assert "instead of 32" in str(schedule)
    assert re.search(r"at k_\w+\.cu:[34] thread \(\d+, 0, 0\) runs before thread", str(report))


def test_kernels_with_barriers_depend_on_no_order() -> None:
    source = """
    __global__ void k(float* y, const float* x) {
        __shared__ float s[64];
        const int t = threadIdx.x;
        s[t] = x[t];
        __syncthreads();
        for (int d = 32; d > 0; d /= 2) {
            if (t < d) s[t] += s[t + d];
            __syncthreads();
        }
        atomicAdd(y, s[0]);
    }"""
    y = zeros(1)
    report = explored(source, 64, y, tt.ones(64, device="emulated"))
    assert not report.schedules
    assert not report.findings
    assert y.item() == 64 * 64


def test_lanes_that_part_behind_a_vote_in_a_loop_meet_again() -> None:
    """After the vote the lanes with an odd number store, and all load in the next turn: 8 requests each."""
    k = tt.cuda.kernel("""
    __global__ void k(int* y, const int* x) {
        for (int i = 0; i < 8; i++) {
            const int v = x[i * 32 + threadIdx.x];
            const unsigned odd = __ballot_sync(0xffffffffu, v & 1);
            if (v & 1) y[i * 32 + threadIdx.x] = __popc(odd);
        }
    }""")
    x, y = tt.arange(256, dtype=tt.int32, device="emulated"), tt.zeros(256, dtype=tt.int32, device="emulated")
    with tt.cuda.check() as report:
        k[1, 32](y, x)
    assert {(line.way, line.requests, line.active_lanes) for line in report.lines} == {
        ("load", 8, 32.0),
        ("store", 8, 16.0),
    }


# ---- the two cores -----------------------------------------------------------------------------------------


def test_no_function_of_the_fast_core_is_called_by_checked_kernels() -> None:
    declared = re.findall(r"TT_API [^;{(]*?(tt_emu_\w+)\(", (EMULATOR / "run" / "core.h").read_text())
    renamed = re.findall(r"#define (tt_emu_\w+) ", (EMULATOR / "check" / "checked_names.h").read_text())
    assert len(declared) > 20
    assert set(declared) <= set(renamed)
