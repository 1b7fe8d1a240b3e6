"""The log of copies against NumPy, its allocations and the counters of a device, on every road."""

import inspect
import re
import threading
import tracemalloc
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tests.helpers.source import ROOT
from tinytensor import lab
from tinytensor.dispatch import copies
from tinytensor.errors import ArgumentError, ShapeError
from tinytensor.op import registry
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cpu.memory import pool

A = np.random.default_rng(0).normal(size=(6, 8, 10)).astype(np.float32)
VIEWS = {
    "whole": lambda a: a,
    "rows": lambda a: a[1:3],
    "columns": lambda a: a[:, :, 2:7],
    "step 2": lambda a: a[::2, ::2, ::2],
    "transposed": lambda a: a.swapaxes(0, 1),
    "all axes": lambda a: a.transpose(2, 0, 1),
    "backwards": lambda a: a[:, ::-1],
    "repeated": lambda a: np.broadcast_to(a[:, :1], a.shape),
}


@pytest.fixture(params=[("cpu", "off"), ("cpu", "auto"), ("emulated", "auto")], ids=lambda p: "-".join(p))
def device(request, monkeypatch):
    monkeypatch.setattr(tt.config, "host_kernels", request.param[1])
    return request.param[0]


def like(view, device):
    """The tensor on a device with the layout of a NumPy view of A."""
    strides = [s // 4 for s in view.strides]
    offset = (view.__array_interface__["data"][0] - A.__array_interface__["data"][0]) // 4
    return tt.as_strided(tt.tensor(A).to(device), view.shape, strides, offset)


def log_of(run, *args):
    with lab.trace_copies() as log:
        run(*args)
    return log


def told(log):
    return [(e.op, e.kind, e.nbytes) for e in log.entries]


# ---- one road at a time


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("shape", [(-1,), (2, -1), (-1, 5)])
def test_reshape_copies_where_numpys_does(name, shape, device) -> None:
    view = VIEWS[name](A)
    x = like(view, device)
    expected = view.reshape(shape)
    with lab.trace_copies() as log:
        y = x.reshape(shape)
    np.testing.assert_array_equal(y.cpu().numpy(), expected)
    assert [e.kind for e in log.entries] == ["layout"] * (not np.shares_memory(expected, A))
    assert log.nbytes == (0 if np.shares_memory(expected, A) else view.nbytes)


@pytest.mark.parametrize("name", VIEWS)
def test_contiguous_and_clone_are_asked_for(name, device) -> None:
    view = VIEWS[name](A)
    x = like(view, device)
    expected = ["contiguous"] * (not view.flags.c_contiguous) + ["clone"]
    assert told(log_of(lambda: (x.contiguous(), x.clone()))) == [
        (op, "asked", view.nbytes) for op in expected
    ]


def test_an_item_that_is_changed_in_place_is_not_copied_onto_itself(device) -> None:
    """Python ends `x[key] += 1` by storing what it changed: x[key] = x[key]."""
    x, expected = tt.tensor(A).to(device), A.copy()
    before = x.storage.version
    with lab.trace_copies() as log:
        x[1:, ::2] += 1
    expected[1:, ::2] += 1
    np.testing.assert_array_equal(x.cpu().numpy(), expected)
    assert (log.entries, x.storage.version) == ([], before + 2)  # each write counts, as in PyTorch
    with lab.trace_copies() as log:
        x[:, 1:] = x[:, :-1]
    assert [e.op for e in log.entries] == ["copy_"]  # other elements of the same memory


def rows(x):
    return ops.layer_norm(x, None, None)


def numbers(x, high):
    """Integers below `high` with the layout of x."""
    return (tt.zeros(10, 8, 6, device=x.device).astype(tt.int64) + high - 1).permute(2, 1, 0)


PROGRAMS = {
    "reshape": lambda x: x.reshape(-1),
    "view": lambda x: x[1:].flip(0).unsqueeze(0),
    "layer_norm": rows,
    "rms_norm": lambda x: ops.rms_norm(x, None),
    "softmax": lambda x: tt.softmax(x, axis=-1),
    "softmax along another axis": lambda x: tt.softmax(x, axis=0),
    "log_softmax": lambda x: tt.log_softmax(x, axis=-1),
    "gelu": tt.gelu,
    "dropout": lambda x: tt.dropout(x, 0.5),
    "exp": tt.exp,
    "sum": lambda x: x.sum(axis=1),
    "max": lambda x: x.max(axis=1),
    "cumsum": lambda x: tt.cumulative_sum(x, axis=1),
    "linear": lambda x: tt.linear(x, tt.ones(x.shape[-1], 3, device=x.device), transposed=False),
    "matmul": lambda x: x @ tt.ones(x.shape[-1], 3, device=x.device),
    "cross_entropy": lambda x: ops.cross_entropy(x, tt.zeros_like(x[..., 0], dtype=tt.int64)),
    "strided targets": lambda x: ops.cross_entropy(
        tt.zeros(6, 8, 3, device=x.device), numbers(x, 3)[:, :, 0]
    ),
    "strided indices": lambda x: ops.embedding(tt.zeros(4, 5, device=x.device), numbers(x, 4)),
    "mask": lambda x: x[x > 0],
    "pairs": lambda x: x[[0, 1], [1, 0]],
    "pick on the last axes": lambda x: x[:, [0, 1], [1, 0]],
    "gather": lambda x: tt.take_along_axis(x, tt.zeros(x.shape, dtype=tt.int64, device=x.device), 1),
    "concat": lambda x: tt.concat([x, x]),
    "grad_norm": lambda x: tt.grad_norm([x]),
    "cast": lambda x: x.astype(tt.float64),
    "half": lambda x: x.astype(tt.bfloat16) + 1,
    "attention": lambda x: ops.scaled_dot_product_attention(x[None], x[None], x[None]),
    "backward of rows": lambda x: rows(x.detach().clone().requires_grad_()).transpose(0, 1).sum().backward(),
    "adamw": lambda x: adamw(x),
}


def adamw(x):
    p = tt.zeros(x.shape, device=x.device, requires_grad=True)
    p.grad = x
    tt.optim.AdamW([p]).step()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("layout", ["whole", "transposed", "step 2"])
def test_strict_layout_refuses_what_the_log_calls_layout(program, layout, device, monkeypatch) -> None:
    """Every hidden copy of every road is both listed and refused, and nothing else is refused."""
    run, x = PROGRAMS[program], like(VIEWS[layout](A), device)
    log = log_of(run, x)
    hidden = [e for e in log.of("layout") if e.op != "to"]
    assert layout != "whole" or not hidden or program.startswith(("strided", "backward")), log
    monkeypatch.setattr(tt.config, "strict_layout", True)
    refusal = pytest.raises(ShapeError, match=r"(?s)strict_layout|cannot be viewed")
    with refusal if hidden else nullcontext():
        run(x)


@pytest.mark.parametrize(
    ("program", "roads"),
    {
        "layer_norm": {"off", "auto", "emulated"},  # rows of a transpose do not merge
        "softmax": {"off", "auto", "emulated"},
        "gelu": {"off", "auto"},  # kernels of a device walk any strides
        "exp": set(),
        "sum": set(),
        "linear": {"off", "auto"},  # a batch of products on a device
        "cross_entropy": {"off", "auto", "emulated"},
        "strided indices": {"off", "auto", "emulated"},
        "grad_norm": {"off", "auto", "emulated"},
    }.items(),
)
def test_who_copies_a_transpose(program, roads, device) -> None:
    log = log_of(PROGRAMS[program], like(VIEWS["transposed"](A), device))
    road = tt.config.host_kernels if device == "cpu" else device
    assert bool(log.of("layout")) == (road in roads), log


@pytest.mark.parametrize("program", sorted(PROGRAMS))
@pytest.mark.parametrize("layout", ["transposed", "step 2"])
def test_numpy_allocates_what_the_log_calls_layout(program, layout, monkeypatch) -> None:
    """A layout takes memory that the same elements in C order do not take exactly where the log says so."""
    monkeypatch.setattr(tt.config, "host_kernels", "off")
    big = np.tile(A, (8, 8, 8))
    view = VIEWS[layout](big)
    x = tt.from_numpy(big)
    x = tt.as_strided(x, view.shape, [s // 4 for s in view.strides], 0)
    whole = tt.from_numpy(np.ascontiguousarray(view))
    log = log_of(PROGRAMS[program], x)
    forced = log.nbytes - log_of(PROGRAMS[program], whole).nbytes
    extra = allocated(PROGRAMS[program], x) - allocated(PROGRAMS[program], whole)
    assert abs(extra - forced) < view.nbytes / 2, log


def allocated(run, x):
    """The most bytes that NumPy and the pool lend at once to a call, once the pool has what it needs."""
    for _ in range(3):
        run(x)
    pool.reset_peak()
    before = pool.statistics.live
    tracemalloc.start()
    run(x)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most + pool.statistics.peak - before


MOVES = {
    "pad": lambda x: ops.pad(x, 1),
    "pad with the border": lambda x: ops.pad(x, 1, "edge"),
    "roll": lambda x: tt.roll(x, 1, 0),
    "repeat": lambda x: tt.repeat(x, 2, axis=0),
    "tile": lambda x: tt.tile(x, (2, 1, 1)),
    "stack": lambda x: tt.stack([x, x]),
    "take": lambda x: tt.take(x, tt.tensor([0, 1], device=x.device), 1),
    "take_along_axis": lambda x: tt.take_along_axis(x, tt.zeros(6, 8, 1, dtype=tt.int64, device=x.device), 2),
    "index": lambda x: x[:, [1, 2]],
    "mask": lambda x: x[x > 0],
    "flip and copy": lambda x: x.flip(0).contiguous(),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_moves_elements_says_so(name, device) -> None:
    x = like(A, device)
    with lab.trace_copies() as log:
        y = MOVES[name](x)
    assert y.nbytes in [e.nbytes for e in log.entries], log
    assert not log.of("layout")


def test_a_mask_is_copied_where_a_gradient_is_recorded_and_only_there() -> None:
    x = tt.tensor([[1.0, -2.0], [3.0, 4.0]], requires_grad=True)
    mask = x.detach() > 0
    with lab.trace_copies() as log:
        y = x[mask]
    assert [(e.op, e.nbytes) for e in log.of("memory")] == [("index", 4)]
    mask[0, 0] = False
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[1, 0], [1, 1]])
    for record in (x.detach(), x):
        with tt.no_grad():
            assert not log_of(lambda record=record: record[mask]).of("memory")
            np.testing.assert_array_equal(record[mask].numpy(), [3, 4])
    np.testing.assert_array_equal(x.detach()[mask.T].numpy(), [-2, 4])


def test_writes_at_indices(device) -> None:
    x, w = like(A, device), tt.ones(10, requires_grad=True, device=device)
    y = x * 1
    log = log_of(lambda: y.__setitem__([1, 3], w))
    assert not log.of("memory"), "only the written elements are moved"
    log = log_of(lambda: x[np.array([1, 3])])
    assert set(told(log)) >= {("index", "index", 16), ("pick", "index", 2 * 8 * 10 * 4)}


def test_a_product_packs_an_operand_without_a_stride_of_1() -> None:
    x = like(VIEWS["step 2"](A), "emulated")[0]
    log = log_of(lambda: x @ x.mT)
    assert told(log) == [("matmul", "layout", x.nbytes)] * 2
    assert f"strides {x.strides}" in log.entries[0].why


def test_transfers_are_what_the_device_counts() -> None:
    statistics = runtime_of(tt.Device("emulated")).statistics
    before = statistics.copy_in_bytes, statistics.copy_out_bytes
    x = tt.tensor(A)
    with lab.trace_copies() as log:
        y = x.to("emulated")
        x.transpose(0, 1).to("emulated")
        y.cpu()
        y.transpose(0, 1).cpu()
    moved = statistics.copy_in_bytes - before[0] + statistics.copy_out_bytes - before[1]
    assert sum(e.nbytes for e in log.of("device")) == moved == 4 * A.nbytes
    assert [e.nbytes for e in log.of("layout")] == [A.nbytes] * 2  # the transposes travel as one block


def add_neighbors(device):
    x = tt.ones(10, device=device)
    x[1:] += x[:-1]


X, W, HALF = tt.tensor(A), tt.ones(5, requires_grad=True), tt.ones(4, 5).astype(tt.bfloat16)
TOLD = {
    "arrays of NumPy": (lambda: np.array(X, copy=True), [("__array__", "asked", A.nbytes)]),
    "DLPack": (lambda: np.from_dlpack(X, copy=True), [("__dlpack__", "asked", A.nbytes)]),
    "integers as float32": (lambda: tt.ones(4, 5) + tt.ones(4, 5, dtype=tt.int32), [("add", "dtype", 80)]),
    "both operands widened, and the sum rounded": (
        lambda: HALF + HALF,
        [("add", "dtype", 80), ("add", "dtype", 80), ("add", "dtype", 40)],
    ),
    "a cast": (lambda: tt.ones(4, 5).astype(tt.float64), [("cast", "dtype", 160)]),
    "neighbors": (lambda: add_neighbors("cpu"), [("add_", "memory", 36)]),
    "neighbors on a device": (lambda: add_neighbors("emulated"), [("add_", "memory", 36)]),
    "a gradient that belongs to the caller": (
        lambda: W.T.backward(tt.ones(5)),
        [("backward", "memory", 20)],
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_is_copied_is_told(name) -> None:
    run, expected = TOLD[name]
    W.grad = None
    assert told(log_of(run)) == expected


def test_views_that_share_memory_are_not_copies() -> None:
    x = tt.tensor(A)
    with lab.trace_copies() as log:
        assert np.shares_memory(np.asarray(x), np.from_dlpack(x))
    assert not log.entries


def test_a_square_in_place_keeps_its_operand() -> None:
    with lab.trace_copies() as log:
        y = W * 1
        y *= y
        y.backward(tt.ones(5))
    assert {(e.op, e.kind) for e in log.entries} == {("multiply_", "memory")}


def test_each_run_of_the_copy_op_is_in_the_log(monkeypatch) -> None:
    """No road to `Copy` is forgotten: its own code is counted, not what callers say of it."""
    ran, copy = [], registry["copy"].cpu

    def counted(y, x):
        ran.append(x.nbytes)
        copy(y, x)

    monkeypatch.setattr(registry["copy"], "cpu", staticmethod(counted))
    x = tt.tensor(A).requires_grad_()
    with lab.trace_copies() as log:
        y = (x * 1.0).transpose(0, 1)
        z = y.reshape(-1) + y.clone().reshape(-1) + y.contiguous().reshape(-1)
        z *= z
        z.backward(tt.ones(len(z)))
    copied = [e.nbytes for e in log.entries if e.kind in ("asked", "layout", "memory")]
    assert sorted(copied) == sorted(ran)
    assert ran


# ---- the log itself


def test_an_entry_names_the_users_line() -> None:
    with lab.trace_copies() as log:
        tt.ones(3).clone()
        line = inspect.currentframe().f_lineno - 1
    (entry,) = log.entries
    assert (entry.where, entry.file) == (f"{Path(__file__).name}:{line}", __file__)
    assert entry.where in str(log.table())


def test_the_table_adds_up() -> None:
    x = tt.ones(4, 5)
    with lab.trace_copies() as log:
        for _ in range(3):
            x.clone()
        x.T.contiguous()
    assert log.nbytes == 4 * x.nbytes
    head, first, *_, last = str(log.table(rows=1)).splitlines()
    assert head.split()[:3] == ["bytes", "times", "op"]
    assert first.split()[:3] == ["240", "3", "clone"]
    assert last.split() == ["320", "4", "in", "all"]
    for bad in (lambda: log.table(rows=0), lambda: log.of("hidden")):
        with pytest.raises(ArgumentError):
            bad()


def test_copies_of_all_threads_are_heard() -> None:
    x = tt.ones(4, 5)
    with lab.trace_copies() as log:
        thread = threading.Thread(target=x.clone)
        thread.start()
        thread.join()
    x.clone()  # the log is closed
    assert [e.op for e in log.entries] == ["clone"]


def test_strict_layout_asks_for_what_to_call(monkeypatch) -> None:
    monkeypatch.setattr(tt.config, "strict_layout", True)
    with pytest.raises(ShapeError, match=r"layer_norm: .*strides(?s:.*)x\.contiguous\(\)"):
        rows(like(VIEWS["transposed"](A), "cpu"))
    assert rows(like(VIEWS["transposed"](A), "cpu").contiguous()).shape == (8, 6, 10)


def test_the_document_names_every_kind() -> None:
    text = (ROOT / "docs/copies.md").read_text(encoding="utf-8")
    kinds = text.partition("## Kinds")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", kinds, re.MULTILINE) == list(copies.KINDS)
