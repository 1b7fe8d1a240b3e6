"""What the device checked does besides: variables of the device, waits that never end, outputs that no thread
wrote, undefined numbers, other orders of threads, captured graphs; and the launch of a finding.
"""

import re
import sys
from pathlib import Path

import pytest

import tinytensor as tt
from tests.emulator.check.test_findings import kinds, zeros
from tests.helpers import op_functions as ops
from tests.helpers.emulated import compile_together, of_texts
from tinytensor.emulator.run.kernels import EMULATOR
from tinytensor.errors import KernelError
from tinytensor.runtime import runtime_of

COUNT = """
    __device__ int next() {
        static int drawn, step = 2;
        return atomicAdd(&drawn, step);
    }
    __global__ void count(int* y) { y[blockIdx.x * blockDim.x + threadIdx.x] = next(); }"""
TEXTS = {
    "structs": """
    struct P { float v; int i; };
    __device__ __noinline__ P pair(float v) { P p = {v, 1}; return p; }
    __global__ void k(P* p, __half* h, __half2* h2, float v) {
        const int t = threadIdx.x;
        p[t] = pair(v);
        h[t] = __float2half(v);
        h[t + 32] = __shfl_sync(~0u, h[t], 0);
        h2[t] = __floats2half2_rn(v, v);
        h2[t + 32] = make_half2(h[t], h[t]);
    }""",
    "one writer": """
    __device__ float table[64], two = 2;
    __global__ void fill(float* y) { table[threadIdx.x] = two; }""",
    "static": COUNT,
    "static, not checked": COUNT,
    "static race": """
    __global__ void race(int* y) {
        static int last[1 << 14];  // more than shared memory has
        last[threadIdx.x % 2] = threadIdx.x;
        y[threadIdx.x] = last[0];
    }""",
    "unset": """
    __global__ void k(float* y, const float* x) {
        float sum;
        for (int i = 0; i < 8; i++) sum += x[i];
        y[threadIdx.x] = sum;
    }""",
    "later block": """
    __global__ void k(float* y, int* flag) {
        volatile int* f = flag;
        if (blockIdx.x == 0)
            while (*f == 0) {}
        else
            *f = 1;
    }""",
    "ended before": """
    __global__ void k(int* runs, int* flag) {
        const int t = threadIdx.x;
        volatile int* f = flag + t / 64;
        atomicAdd(runs + t, 1);
        if (t == 60 || t == 127) while (*f < (t == 60 ? 1 : 2)) {}
        if (t == 63) *f = 1;
        if (t == 20 || t == 90) atomicExch(flag + 1, 2);
    }""",
    "all others ended": """
    __global__ void k(int* runs, int* flag) {
        runs[threadIdx.x] += 1;
        volatile int* f = flag;
        if (threadIdx.x == 63) while (*f == 0) {}
    }""",
    "atomic wait": """
    __global__ void k(int* flag) {
        while (atomicAdd(flag, 0) == 0) {}
    }""",
    "producer and consumer": """
    __global__ void k(float* y, int* flag) {
        if (threadIdx.x == 0) {
            while (atomicAdd(flag, 0) == 0) {}
            y[0] = y[1];
        } else if (threadIdx.x == 63) {
            y[1] = 7;
            __threadfence_block();
            atomicExch(flag, 1);
        }
    }""",
    "ones": """
    __global__ void ones(float* y, const float* x, int n) {
        const int i = blockIdx.x * 64 + threadIdx.x;
        if (i < n) y[i] = 1;
    }""",
    "shifted": """
    __global__ void k(float* y, const float* x) {
        __shared__ float s[64];
        s[threadIdx.x] = x[threadIdx.x];
        y[threadIdx.x] = threadIdx.x > 0 ? s[threadIdx.x - 1] : 0.0f;
    }""",
    "lost update": """
    __global__ void k(int* y) {
        y[0] =
            y[0] + 1;
    }""",
    "tree": """
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
    }""",
    "numbers": """
    __global__ void numbers(long long* y, const float* x, const int* n) {
        switch (threadIdx.x) {
            case 0: y[0] = (int)x[0]; break;
            case 1: y[1] = (unsigned char)x[1]; break;
            case 2: y[2] = (int)x[2]; break;
            case 3: y[3] = 1 << n[0]; break;
            case 4: y[4] = 1ull >> n[1]; break;
            case 5: y[5] = (int)x[3]; break;
            case 6: y[6] = (int)(1u << (n[0] - 1)); break;
            case 7: y[7] = __float2int_rz(x[0]); break;
            case 8: y[8] = 1ll << n[0]; break;
            case 9: y[9] = __float2uint_rn(x[2]); break;
        }
    }""",
    "two barriers": """
    __global__ void k(int* y) {
        for (int i = 0; i < 2; i++) { __syncthreads(); y[threadIdx.x] = i; __syncthreads(); }
        if (threadIdx.x < y[40]) __syncthreads(); else __syncthreads();
    }""",
    "states": """
    struct State { unsigned d, v[5]; int flags[2]; float last; double more; };  // 4 bytes before the double
    __global__ void init(void* s, unsigned k) {
        State* mine = (State*)s + threadIdx.x;
        mine->d = k;
        for (int i = 0; i < 5; i++) mine->v[i] = i;
        mine->flags[0] = mine->flags[1] = 0, mine->last = 0, mine->more = 0;
    }
    __device__ inline unsigned next(State& s) {
        for (int i = 0; i < 4; i++) s.v[i] = s.v[i + 1];
        return s.v[0] += s.d;
    }
    __global__ void draw(double* y, void* s) {
        State own = ((State*)s)[threadIdx.x];
        for (int i = 0; i < 9; i++) y[threadIdx.x] = next(own);
    }""",
}


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    return of_texts(tmp_path_factory.mktemp("texts") / "texts.cu", TEXTS, "checked", "emulated")


def check(kernel, grid, block, *args, **options):
    with tt.cuda.check(**options) as report:
        kernel[grid, block](*args)
    return report


def test_structs_that_a_function_returns_are_seen_where_they_are_stored(kernels):
    p, h, h2 = [
        tt.empty(n, dtype=d, device="emulated")
        for n, d in ((64, tt.float32), (64, tt.float16), (128, tt.float16))
    ]
    report = check(kernels["structs"], 1, 32, tt.cuda.pointer(p), h, tt.cuda.pointer(h2), 1.5)
    stores = [line for line in report.lines if line.way == "store"]
    assert [line.lanes for line in stores] == [32] * 5
    assert not report.findings


def test_variables_of_the_device_with_one_writer_are_silent(kernels):
    fill = kernels["one writer"]
    with tt.cuda.check() as report:
        fill[1, 64](zeros(64))
        fill[1, 64](zeros(64))
    assert not report.findings, str(report)


def test_static_variables_of_functions_are_of_the_device(kernels):
    y = zeros(256, tt.int32)
    for launch in range(2):  # they keep their values
        report = check(kernels["static"], 64, 4, y)
        assert not report.findings, str(report)
        assert sorted(y.tolist()) == [2 * i for i in range(256 * launch, 256 * (launch + 1))]
    finding = check(kernels["static race"], 1, 4, y).findings[0]
    assert finding.kind == "global race"
    assert "`last` + 0 bytes" in finding.text
    for _ in range(2):  # the second launch could use several workers
        kernels["static, not checked"][64, 4](y)
    assert sorted(y.tolist()) == [2 * i for i in range(256, 512)]


def test_an_uninitialized_variable_has_no_plausible_value(kernels):
    y = tt.empty(4, device="checked")
    kernels["unset"][1, 4](y, tt.ones(8, device="checked"))
    assert all(abs(value) > 1e30 for value in y.tolist())


# ---- waits -------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient():
    cores = [runtime_of(tt.Device(device)).core for device in ("emulated", "checked")]
    for core in cores:
        core.set_patience(0.1)
    yield
    for core in cores:
        core.set_patience(10.0)


@pytest.mark.usefixtures("impatient")
def test_a_wait_for_a_later_block_is_found(kernels):
    report = check(kernels["later block"], 2, 1, zeros(1), zeros(1, tt.int32))
    assert kinds(report) == {"endless wait"}
    assert report.findings[0].place.endswith(":5")
    assert "block (0, 0, 0), thread (0, 0, 0)" in report.findings[0].text


@pytest.mark.parametrize("blocks", [0, 4])
def test_threads_that_ended_before_one_waits_run_once(kernels, blocks):
    runs = zeros(128, tt.int32)
    assert kinds(check(kernels["ended before"], 1, 128, runs, zeros(2, tt.int32), blocks=blocks)) == set()
    assert set(runs.tolist()) == {1}


@pytest.mark.usefixtures("impatient")
def test_threads_that_ended_do_not_run_again_for_an_endless_wait(kernels):
    runs = zeros(64, tt.int32)
    report = check(kernels["all others ended"], 1, 64, runs, zeros(1, tt.int32), blocks=0)
    assert kinds(report) == {"endless wait"}
    assert set(runs.tolist()) == {1}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("device", ["emulated", "checked"])
def test_an_endless_atomic_wait_says_where(kernels, device):
    with pytest.raises(KernelError, match=r"endless wait.*:3"):
        kernels["atomic wait"][1, 64](tt.zeros(1, dtype=tt.int32, device=device))


def test_a_producer_and_a_consumer_of_one_block_finish_without_checks(kernels):
    y = zeros(2)
    kernels["producer and consumer"][1, 64](y, zeros(1, tt.int32))
    assert y.tolist() == [7.0, 7.0]


# ---- outputs and sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("blocks", "found"), [(1, {"unwritten output"}), (2, set())])
def test_an_output_that_no_thread_wrote_is_found_when_the_host_reads_it(kernels, blocks, found):
    with tt.cuda.check() as report:
        y = tt.empty(100, device="emulated")
        kernels["ones"][blocks, 64](y, zeros(1), 100)
        y.tolist()
    assert kinds(report) == found, str(report)
    for finding in report.findings:
        assert "`y`, of which no thread has written byte 256" in finding.text


def test_an_unwritten_output_is_an_error_on_checked(kernels):
    y, x = tt.empty(100, device="checked"), tt.empty(100, device="checked")
    kernels["ones"][1, 64](y, x, 100)
    with pytest.raises(KernelError, match="unwritten output"):
        y.tolist()
    x.tolist()  # no kernel was to write it


@pytest.mark.parametrize("device", ["emulated", "checked"])
def test_static_shared_memory_above_48_kib_is_refused(device):
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


@pytest.mark.parametrize(("states", "found"), [(32, set()), (31, {"uninitialized global read"})])
def test_padding_of_structs_is_not_written(kernels, states, found):
    y = zeros(32, tt.float64)
    with tt.cuda.check() as report:
        room = tt.empty(32 * 48, dtype=tt.uint8, device="emulated")
        kernels["states.init"][1, states](room, 7)
        kernels["states.draw"][1, 32](y, room)
    assert kinds(report) == found, str(report)


# ---- schedules ---------------------------------------------------------------------------------------------


def test_a_result_that_depends_on_the_order_is_reduced_to_few_switches(kernels):
    """Without a barrier thread 5 may read before thread 4 has written."""
    y, x = zeros(64), tt.ones(64, device="emulated")
    (schedule,) = check(kernels["shifted"], 1, 64, y, x, schedules=20).schedules
    assert len(schedule.switches) == 1
    (switch,) = schedule.switches
    assert switch.to[0] > switch.thread[0]
    assert schedule.result.startswith("y[")
    assert y.tolist() == [0.0, *[1.0] * 63], "the memory is that of the default schedule"


def test_a_lost_update_takes_two_threads_at_the_same_line(kernels):
    y = zeros(1, tt.int32)
    report = check(kernels["lost update"], 1, 32, y, schedules=20)
    assert y.item() == 32
    (schedule,) = report.schedules
    assert len(schedule.switches) == 1
    assert "y[0] is" in str(schedule)
    assert "instead of 32" in str(schedule)
    assert re.search(r"at text_\d+\.cu:[34] thread \(\d+, 0, 0\) runs before thread", str(report))


def test_kernels_with_barriers_depend_on_no_order(kernels):
    y = zeros(1)
    report = check(kernels["tree"], 1, 64, y, tt.ones(64, device="emulated"), schedules=20)
    assert not report.schedules
    assert not report.findings
    assert y.item() == 64 * 64


# ---- captured graphs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["emulated", "checked"])
def test_a_captured_step_is_checked(device):
    """Where several tensors of the step have the same memory, one after the other."""
    tt.manual_seed(0)  # from weights near the minimum AdamW's first steps may lead away
    layer = tt.nn.Linear(8, 4).to(device)
    x, optimizer = tt.ones(16, 8, device=device), tt.optim.AdamW(layer.parameters(), lr=1e-2)

    def step():
        optimizer.zero_grad()
        loss = ops.mse_loss(tt.tanh(layer(x)), tt.zeros(16, 4, device=device))
        loss.backward()
        optimizer.step()
        return loss

    graph = tt.capture(step)
    first = graph.replay().item()
    with tt.cuda.check() as report:
        for _ in range(3):
            loss = graph.replay()
    assert not report.findings, str(report)
    assert report.launches == 3 * graph.launches
    assert loss.item() < first


def test_a_step_is_captured_while_a_check_is_on():
    w = tt.ones(64, device="emulated")
    with tt.cuda.check() as report:
        graph = tt.capture(lambda: ((w - 1.0) * 2.0).sum())
        assert graph.replay().item() == 0.0
    assert graph.device == tt.Device("emulated")
    assert not report.findings, str(report)


# ---- where a finding was made ------------------------------------------------------------------------------


def line_here():
    """file:line of the caller."""
    frame = sys._getframe(1)
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def test_a_finding_names_its_launch_and_quotes_its_line():
    k = tt.cuda.kernel("__global__ void put(float* y, int n) {\n    y[threadIdx.x % n] = threadIdx.x;\n}")
    y, z = tt.empty(64, device="emulated"), tt.empty(64, device="emulated")
    with tt.cuda.check() as outer:
        k[1, 64](y, 64)
        with tt.cuda.check() as inner:
            z = tt.empty(64, device="emulated")
            k[1, 32](z, 64)
            place, _ = line_here(), k[(2, 1), (8, 8)](y, 4)
            z.tolist()
    for report, before in ((outer, 1), (inner, 0)):
        races = [f for f in report.findings if f.kind == "global race"]
        assert {(f.launch, f.grid, f.block, f.caller) for f in races} == {
            (2 + before, (2, 1, 1), (8, 8, 1), place)
        }
        (unwritten,) = [f for f in report.findings if f.kind == "unwritten output"]
        assert (unwritten.launch, unwritten.block) == (1 + before, (32, 1, 1))
    assert f"\n    launch 2: put, grid 2, block (8, 8, 1), called at {place}\n" in str(inner)
    assert "\n    2 | y[threadIdx.x % n] = threadIdx.x;\n" in str(inner)


def test_a_finding_of_an_op_names_the_line_that_called_the_op():
    x = tt.empty(64, device="emulated")
    with tt.cuda.check() as report:
        x = tt.empty(64, device="emulated")
        place, _ = line_here(), tt.exp(x + 1.0).sum()
    assert {f.caller for f in report.findings} == {place}
    assert {f.launch for f in report.findings} == {1}


@pytest.mark.parametrize("device", ["emulated", "checked"])
def test_two_barriers_on_one_line_are_two(kernels, device):
    with pytest.raises(KernelError, match=r"waits at \w+\.cu:4 while .* another __syncthreads\(\) of this"):
        kernels["two barriers"][1, 64](tt.zeros(64, dtype=tt.int32, device=device))


# ---- what C++ leaves undefined: warnings -------------------------------------------------------------------

UNSET = """
template <bool Set> __global__ void sum_of(float* y, const float* x) {
    float sum;
    if (Set) sum = 0;
    for (int i = 0; i < 8; i++) sum += x[i];
    y[threadIdx.x] = sum;
}
template <bool Set> __global__ void first_few(float* y, const float* x) {
    float value;
    const bool mine = threadIdx.x < 3;
    if (mine) value = x[0];
    if (Set && !mine) return;
    y[threadIdx.x] = value;
}
"""


@pytest.mark.parametrize(("name", "line"), [("sum_of", 5), ("first_few", 13)])
def test_a_variable_that_nothing_set_is_a_warning(name, line):
    x = tt.ones(8, device="emulated")
    for is_set in (False, True):
        y, k = tt.empty(4, device="emulated"), tt.cuda.kernel(UNSET, name, is_set)
        instances = [(each, (of,)) for each in ("sum_of", "first_few") for of in (False, True)]
        compile_together(k.source, tuple(instances), "checked")
        with tt.cuda.check() as report:
            for _ in range(2):
                k[1, 4](y, x)
        assert not report.findings
        found = [(f.kind, f.place.partition(":")[2]) for f in report.warnings]
        assert found == [] if is_set else [("uninitialized variable", str(line))], str(report)


def test_numbers_that_a_gpu_computes_otherwise_are_warnings(kernels):
    def inputs(device):
        x = tt.tensor([1e20, -2.0, float("nan"), -7.9], device=device)
        return (
            tt.zeros(10, dtype=tt.int64, device=device),
            x,
            tt.tensor([32, -1], dtype=tt.int32, device=device),
        )

    y, z = inputs("emulated"), inputs("checked")
    report = check(kernels["numbers"], 1, 10, *y)
    assert not report.findings, str(report)
    found = {f.place.partition(":")[2]: f for f in report.warnings}
    assert {line: f.kind for line, f in found.items()} == {
        **dict.fromkeys("456", "conversion out of range"),
        **dict.fromkeys("78", "shift out of range"),
    }
    assert "1e+20 is converted to 'int' by block (0, 0, 0), thread (0, 0, 0)" in found["4"].text
    assert "a number of 64 bits is shifted by -1" in found["8"].text
    kernels["numbers"][1, 10](*z)  # a warning raises no error
    assert y[0].tolist()[5:] == z[0].tolist()[5:] == [-7, -(2**31), 2**31 - 1, 2**32, 0]  # as on a GPU


# ---- the two cores -----------------------------------------------------------------------------------------


def test_no_function_of_the_fast_core_is_called_by_checked_kernels():
    declared = re.findall(r"TT_API [^;{(]*?(tt_emu_\w+)\(", (EMULATOR / "run" / "core.h").read_text())
    renamed = re.findall(r"#define (tt_emu_\w+) ", (EMULATOR / "check" / "checked_names.h").read_text())
    assert len(declared) > 20
    assert set(declared) <= set(renamed)
