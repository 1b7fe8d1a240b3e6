"""The profiler counts what ran, adds up to the whole, also on devices, and draws it."""

import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.cupy_fixtures import cupy, lazy, needs_nvrtc, pretended  # noqa: F401 - fixtures
from tests.helpers.pages import parse
from tinytensor import lab
from tinytensor.errors import ArgumentError
from tinytensor.lab.profiler import peaks
from tinytensor.lab.profiler.flame import tree
from tinytensor.lab.profiler.peaks import Peaks
from tinytensor.op import flops_of, registry

PEAKS = {"cpu": Peaks(copy=1e10, matmul=1e11)}


class Two(tt.nn.Module):
    """Two layers in a list, as in a GPT."""

    def __init__(self) -> None:
        super().__init__()
        self.h = tt.nn.ModuleList([tt.nn.Linear(8, 8), tt.nn.Linear(8, 8)])

    def forward(self, x: tt.Tensor) -> tt.Tensor:
        for layer in self.h:
            x = tt.tanh(layer(x))
        return x


def profiled(device: str = "cpu", given: dict[str, Peaks] = PEAKS) -> lab.Profile:
    model = Two().to(device)
    x = tt.ones(4, 8, device=device)
    with lab.profile(peaks=given) as p:
        model(x).sum().backward()
    return p


# ---- calls -------------------------------------------------------------------------------------------------


def parameter(device: str = "cpu") -> tt.Tensor:
    p = tt.ones(1000, device=device, requires_grad=True)
    p.grad = tt.ones(1000, device=device)
    return p


def put() -> None:
    k = tt.cuda.kernel("__global__ void put(float* y) { y[threadIdx.x] = 1; }")
    k[1, 32](tt.empty(32, device="emulated"))


def relu(n: int) -> None:
    tt.ones(n, requires_grad=True).relu().backward(tt.ones(n))


# Program → calls and bytes of its ops; None: not asked.
COUNTED: dict[str, tuple[Callable[[], Any], dict[str, tuple[int, int | None]]]] = {
    "exp": (lambda: [tt.exp(tt.ones(100, 50)) for _ in range(3)], {"exp": (3, 3 * 2 * 20_000)}),
    "softmax": (lambda: tt.softmax(tt.ones(64, 64), axis=-1), {"softmax": (1, 2 * 4 * 64**2)}),
    **{
        f"relu of {n}": (partial(relu, n), {"relu": (1, 2 * 4 * n), "relu_backward": (1, 3 * 4 * n)})
        for n in (16, 4096, 8192)
    },
    "methods of a ufunc": (
        lambda: (tt.ones(4, 5).max(axis=1), tt.any(tt.ones(4, 5) > 0, axis=1)),
        {"max": (1, None), "any_true": (1, None)},
    ),
    "gradients of a product": (
        # of each product two more in backward, and one in that of exp
        lambda: [(tt.exp(x := tt.ones(100, 50, requires_grad=True)) * x).sum().backward() for _ in range(3)],
        {"multiply": (3 * 4, 3 * 4 * 3 * 20_000), "exp": (3, 3 * 2 * 20_000)},
    ),
    "optimizer": (
        lambda: tt.optim.AdamW([parameter()]).step(),
        {"adamw": (1, 4 * 4000 + 40)},  # the parameter, its gradient and two means; ten numbers
    ),
    "optimizer on a device": (
        lambda: tt.optim.AdamW([parameter("emulated")]).step(),
        {"adamw on emulated": (1, None)},
    ),
    "a kernel of ones own": (put, {"put on emulated": (1, 4 * 32)}),
    **{
        f"views that begin alike on {device}": (
            lambda device=device: (x := tt.ones(4, 6, device=device))[:1] + x,  # type: ignore[misc]
            {"add" + f" on {device}" * (device != "cpu"): (1, 4 * (6 + 24 + 24))},
        )
        for device in ("cpu", "emulated")
    },
}


@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("name", COUNTED)
def test_an_op_is_counted_once_with_and_without_kernels(name: str, kernels: str, monkeypatch) -> None:
    monkeypatch.setattr(tt.config, "host_kernels", kernels)
    program, expected = COUNTED[name]
    with lab.profile() as p:
        program()
    for op, (calls, nbytes) in expected.items():
        assert p.ops[op].calls == calls, op
        assert nbytes is None or p.ops[op].nbytes == nbytes, op
    assert 0 < p.in_ops < p.seconds


def test_time_is_that_of_the_clock(monkeypatch) -> None:
    monkeypatch.setattr(registry["exp"], "ufunc", staticmethod(_slow))
    monkeypatch.setattr(registry["exp"], "observed", {})  # its plans hold the function of before
    with lab.profile() as p:
        tt.exp(tt.ones(3))
    assert p.groups()[0].name == "exp"
    assert 0.05 <= p.ops["exp"].seconds <= p.seconds


def _slow(x: np.ndarray, out: object = None, order: str = "K") -> np.ndarray:
    time.sleep(0.05)
    return np.exp(x)


def test_the_table_adds_up() -> None:
    x = tt.ones(10)
    with lab.profile() as p:
        x + x
        x * x
    text = str(p.table(rows=1))
    assert "other ops" in text
    assert "100.0%" in text.splitlines()[-1]


# ---- work --------------------------------------------------------------------------------------------------


def test_every_op_has_a_formula() -> None:
    problems = [
        f"{op.__module__.replace('.', '/')}.py: class {op.__name__} does not say its `flops`"
        for op in registry.values()
        if not hasattr(op, "flops") and op.__module__.startswith("tinytensor.")
    ]
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [0, 3])
@pytest.mark.parametrize(("Tq", "Tk"), [(5, 5), (2, 7), (7, 2), (1, 1), (0, 4), (4, 0)])
def test_attention_counts_the_scores_that_are_seen(causal: bool, window: int, Tq: int, Tk: int) -> None:
    places = np.arange(Tk) - (np.arange(Tq)[:, None] + Tk - Tq)  # of a key, seen from a query
    seen = (places <= 0) & (places > -window if window else True) if causal else places == places
    shapes = [(2, 3, Tq, 16), (2, 3, Tk, 16), (2, 3, Tk, 8)]
    given = {"causal": causal, "window": window if causal else 0}
    op = registry["attention"](**given, scale=1.0, dropout=0.0)
    found = flops_of(op, [None], shapes)
    assert found == 2 * 3 * seen.sum() * (2 * 16 + 2 * 8 + 4)


@pytest.mark.parametrize("transposed", [False, True])
def test_products_have_two_operations_for_each_pair(transposed: bool) -> None:
    a, b = (np.ones(s) for s in ((3, 4, 5), (3, 5, 6)))
    work = 2 * np.einsum("bij,bjk->bik", a, b).sum()
    shapes = [a.swapaxes(1, 2).shape if transposed else a.shape, b.shape]
    assert flops_of(registry["matmul"](ta=transposed, tb=False), [(3, 4, 6)], shapes) == work


def counted(name: str) -> tuple[float | None, int]:
    """Operations of an op's forward by the table, and those that its kernels were counted to do."""
    x = tt.full((64, 64), 0.5, device="emulated")
    operands = {
        "linear": (x, x, x[0]),
        "layer_norm": (x, (64,), x[0], x[1]),
        "cross_entropy": (x, tt.arange(64, device="emulated")),
    }.get(name)
    operands = operands or (x,) * len(registry[name].inputs)
    with tt.cuda.check(blocks=10**6) as report:
        getattr(tt, name)(*operands)
    with lab.profile() as p:
        getattr(tt, name)(*operands)
    by_kernel = [kernel.flops for kernel in report.kernels]
    if None in by_kernel:
        pytest.skip("operations are counted with objdump and addr2line, on x86-64")
    table = [call.flops for call in p.calls]
    return None if None in table else sum(n for n in table if n), sum(n for n in by_kernel if n)


EXACT = ["add", "multiply", "divide", "exp", "sqrt", "square", "maximum", "tanh", "sigmoid", "softplus"]


@pytest.mark.parametrize("name", [*EXACT, "hypot", "matmul", "linear"])
def test_the_table_has_what_kernels_were_counted_to_do(name: str) -> None:
    table, kernels = counted(name)
    assert table == kernels


@pytest.mark.parametrize(
    "name", ["softmax", "log_softmax", "layer_norm", "cross_entropy", "gelu", "logsumexp"]
)
def test_kernels_do_the_work_of_the_formula_and_somewhat_more(name: str) -> None:
    """They compute an exponential twice, say, rather than keep it."""
    table, kernels = counted(name)
    assert table is not None
    assert table / 1.2 <= kernels <= 4 * table


# ---- where -------------------------------------------------------------------------------------------------


def test_modules_lines_and_backward_are_those_of_the_forward() -> None:
    p = profiled()
    paths = {c.path for c in p.calls if c.op == "linear_backward"}
    assert paths == {("Two", "h.0"), ("Two", "h.1")}
    assert all(c.backward and c.node == "linear" for c in p.calls if c.op == "linear_backward")
    file, line = next(c.lines[-1] for c in p.calls if c.op == "linear_backward")
    assert file == __file__
    assert "tt.tanh(layer(x))" in Path(file).read_text().splitlines()[line - 1]
    assert not any(c.backward for c in p.calls if c.op == "linear")


def test_small_tensors_take_short_roads_and_are_seen() -> None:
    x, y = tt.ones(3, 4), tt.ones(4, 5)
    with lab.profile() as p:
        (x @ y).sum()
        x.mean(axis=-1)
    found = {c.op: (c.ins, c.outs, c.flops) for c in p.calls}
    assert found["matmul"] == (((3, 4), (4, 5)), ((3, 5),), 2 * 3 * 4 * 5)
    assert found["sum"][:2] == (((3, 5),), ((),))
    assert found["mean"][:2] == (((3, 4),), ((3,),))


def test_sums_of_gradients_belong_to_the_backward_pass() -> None:
    x = tt.ones(100, 100, requires_grad=True)
    with lab.profile() as p:
        (x * 2.0 + x * 3.0 + x * 4.0).sum().backward()
    sums = [c for c in p.calls if c.op == "add" and c.backward and not c.node]
    assert len(sums) == 2
    assert {c.ins for c in sums} == {((100, 100), (100, 100))}


def test_groups_by_shape_keep_calls_apart() -> None:
    with lab.profile() as p:
        for n in (3, 3, 5):
            tt.ones(n, 2) + tt.ones(2)
    found = {g.name: g.calls for g in p.groups("shape")}
    assert found["add 3×2, 2"] == 2
    assert found["add 5×2, 2"] == 1


def test_ops_of_other_threads_are_seen_as_theirs() -> None:
    with lab.profile() as p:
        other = threading.Thread(target=lambda: tt.exp(tt.ones(3)))
        other.start()
        other.join()
        tt.log(tt.ones(3))
    by_op = {c.op: c.thread for c in p.calls}
    assert by_op["exp"] != by_op["log"] == threading.get_ident()
    assert "on other threads" in str(p.table())
    assert p.in_ops <= p.seconds


def test_empty_tensors_those_without_axes_and_nothing_at_all() -> None:
    with lab.profile(peaks=PEAKS) as p:
        tt.exp(tt.ones(0, 3)) + 1.0
        tt.exp(tt.ones(())) * 2.0
        tt.ones(0, 4) @ tt.ones(4, 0)
    assert {c.op for c in p.calls} >= {"exp", "matmul"}
    assert "exp 0×3" in str(p.table(by="shape", peaks=True))
    with lab.profile(peaks=PEAKS) as nothing:
        pass
    for found in (p, nothing):
        assert "100.0%" in str(found)
        assert found.flame().startswith("<svg")
        parse(found.html())


# ---- devices -----------------------------------------------------------------------------------------------


def test_time_of_the_emulator_stands_apart() -> None:
    x = tt.ones(64, 64)
    with lab.profile(peaks=PEAKS) as p:
        tt.softmax(x, -1)
        y = tt.softmax(x.to("emulated"), -1)
        y @ y
    assert p.devices == ["cpu", "emulated"]
    assert {op.name for op in p.groups()} == {"softmax"}
    assert p.ops["softmax"].device == "cpu"
    assert p.ops["softmax on emulated"].calls == 1
    emulated = sum(c.own for c in p.calls if c.is_emulated)
    (row,) = [line for line in str(p.table()).splitlines() if line.startswith("in the emulator")]
    assert float(row.split()[-2]) == pytest.approx(emulated * 1e3, abs=1e-3)
    for name in ("emulated", "emulated:0", tt.Device("emulated")):
        assert "say nothing about a GPU" in str(p.table(device=name))


def opened(**given: Any) -> lab.Profile:
    with lab.profile(**given) as p:
        tt.ones(2) + 1.0
    return p


WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "rows": (lambda: opened().table(rows=0), ArgumentError, "rows is 0"),
    "per": (lambda: opened().table(per=0), ArgumentError, "per is 0"),
    "peaks": (lambda: opened(peaks=3), TypeError, "int"),
    "peaks of an emulator": (
        lambda: opened(peaks={"emulated": Peaks(1e10, 1e11)}).table(device="emulated", peaks=True),
        ArgumentError,
        "peaks of emulated",
    ),
    "no rate": (lambda: Peaks(copy=0.0, matmul=1.0), ArgumentError, "both are rates"),
    "group": (lambda: opened().groups("color"), ArgumentError, "by='color'"),
    "frames": (lambda: opened().flame("op"), ArgumentError, "by='op'"),
    "device": (lambda: opened().groups(device="tpu"), tt.errors.DeviceError, "tpu"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_names_and_numbers(name: str, small_probes: None) -> None:
    call, error, said = WRONG[name]
    with pytest.raises(error, match=said):
        call()


@pytest.fixture
def small_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MATMUL": 64, "COPY": 1 << 12, "SECONDS": 0.0, "_known": {}}.items():
        monkeypatch.setattr(peaks, name, value)


def test_peaks_of_the_cpu_are_measured_once(small_probes: None) -> None:
    found = lab.measure_peaks()
    assert found.copy > 0
    assert found.matmul > 0
    assert lab.measure_peaks("cpu") is found
    with lab.profile() as p:
        tt.exp(tt.ones(3))
    assert p.peaks == {"cpu": found}
    with lab.profile(peaks=PEAKS) as given:
        tt.exp(tt.ones(3))
    assert given.peaks == PEAKS != p.peaks


@needs_nvrtc
def test_peaks_of_a_gpu_are_those_of_its_clock(small_probes: None, lazy: str) -> None:  # noqa: F811
    found = lab.measure_peaks(lazy)
    assert found.copy == pytest.approx(8 * (1 << 12) / 2.5e-3)
    assert found.matmul == pytest.approx(2 * 64**3 / 2.5e-3)


@needs_nvrtc
def test_a_gpu_is_timed_by_its_own_marks(lazy: str) -> None:  # noqa: F811 - a fixture; its clock says 2.5 ms
    p = profiled(lazy, {"cuda": Peaks(copy=1e12, matmul=1e13)})
    ops = {op.name: op for op in p.groups(device="cuda")}
    assert ops["linear"].device_seconds == pytest.approx(2 * 2.5e-3)
    assert ops["linear"].busy == ops["linear"].device_seconds
    assert "device ms" in str(p.table())


@pytest.mark.gpu
def test_a_gpu_takes_longer_for_more() -> None:
    x, y = tt.ones(256, 256, device="cuda"), tt.ones(4096, 4096, device="cuda")
    x @ x, y @ y
    with lab.profile() as p:
        x @ x
        y @ y
    small, large = (c.device_seconds for c in p.calls if c.op == "matmul")
    assert 0 < small < large


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_a_replay_is_one_call(device: str) -> None:
    x = tt.ones(50, 60, device=device)
    with lab.profile() as p, tt.no_grad():
        graph = tt.capture(lambda: tt.softmax(x * 2.0, -1), device=device)
        captured = len(p.calls)
        for _ in range(3):
            graph.replay()
    names = [call.op for call in p.calls[captured:]]
    assert names == ["graph"] * 3
    assert p.calls[-1].device == device
    assert p.calls[-1].flops is None
    assert np.allclose(graph.replay().cpu().numpy(), 1 / 60)  # goes on without the profile
    assert len(p.calls) == captured + 3


# ---- pictures ----------------------------------------------------------------------------------------------


def test_boxes_are_as_wide_as_their_time() -> None:
    p = profiled()
    for by in ("module", "line"):
        root = tree(p.calls, by)
        assert root.seconds == pytest.approx(sum(c.own for c in p.calls))
        boxes = [root]
        while boxes:
            box = boxes.pop()
            assert sum(inner.seconds for inner in box.inside.values()) <= box.seconds * (1 + 1e-9)
            boxes += box.inside.values()
    image = ET.fromstring(p.flame())
    rows: dict[str, list[tuple[float, float]]] = {}
    for rect in image.iter("{http://www.w3.org/2000/svg}rect"):
        rows.setdefault(rect.attrib["y"], []).append((float(rect.attrib["x"]), float(rect.attrib["width"])))
    assert len(rows) >= 4  # all, Two, h.0, linear
    for boxes_of_row in rows.values():
        for (x, width), (after, _) in pairwise(sorted(boxes_of_row)):
            assert x + width <= after + 0.01


def test_the_page_is_whole() -> None:
    p = profiled()
    assert len(repr(p)) < 400  # not every call
    document_ = parse(p.html())
    assert len(document_.all("svg")) == 2
    assert "of matmul" in document_.text


def test_a_program_that_calls_deeply_has_a_flame() -> None:
    def grow(x: tt.Tensor, depth: int) -> tt.Tensor:
        return grow(x + 1.0, depth - 1) if depth else x

    with lab.profile() as p:
        grow(tt.ones(2), 700)
    root = ET.fromstring(p.flame("line"))
    rows = {rect.attrib["y"] for rect in root.iter("{http://www.w3.org/2000/svg}rect")}
    assert len(rows) > 100  # of 700: the innermost calls take too small a part to be seen
