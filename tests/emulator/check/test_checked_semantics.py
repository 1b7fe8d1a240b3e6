"""What the device checked sees beyond plain accesses: structs by value, variables of the device, inactive
lanes, waits that never end, harmless races, and which accesses of a warp are one request.
"""

import re
from collections.abc import Iterator

import pytest

import tinytensor as tt
from tinytensor.cuda import CheckReport
from tinytensor.emulator.run.kernels import EMULATOR
from tinytensor.errors import KernelError
from tinytensor.runtime import runtime_of

WARP = 32


def check(source: str, grid: int, block: int, *args: object, name: str | None = None) -> CheckReport:
    """Launch a kernel under a check."""
    with tt.cuda.check() as report:
        tt.cuda.kernel(source, name)[grid, block](*args)
    return report


def kinds(report: CheckReport) -> set[str]:
    return {finding.kind for finding in report.findings}


def zeros(n: int, dtype: tt.DType = tt.float32) -> tt.Tensor:
    return tt.zeros(n, dtype=dtype, device="emulated")


# ---- structs and variables ---------------------------------------------------------------------------------

BY_VALUE = """
struct P { float v; int i; };
__device__ __noinline__ P larger(P a, P b) { return a.v > b.v ? a : b; }
__global__ void k(float* y, const float* x) {
    __shared__ P s[64];
    const int t = threadIdx.x;
    s[t] = P{x[t], t};
    BARRIER
    P p = larger(s[t], s[63 - t]);
    p = larger(p, s[(t + 1) % 64]);
    y[t] = p.v;
}"""


@pytest.mark.parametrize("inline", ["__noinline__", ""])
def test_structs_passed_by_value_are_seen(inline: str) -> None:
    source = BY_VALUE.replace("__noinline__", inline)
    x = tt.arange(64, dtype=tt.float32, device="emulated")
    assert kinds(check(source.replace("BARRIER", ""), 1, 64, zeros(64), x)) >= {"shared race"}
    assert not check(source.replace("BARRIER", "__syncthreads();"), 1, 64, zeros(64), x).findings


def test_a_struct_out_of_bounds_passed_by_value_is_seen() -> None:
    source = """
    __device__ __noinline__ float sum(float4 v) { return v.x + v.y + v.z + v.w; }
    __global__ void k(float* y, const float4* x) { y[threadIdx.x] = sum(x[threadIdx.x]); }"""
    x = zeros(4 * 63)
    assert kinds(check(source, 1, 64, zeros(64), tt.cuda.pointer(x))) == {"out of bounds"}


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


def test_variables_of_the_device_are_watched() -> None:
    source = "__device__ int c; __global__ void k(int* y) { c++; y[0] = 0; }"
    report = check(source, 2, 64, zeros(1, tt.int32))
    assert "global race" in kinds(report)
    assert any("`c`" in finding.text for finding in report.findings)


def test_arrays_of_the_device_are_bounded_and_watched() -> None:
    source = """
    __device__ float table[64];
    __global__ void k(float* y, int last) {
        const float* t = table;
        if (blockIdx.x == 0) table[threadIdx.x] = 1;
        else y[threadIdx.x] = t[threadIdx.x + last];
    }"""
    report = check(source, 2, 64, zeros(64), 0)
    assert kinds(report) == {"global race"}


def test_variables_of_the_device_with_one_writer_are_silent() -> None:
    source = """
    __device__ float table[64], two = 2;
    __global__ void fill(float* y) { table[threadIdx.x] = two; }"""
    fill = tt.cuda.kernel(source)
    with tt.cuda.check() as report:
        fill[1, 64](zeros(64))
        fill[1, 64](zeros(64))
    assert not report.findings, str(report)


@pytest.mark.parametrize(
    ("first", "found"), [("atomicExch", set()), ("atomicAdd", {"uninitialized shared read"})]
)
def test_an_exchange_initializes(first: str, found: set[str]) -> None:
    source = f"""
    __global__ void k(int* y) {{
        __shared__ int count;
        {first}(&count, 5);
        __syncthreads();
        y[threadIdx.x] = atomicAdd(&count, 1);
    }}"""
    y = zeros(4, tt.int32)
    report = check(source, 1, 4, y)
    assert kinds(report) == found
    if not found:
        assert sorted(y.tolist()) == [5, 6, 7, 8]


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


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("if (t < 16) v = __shfl_down_sync(0xffffu, v, 8);", "takes no part"),
        ("if (t >= 16) return; v = __shfl_sync(0xffffffffu, v, 20);", "has passed it by, or exited"),
    ],
)
def test_reads_of_inactive_lanes_are_found(body: str, words: str) -> None:
    source = f"__global__ void k(float* y) {{ int t = threadIdx.x; float v = t; {body} y[t] = v; }}"
    report = check(source, 1, WARP, zeros(WARP))
    assert kinds(report) == {"inactive lane"}
    assert words in report.findings[0].text


def test_lanes_that_the_block_lacks_are_found() -> None:
    source = "__global__ void k(float* y) { y[threadIdx.x] = __shfl_down_sync(0xffffffffu, 1.0f, 16); }"
    report = check(source, 1, 20, zeros(20))
    assert kinds(report) == {"inactive lane"}
    assert "the block does not have" in report.findings[0].text


@pytest.mark.parametrize(
    ("mask", "use"),
    [
        ("__ballot_sync(~0u, t < n)", "if (lane + k < 32 && m >> (lane + k) & 1) v += other;"),
        ("__ballot_sync(~0u, t < n)", "v += lane + k < 32 && m >> (lane + k) & 1 ? other : 0;"),
        ("__activemask()", "if (t + k < n) v += other;"),
    ],
)
@pytest.mark.parametrize("kind", ["float", "int"])
@pytest.mark.parametrize("threads", [32, 20])
def test_a_value_of_an_inactive_lane_that_nothing_uses_is_no_defect(
    mask: str, use: str, kind: str, threads: int
) -> None:
    n = 20
    source = f"""
    __global__ void k({kind}* y, int n) {{
        const int t = threadIdx.x, lane = t % 32;
        {"if (t >= n) return;" if "active" in mask else ""}
        const unsigned m = {mask};
        if (t >= n) return;
        {kind} v = 1 << t;
        for (int k = 16; k > 0; k /= 2) {{
            const {kind} other = __shfl_down_sync(m, v, k);
            {use}
        }}
        y[t] = v;
    }}"""
    y = zeros(n, tt.float32 if kind == "float" else tt.int32)
    report = check(source, 1, threads, y, n)
    assert not report.findings, str(report)
    assert {warning.kind for warning in report.warnings} == {"value of an inactive lane"}
    assert y.tolist()[0] == 2**n - 1


@pytest.mark.parametrize("kind", ["float", "double"])
def test_a_value_of_an_inactive_lane_that_is_passed_on_is_a_defect(kind: str) -> None:
    source = f"""
    __global__ void k({kind}* y, int n) {{
        const int t = threadIdx.x;
        const unsigned m = __ballot_sync(~0u, t < n);
        if (t >= n) return;
        {kind} v = 1;
        for (int k = 16; k > 0; k /= 2) v = v + __shfl_down_sync(m, v, k);
        if (t == 0) y[0] = v;  // of lane 18, which lane 2 has read
    }}"""
    report = check(source, 1, WARP, zeros(1, tt.float32 if kind == "float" else tt.float64), 18)
    assert kinds(report) == {"inactive lane"}
    assert "reads lane" in report.findings[0].text


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


# ---- harmless races ----------------------------------------------------------------------------------------


def test_a_race_of_equal_values_is_a_warning() -> None:
    source = "__global__ void k(float* y, float v) { y[0] = threadIdx.x < 40 ? 1.0f : v; }"
    report = check(source, 2, 64, zeros(1), 1.0)
    assert not report.findings, str(report)
    assert {finding.kind for finding in report.warnings} == {"same-value race"}
    assert kinds(check(source, 2, 64, zeros(1), 2.0)) == {"global race"}


@pytest.mark.parametrize("block", [0, 4, 9])
def test_the_same_thread_of_later_blocks_races(block: int) -> None:
    """Thread 3 of each block from `block` on writes; the first four blocks are counted, too."""
    source = """
    __global__ void k(float* y, int block) {
        if (blockIdx.x >= block && threadIdx.x == 3) y[0] = blockIdx.x;
    }"""
    (finding,) = check(source, 12, 32, zeros(1), block).findings
    assert (finding.kind, finding.count) == ("global race", 11 - block)
    assert f"block ({block + 1}, 0, 0), thread (3, 0, 0)" in finding.text


def test_reads_before_loops_of_exchanges_are_warnings() -> None:
    source = """
    __global__ void extremes(int* both, const int* x) {
        const int value = x[blockIdx.x * blockDim.x + threadIdx.x];
        int most = both[0], least = both[1], expected;
        do {
            expected = most;
            most = atomicCAS(both, expected, max(value, expected));
        } while (most != expected);
        do {
            expected = least;
            least = atomicCAS(both + 1, expected, min(value, expected));
        } while (least != expected);
    }"""
    both, x = zeros(2, tt.int32), tt.arange(128, dtype=tt.int32, device="emulated") - 5
    report = check(source, 2, 64, both, x)
    assert both.tolist() == [122, -5]
    assert not report.findings, str(report)
    assert {finding.kind for finding in report.warnings} == {"read before an atomic operation"}


def test_a_plain_read_of_a_counter_is_a_race() -> None:
    source = """
    __global__ void k(int* y, int* n) {
        if (threadIdx.x < 32) atomicAdd(n, 1);
        else y[threadIdx.x] = *n;
    }"""
    assert kinds(check(source, 1, 64, zeros(64, tt.int32), zeros(1, tt.int32))) == {"global race"}


# ---- requests of a warp ------------------------------------------------------------------------------------


def requests(report: CheckReport, line: int) -> list[tuple[int, float]]:
    """Requests and active lanes of the loads in a line."""
    found = [c for c in report.lines if c.way == "load" and re.search(rf":{line}\b", c.place)]
    return [(c.requests, c.active_lanes) for c in found]


def test_a_divergent_loop_makes_a_request_for_each_lane() -> None:
    source = """
    __global__ void k(float* y, const float* x) {
        const int t = threadIdx.x;
        float v = 0;
        for (int j = 0; j < 32; j++)
            if (j == t)
                v += x[t];
        y[t] = v;
    }"""
    x = zeros(WARP)
    assert requests(check(source, 1, WARP, zeros(WARP), x), 7) == [(32, 1.0)]


def test_a_long_body_of_a_divergent_loop_is_not_shared() -> None:
    source = """
    __global__ void k(float* y, const float* x) {
        const int t = threadIdx.x;
        float v = 0;
        for (int j = 0; j < 32; j++)
            if (j % 16 == t % 16) {
                for (int i = 0; i < 3; i++)
                    v += x[(t + i) % 32];
                if (v > 100.0f) v = 0;
            }
        y[t] = v;
    }"""
    assert requests(check(source, 1, WARP, zeros(WARP), zeros(WARP)), 8) == [(32 * 3, 2.0)]


@pytest.mark.parametrize("noinline", ["__noinline__", ""])
def test_a_function_called_on_both_sides_of_a_branch_is_executed_twice(noinline: str) -> None:
    source = f"""
    __device__ {noinline} float get(const float* x, int i) {{
        return x[i];
    }}
    __global__ void k(float* y, const float* x) {{
        const int t = threadIdx.x;
        if (t < 16) y[t] = get(x, t) + 1;
        else y[t] = get(x, t) * 3;
    }}"""
    assert requests(check(source, 1, WARP, zeros(WARP), zeros(WARP)), 3) == [(2, 16.0)]


def test_lanes_that_leave_a_loop_early() -> None:
    source = """
    __global__ void k(float* y, const float* x) {
        const int t = threadIdx.x;
        float v = 0;
        for (int j = 0; j < t; j++)
            v += x[j];
        y[t] = v;
    }"""
    report = check(source, 1, WARP, zeros(WARP), zeros(WARP))
    assert requests(report, 6) == [(31, 16.0)]
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
    declared = re.findall(r"TT_API [^;{(]*?(tt_emu_\w+)\(", (EMULATOR / "core.h").read_text())
    renamed = re.findall(r"#define (tt_emu_\w+) ", (EMULATOR / "checked_names.h").read_text())
    assert len(declared) > 20
    assert set(declared) <= set(renamed)


# ---- barriers of the grid ----------------------------------------------------------------------------------

GRID = """
#include <cooperative_groups.h>
#include <cuda/barrier>
__global__ void k(int* y, int* parts) {
    __shared__ cuda::barrier<cuda::thread_scope_block> met;
    __shared__ int own[32], other[32];
    extern __shared__ int more[];
    const auto all = cooperative_groups::this_grid();
    const int t = threadIdx.x, rank = all.thread_rank();
    if (t == 0) init(&met, 32);
    __syncthreads();
    own[t] = rank;
    met.arrive_and_wait();
    more[t] = own[31 - t];
    parts[rank] = 1;
    BARRIER
    int sum = 100 * own[31 - t] + more[t];
    for (int i = 0; i < all.size(); i++) sum += parts[i];
    all.sync();
    LAST
    y[rank] = sum;
}"""


def check_grid(barrier: str = "all.sync();", last: str = "") -> tuple[list[int], set[str]]:
    y, parts = zeros(96, tt.int32), zeros(96, tt.int32)
    with tt.cuda.check() as report:
        tt.cuda.kernel(GRID.replace("BARRIER", barrier).replace("LAST", last))[3, 32, 128](y, parts)
    assert report.kernels[0].counted == 3
    return y.tolist(), kinds(report)


def test_what_blocks_wrote_before_a_barrier_of_the_grid_is_theirs_to_read() -> None:
    # Each thread has 101 times the rank of its mirror image, and 96 ones; and gives it to that thread.
    last = "other[31 - t] = sum; met.arrive_and_wait(); sum = other[t];"
    assert check_grid(last=last) == ([101 * rank + 96 for rank in range(96)], set())


@pytest.mark.parametrize(
    ("barrier", "last", "kind"),
    [
        ("__syncthreads();", "", "global race"),
        ("all.sync();", "parts[t] = sum;", "global race"),
        ("all.sync();", "sum += other[t];", "uninitialized shared read"),
        ("all.sync();", "own[0] = t; sum += own[t];", "shared race"),
    ],
)
def test_defects_around_a_barrier_of_the_grid(barrier: str, last: str, kind: str) -> None:
    assert kind in check_grid(barrier, last)[1]
