"""The device `checked`: atomic operations, captured graphs, undefined numbers; the launch of a finding."""

import sys
from pathlib import Path

import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops


@pytest.mark.parametrize("device", ["emulated", "checked"])
def test_a_captured_step_is_checked(device: str) -> None:
    """Where several tensors of the step have the same memory, one after the other."""
    tt.manual_seed(0)  # from weights near the minimum AdamW's first steps may lead away
    layer = tt.nn.Linear(8, 4).to(device)
    x, optimizer = tt.ones(16, 8, device=device), tt.optim.AdamW(layer.parameters(), lr=1e-2)

    def step() -> tt.Tensor:
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


def test_a_step_is_captured_while_a_check_is_on() -> None:
    w = tt.ones(64, device="emulated")
    with tt.cuda.check() as report:
        graph = tt.capture(lambda: ((w - 1.0) * 2.0).sum())
        assert graph.replay().item() == 0.0
    assert graph.device == tt.Device("emulated")
    assert not report.findings, str(report)


def test_atomic_operations_are_counted() -> None:
    """Lanes that change one number of shared memory take turns; a sector of global memory moves once."""
    k = tt.cuda.kernel("""
__global__ void count(int* y, const int* x, int same) {
    __shared__ int s[32];
    s[threadIdx.x] = 0;
    __syncwarp();
    atomicAdd(&s[same ? 0 : x[threadIdx.x]], 1);
    __syncwarp();
    atomicAdd(y + threadIdx.x, s[threadIdx.x]);
}""")
    x = tt.arange(32, dtype=tt.int32, device="emulated")
    for same, ways in ((1, 32.0), (0, 1.0)):
        y = tt.zeros(32, dtype=tt.int32, device="emulated")
        with tt.cuda.check() as report:
            k[1, 32](y, x, same)
        atomics = {line.space: line for line in report.lines if line.way == "atomic"}
        assert atomics["shared"].bank_conflict_ways == ways
        assert atomics["global"].sectors_per_request == 4.0
        assert sum(y.tolist()) == 32


def test_a_report_quotes_the_lines_of_a_finding() -> None:
    k = tt.cuda.kernel("__global__ void race(float* y) {\n    y[0] = threadIdx.x;\n}")
    with tt.cuda.check() as report:
        k[1, 64](tt.empty(1, device="emulated"))
    assert "\n    2 | y[0] = threadIdx.x;\n" in str(report)


def line_here() -> str:
    """file:line of the caller."""
    frame = sys._getframe(1)
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def test_a_finding_names_its_launch() -> None:
    k = tt.cuda.kernel("__global__ void put(float* y, int n) { y[threadIdx.x % n] = threadIdx.x; }")
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


def test_a_finding_of_an_op_names_the_line_that_called_the_op() -> None:
    x = tt.empty(64, device="emulated")
    with tt.cuda.check() as report:
        x = tt.empty(64, device="emulated")
        place, _ = line_here(), tt.exp(x + 1.0).sum()
    assert {f.caller for f in report.findings} == {place}
    assert {f.launch for f in report.findings} == {1}


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
def test_a_variable_that_nothing_set_is_a_warning(name: str, line: int) -> None:
    x = tt.ones(8, device="emulated")
    for is_set in (False, True):
        y = tt.empty(4, device="emulated")
        with tt.cuda.check() as report:
            for _ in range(2):
                tt.cuda.kernel(UNSET, name, is_set)[1, 4](y, x)
        assert not report.findings
        found = [(f.kind, f.place.partition(":")[2]) for f in report.warnings]
        assert found == [] if is_set else [("uninitialized variable", str(line))], str(report)


NUMBERS = """
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
}
"""


def test_numbers_that_a_gpu_computes_otherwise_are_warnings() -> None:
    x = tt.tensor([1e20, -2.0, float("nan"), -7.9], device="emulated")
    n = tt.tensor([32, -1], dtype=tt.int32, device="emulated")
    y = tt.zeros(10, dtype=tt.int64, device="emulated")
    with tt.cuda.check() as report:
        tt.cuda.kernel(NUMBERS)[1, 10](y, x, n)
    assert not report.findings, str(report)
    found = {f.place.partition(":")[2]: f for f in report.warnings}
    assert {line: f.kind for line, f in found.items()} == {
        **dict.fromkeys("456", "conversion out of range"),
        **dict.fromkeys("78", "shift out of range"),
    }
    assert "1e+20 is converted to 'int' by block (0, 0, 0), thread (0, 0, 0)" in found["4"].text
    assert "a number of 64 bits is shifted by -1" in found["8"].text
    assert y.tolist()[5:] == [-7, -(2**31), 2**31 - 1, 2**32, 0]  # as on a GPU
    z = tt.zeros(10, dtype=tt.int64, device="checked")
    tt.cuda.kernel(NUMBERS)[1, 10](z, x.to("checked"), n.to("checked"))  # a warning raises no error
    assert z.tolist()[5:] == y.tolist()[5:]


@pytest.mark.parametrize("device", ["emulated", "checked"])
def test_two_barriers_on_one_line_are_two(device: str) -> None:
    kernel = tt.cuda.kernel(
        "__global__ void k(int* y) {\n"
        "    for (int i = 0; i < 2; i++) { __syncthreads(); y[threadIdx.x] = i; __syncthreads(); }\n"
        "    if (threadIdx.x < y[40]) __syncthreads(); else __syncthreads();\n"
        "}"
    )
    y = tt.zeros(64, dtype=tt.int32, device=device)
    with pytest.raises(
        tt.KernelError, match=r"waits at \w+\.cu:3 while .* another __syncthreads\(\) of this"
    ):
        kernel[1, 64](y)


STATES = """
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
}
"""


@pytest.mark.parametrize(("states", "found"), [(32, set()), (31, {"uninitialized global read"})])
def test_padding_of_structs_is_not_written(states: int, found: set[str]) -> None:
    y = tt.zeros(32, dtype=tt.float64, device="emulated")
    with tt.cuda.check() as report:
        room = tt.empty(32 * 48, dtype=tt.uint8, device="emulated")
        tt.cuda.kernel(STATES, "init")[1, states](room, 7)
        tt.cuda.kernel(STATES, "draw")[1, 32](y, room)
    assert {f.kind for f in report.findings} == found, str(report)
