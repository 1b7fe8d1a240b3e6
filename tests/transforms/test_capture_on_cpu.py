"""Captured work of the CPU: replays of every op equal calls bit for bit, and what is refused."""

import gc
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from gpt.models.kv_cache import KVCache
from tests.helpers.layouts import prepared, tensors
from tests.helpers.threads import in_threads
from tinytensor.errors import DeviceError
from tinytensor.op import registry
from tinytensor.op_table import ROWS, Row
from tinytensor.op_table.row import as_tuple
from tinytensor.ops.matmul.matmul import kernels
from tinytensor.runtime.cpu import chain
from tinytensor.runtime.cpu.memory import pool

DEVICES = ["cpu", "emulated"]
# Rows whose results have sizes that depend on data, or which read numbers of theirs on the host.
REFUSED = {
    "getitem": "masks",
    "setitem": "masks",
    "nonzero": "the size depends on data",
    "repeat": "a tensor of counts is read",
    **dict.fromkeys(["unique", "unique_all", "unique_counts", "unique_inverse", "unique_values"], "sizes"),
}


class Refused(Exception):
    """A capture said no."""


def replayed(fn: Callable[[], Any], device: str = "cpu") -> tt.CapturedGraph:
    with tt.no_grad():
        return tt.capture(fn, device=device, warmup=0)


def same(a: Any, b: Any) -> bool:
    a, b = (x.detach().astype("float32") if x.dtype.narrow else x.detach() for x in (a, b))
    return bool(np.array_equal(a.numpy(), b.numpy(), equal_nan=a.dtype.is_inexact))


def check(row: Row, dtype: str, layout: str, replays: int = 2) -> None:
    """Capture a call, and compare replays with calls, on other numbers each time."""
    inputs, one = tensors(row, prepared(row, dtype, layout), dtype, layout), tt.ones(1)
    try:
        graph = replayed(lambda: (one + 1.0, row.call(*inputs))[1])  # views alone would compute nothing
    except DeviceError as error:
        raise Refused from error
    for seed in range(1, replays + 1):
        rng = np.random.default_rng(seed)
        for x, drawn in zip(inputs, row.inputs, strict=True):
            if x.size and not x.layout.overlaps():
                x.copy_(tt.tensor(drawn.sample(rng, dtype), dtype=x.dtype))
        before = [x.clone() for x in inputs]  # optimizer steps write to them
        tt.manual_seed(seed)
        with tt.no_grad():
            expected = [x.clone() for x in as_tuple(row.call(*inputs))]
        for x, value in zip(inputs, before, strict=True):
            if not x.layout.overlaps():
                x.copy_(value)
        tt.manual_seed(seed)
        found = as_tuple(graph.replay())
        assert [x.shape for x in found] == [x.shape for x in expected]
        assert all(same(x, y) for x, y in zip(found, expected, strict=True))


# a generator made in the function: each call begins its stream, replays go on in it
CAPTURED = [row for row in ROWS if not row.random]
CASES = [(row, "auto") for row in CAPTURED] + [(row, "off") for row in CAPTURED if row.has_host_kernel()]


@pytest.mark.parametrize(("row", "mode"), CASES, ids=lambda part: getattr(part, "name", part))
def test_replays_equal_calls(row: Row, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tt.config, "host_kernels", mode)
    dtypes = {row.dtypes[0], *{"float32", "bfloat16", "int64", "bool"}.intersection(row.dtypes)}
    for dtype in sorted(dtypes):
        for layout in ("packed", "mixed"):
            if row.function in REFUSED:
                with suppress(Refused):
                    check(row, dtype, layout)
            else:
                check(row, dtype, layout)


# In every run: rows whose NumPy code calls C++ kernels for parts of its work, and some of the others.
WITHIN = {"sort", "concat", "stack", "roll", "linear_gelu", "add_layer_norm", "add_rms_norm", "max", "median"}
LARGE = [
    pytest.param(row, id=row.name, marks=() if row.function in WITHIN or i % 25 == 0 else pytest.mark.slow)
    for i, row in enumerate(CAPTURED)
]


def grown(row: Row) -> Row:
    """The row with inputs of some thousand elements, if the call can have them."""
    if any(np.prod(x.shape) >= 512 for x in row.inputs):
        return row
    if row.large:
        return row.enlarged(lambda letter: {"r": 150, "c": 200, "k": 160}.get(letter, 24))
    ndims = [len(x.shape) for x in row.inputs]
    factor = 1000 if ndims == [1] else 40 if max(ndims, default=0) < 3 else 6
    large = row.reshaped(tuple(tuple(n * factor if n > 1 else n for n in x.shape) for x in row.inputs))
    with suppress(tt.ShapeError, tt.IndexRangeError), tt.no_grad():
        large.call(*tensors(large, large.sample(row.main_dtype()), row.main_dtype(), "packed"))
        return large
    return row


@pytest.mark.parametrize("row", LARGE)
def test_replays_of_large_inputs_equal_calls(row: Row) -> None:
    """Copies and sums of 512 elements and more are C++ kernels; those of some more use threads."""
    large = grown(row)
    with suppress(Refused) if row.function in REFUSED else nullcontext():
        for dtype in sorted({row.main_dtype(), row.main_dtype("bfloat16"), row.main_dtype("int64")}):
            check(large, dtype, "packed", replays=4)


Step = Callable[[], Any]


def writing(dtype: str) -> Step:
    """Views and writes, in float32 (fast paths, also in grad mode) and in 16 bits."""
    x, total = tt.ones(3, 4, dtype=dtype), tt.zeros(4, dtype=dtype)

    def step() -> Any:
        fresh = tt.full((4,), 2, dtype=total.dtype)
        fresh += x[1]
        total.add_(fresh)
        total[1:3] = 3
        total[3] = total[2] + x.sum()
        x[:, ::2] *= 2
        x[0].copy_(total)
        x.sub_(tt.ones(4, dtype=x.dtype))
        x[x > 2] = 1
        x[:, [3, 0]] = total[1:3]
        return total * 2 - fresh, x, total

    return step


def made_from_numbers(device: str) -> Step:
    one = tt.ones(2, device=device)

    def step() -> tt.Tensor:
        fresh = tt.tensor([1.0, 2.0], device=device)
        fresh += one
        fresh *= 2.0
        return fresh

    return step


def memory_of_another_library() -> Step:
    array = np.zeros(3, np.float32)
    return lambda: tt.from_numpy(array).add_(1.0)


def across() -> Step:
    a = tt.arange(90_000.0).reshape(300, 300)

    def step() -> Any:
        a.add_(0.5)
        return a.T * 2.0 + 1.0, a.T + tt.ones(300, 1, dtype=tt.float64)

    return step


def of_several_generators(device: str) -> Step:
    x, other = tt.ones(6, device=device), tt.Generator(5)
    return lambda: [
        tt.rand(0, device=device),  # a draw of nothing comes before others
        tt.dropout(x, 0.5),
        tt.rand(3, device=device),
        tt.randn(2, generator=other, device=device),
        tt.randint(0, 9, (4,), device=device),
        tt.uniform(5, generator=other, device=device),
    ]


STEPS: dict[str, tuple[str, Callable[[], Step]]] = {
    **{f"writes in {d}": ("cpu", partial(writing, d)) for d in ("float32", "float64", "bfloat16", "int64")},
    "made from numbers": ("cpu", partial(made_from_numbers, "cpu")),
    "memory of another library": ("cpu", memory_of_another_library),
    "large operands that lie across": ("cpu", across),
    **{f"random numbers on {d}": (d, partial(of_several_generators, d)) for d in DEVICES},
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_goes_on_as_calls_do(name: str) -> None:
    device, make = STEPS[name]
    outcomes = []
    for captured in (False, True):
        run = make()
        tt.manual_seed(2)
        with tt.set_grad_enabled(name == "writes in float32"):
            run = tt.capture(run, device=device, warmup=0).replay if captured else run
        outcomes.append([[t.tolist() for t in as_tuple(run())] for _ in range(3)])
    assert outcomes[0] == outcomes[1]


def test_nothing_is_computed_while_it_is_captured() -> None:
    x = tt.ones(5000)
    graph = replayed(lambda: x.add_(1.0).sum())
    assert x[0].item() == 1.0
    assert graph.replay().item() == 10_000.0
    assert graph.replay().item() == 15_000.0
    assert graph.launches == 2


@pytest.mark.parametrize("device", DEVICES)
def test_a_prologue_runs_before_each_replay(device: str) -> None:
    x, seen = tt.zeros(1, device=device), []

    def step() -> tt.Tensor:
        tt.before_replay(lambda: (seen.append(1), x.copy_(len(seen))))
        return x * 10.0

    graph = replayed(step, device)
    assert not seen
    assert [graph.replay().item() for _ in range(3)] == [10.0, 20.0, 30.0]


@pytest.mark.parametrize("device", DEVICES)
def test_other_threads_compute_as_always(device: str) -> None:
    x, found = tt.ones(3, device=device), []

    def step() -> tt.Tensor:
        found.extend(in_threads(lambda _: ((x + 1.0).tolist(), tt.is_capturing())))
        found.append(tt.is_capturing())
        return x * 3.0

    graph = replayed(step, device)
    assert (found, graph.launches, tt.is_capturing()) == ([([2.0] * 3, False), True], 1, False)
    assert graph.replay().tolist() == [3.0] * 3


def test_two_threads_do_not_replay_a_graph_at_once() -> None:
    x, began, go_on, found = tt.ones(3), threading.Event(), threading.Event(), []

    def wait() -> None:
        began.set()
        assert go_on.wait(60)

    def step() -> tt.Tensor:
        tt.before_replay(wait)
        return x * 3.0

    graph = replayed(step)
    other = threading.Thread(target=lambda: found.append(graph.replay().tolist()))
    other.start()
    assert began.wait(60)
    with pytest.raises(DeviceError, match="replayed already"):
        graph.replay()
    go_on.set()
    other.join()
    assert found == [[3.0] * 3]
    assert graph.replay().tolist() == [3.0] * 3


def test_a_graph_does_not_replay_itself() -> None:
    graphs: list[tt.CapturedGraph] = []

    def step() -> tt.Tensor:
        tt.before_replay(lambda: graphs[0].replay())
        return X + 1.0

    graphs.append(replayed(step))
    for _ in range(2):  # the error leaves nothing behind
        with pytest.raises(DeviceError, match="replayed already"):
            graphs[0].replay()


def test_without_a_device_it_is_where_the_function_works() -> None:
    x, y = tt.ones(2), tt.ones(2, device="emulated")
    with tt.no_grad():
        assert str(tt.capture(lambda: x + 1.0, warmup=1).device) == "cpu"
        assert str(tt.capture(lambda: y + 1.0, warmup=1).device) == "emulated"


def test_arguments_are_checked_without_reading_them_at_the_capture() -> None:
    x, p = tt.arange(5.0), tt.tensor([0.0, 1.0])
    graph = replayed(lambda: (tt.quantile(x, 0.25), tt.quantile(x, [0.5, 1.0]), tt.bernoulli(p)))
    for k in (1.0, 3.0):
        x.copy_(tt.arange(5.0) * k)
        assert [y.tolist() for y in graph.replay()] == [k, [2.0 * k, 4.0 * k], [False, True]]
    p[0] = 1.5
    with pytest.raises(tt.ArgumentError, match=r"bernoulli: values from 1\.0 to 1\.5"):
        graph.replay()
    with pytest.raises(tt.ArgumentError, match=r"shares \[1\.5\]"):
        replayed(lambda: tt.quantile(x, [1.5]))
    with pytest.raises(DeviceError, match=r"quantile(?s:.*)reading(?s:.*)numbers: tt\.quantile"):
        replayed(lambda: tt.quantile(x, p[:1]))


@pytest.mark.parametrize("device", DEVICES)
def test_rounded_parameters_of_a_capture_and_of_others_are_apart(device: str) -> None:
    x, w = tt.ones(2, 3, device=device), tt.ones(3, 2, device=device, requires_grad=True)
    for warmup in (0, 1):
        with tt.autocast(tt.bfloat16):
            graph = tt.capture(lambda: tt.linear(x, w, transposed=False).sum(), device=device, warmup=warmup)
            for value in (2.0, 3.0):
                with tt.no_grad():
                    w.copy_(value)
                assert graph.replay().item() == tt.linear(x, w, transposed=False).sum().item() == value * 12


X = tt.ones(4)
DOUBLE = replayed(lambda: X * 2.0)


@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (lambda: X.sum().item(), "reading a result"),
        (lambda: bool((X > 0).all()), "reading a result"),
        (lambda: (X + 1).tolist(), "reading a result"),
        (lambda: (X + 1).numpy(), "numpy"),
        (lambda: np.asarray(X), "numpy"),
        (lambda: np.from_dlpack(X), "dlpack"),
        (lambda: X[X > 0], "depends on data"),
        (lambda: tt.nonzero(X), "depends on data"),
        (lambda: X.to("emulated"), "a copy to a device"),
        (lambda: X * tt.default_generator.random(), "random"),
        (lambda: X.storage.bump("something unknown"), "the write of something unknown"),
        (lambda: tt.capture(lambda: X + 1, device="cpu", warmup=0), "capturing"),
        (DOUBLE.replay, "replaying a graph"),
    ],
)
def test_what_cannot_be_replayed_is_refused(fn: Any, words: str) -> None:
    generator = tt.default_generator.get_state()
    with pytest.raises(DeviceError, match=rf"{words}(?s:.*)after replay\(\); tt\.where instead of if"):
        replayed(fn)
    with pytest.raises(DeviceError, match="computed nothing"):
        replayed(lambda: X.T)
    assert (X + 1.0).tolist() == [2.0] * 4, "the engine works as before"
    assert tt.default_generator.get_state() == generator


def test_kernels_may_be_in_the_cache_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses() -> None:
        raise tt.errors.KernelError("no compiler", why="a test", fix="none")

    monkeypatch.setattr(chain, "_replay", refuses)
    x = tt.ones(5000)
    graph = replayed(lambda: x.softmax(-1).exp() + 1.0)
    expected = (x.softmax(-1).exp() + 1.0).tolist()
    assert [graph.replay().tolist() for _ in range(12)] == [expected] * 12


@pytest.mark.parametrize("device", DEVICES)
def test_a_replay_that_raised_is_done_again(device: str) -> None:
    """The first replay prepares the later ones, which must not be empty if it fails."""
    x, at = tt.tensor([1.0, 2.0, 3.0], device=device), tt.tensor([5], device=device)
    graph = replayed(lambda: tt.take(x, at) + 1.0, device)
    for _ in range(2):
        with pytest.raises(tt.errors.IndexRangeError):
            graph.replay().tolist()
    at.copy_(2)
    assert graph.replay().tolist() == [4.0]


def test_a_graph_that_failed_cannot_be_replayed() -> None:
    with pytest.raises(ZeroDivisionError):
        replayed(lambda: (X + 1.0, 1 / 0))
    assert (X * 2.0).tolist() == [2.0] * 4


@pytest.mark.parametrize("device", DEVICES)
def test_a_replay_sets_the_gradients_that_the_function_sets(device: str) -> None:
    """Several graphs share parameters; the gradients are those of the one that ran last."""

    def step(x: tt.Tensor, weight: tt.Tensor) -> None:
        v.grad = w.grad = None
        (weight * x).sum().backward()

    x, v, w = [tt.ones(2, device=device, requires_grad=i > 0) for i in range(3)]
    y = tt.full((3, 2), 2.0, device=device)
    first = tt.capture(lambda: step(x, w), device=device)
    second = tt.capture(lambda: step(y, v), device=device)
    for _ in range(2):
        first.replay()
        assert (v.grad, w.grad.tolist()) == (None, [1.0, 1.0])
        second.replay()
        assert (v.grad.tolist(), w.grad) == ([6.0, 6.0], None)
    w.grad = tt.ones(2, device=device)
    with pytest.raises(DeviceError):
        tt.capture(lambda: (step(x, w), w.grad.tolist()), device=device, warmup=0)
    assert w.grad.tolist() == [1.0, 1.0], "a capture that failed has computed no other"


# ---- training steps ----------------------------------------------------------------------------------------


def perceptron(
    make_optimizer: Callable[[Any], Any], device: str = "cpu"
) -> tuple[tt.nn.Module, Any, Callable[[], Any]]:
    """Model, optimizer and training step with dropout and clipping: fixed data and initial weights."""
    tt.manual_seed(3)
    model = tt.nn.Sequential(
        tt.nn.Linear(2, 16), tt.nn.ReLU(), tt.nn.Dropout(0.2), tt.nn.Linear(16, 16), tt.nn.Linear(16, 1)
    ).to(device)
    rng = np.random.default_rng(0)
    x = tt.tensor(rng.standard_normal((40, 2), dtype=np.float32), device=device)
    y = tt.tensor(np.sign(rng.standard_normal((40, 1))).astype(np.float32), device=device)
    optimizer = make_optimizer(model.parameters())

    def step() -> tuple[tt.Tensor, tt.Tensor]:
        loss = (1 - y * model(x).tanh()).relu().mean()
        optimizer.zero_grad()
        loss.backward()
        norm = tt.optim.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        return loss, norm

    return model, optimizer, step


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda p: tt.optim.SGD(p, lr=0.05),
    "momentum": lambda p: tt.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.1, nesterov=True),
    "AdamW": lambda p: tt.optim.AdamW(p, lr=0.01),
    "Adam": lambda p: tt.optim.Adam(p, lr=0.01, weight_decay=0.1),
    "RMSprop": lambda p: tt.optim.RMSprop(p, lr=0.01),
}


@pytest.mark.parametrize("place", ["auto", "off", "emulated"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_captured_training_step_has_the_bits_of_an_eager_one(
    name: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tt.config, "host_kernels", "off" if place == "off" else "auto")
    device, steps = ("emulated", 5) if place == "emulated" else ("cpu", 30)
    outcomes = []
    for captured in (False, True):
        model, optimizer, step = perceptron(OPTIMIZERS[name], device)
        results = [[x.tolist() for x in step()] for _ in range(2)]
        run = tt.capture(step, device=device, warmup=0).replay if captured else step
        for i in range(steps):
            optimizer.param_groups[0]["lr"] *= 0.99  # replays use the current learning rate
            if i == steps // 3:
                tt.manual_seed(8)  # and the current state of the generator
            results.append([x.tolist() for x in run()])
        grads: list[Any] = [p.grad for p in model.parameters()]
        states = [p.tolist() for p in model.parameters()], [g.tolist() for g in grads]
        outcomes.append((results, *states, tt.default_generator.get_state()))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("place", ["first", "last", "outside"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradients_may_be_dropped_anywhere(name: str, place: str) -> None:
    """A captured step moves the parameters that have a gradient in it, and no others."""
    outcomes = []
    for captured in (False, True):
        w, unused = tt.full((3,), 2.0, requires_grad=True), tt.ones(2, requires_grad=True)
        optimizer = OPTIMIZERS[name]([w, unused])

        def step(optimizer: Any = optimizer, w: tt.Tensor = w) -> None:
            if place == "first":
                optimizer.zero_grad()
            w.square().sum().backward()
            optimizer.step()
            if place == "last":
                optimizer.zero_grad()

        unused.square().sum().backward()
        step()
        optimizer.zero_grad()
        run, found = tt.capture(step, device="cpu", warmup=0).replay if captured else step, []
        for _ in range(4):
            run()
            found.append((w.tolist(), unused.tolist(), None if w.grad is None else w.grad.tolist()))
            if place == "outside":
                optimizer.zero_grad()
        states = [
            [v if isinstance(v, int) else v.tolist() for v in s.values()] for s in optimizer.state.values()
        ]
        outcomes.append((found, states))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("name", ["momentum", "AdamW", "RMSprop"])
def test_a_first_step_is_not_captured(name: str) -> None:
    """It makes states, which each replay would make again."""
    _, _, step = perceptron(OPTIMIZERS[name])
    with pytest.raises(DeviceError, match="the first step of a parameter"):
        tt.capture(step, device="cpu", warmup=0)
    step()
    tt.capture(step, device="cpu", warmup=0).replay()


@pytest.mark.skipif(not kernels.usable(), reason="needs a C++ compiler")
def test_a_product_of_bfloat16_is_replayed_without_python(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = tt.ones(4, 8, dtype=tt.bfloat16), tt.full((8, 2), 0.5, dtype=tt.bfloat16)
    graph = replayed(lambda: tt.linear(x, weight, transposed=False))
    assert graph.replay().tolist() == [[4.0, 4.0]] * 4  # the first replay finds the kernels
    monkeypatch.setattr(registry["linear"], "host_bf16", None)
    monkeypatch.setattr(registry["linear"], "host", None)
    monkeypatch.setattr(registry["linear"], "cpu", None)
    x.copy_(3.0)
    assert graph.replay().tolist() == [[12.0, 12.0]] * 4


def test_a_captured_step_reuses_the_memory_of_its_intermediate_results() -> None:
    x = tt.ones(100_000)
    gc.collect()
    before = pool.settle().graphs
    graph = replayed(lambda: chain_of(x, 60))
    assert graph.replay()[0].item() == 1.0 + 60 * 0.5
    assert 0 < pool.settle().graphs - before < 4 * x.nbytes
    del graph
    gc.collect()
    assert pool.settle().graphs == before


def chain_of(x: tt.Tensor, length: int) -> tt.Tensor:
    for _ in range(length):
        x = x + 0.5
    return x


def test_history_of_a_captured_function_ends_with_the_capture() -> None:
    w = tt.ones(4, requires_grad=True)
    graph = tt.capture(lambda: (w * w).sum(), device="cpu", warmup=0)
    with pytest.raises(tt.GradError, match="while a graph was captured"):
        graph.replay().backward()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("n", [4, 10_000])
def test_a_replay_counts_as_a_write_to_what_it_writes_and_makes(n: int, device: str) -> None:
    w, x = tt.ones(n, device=device, requires_grad=True), tt.ones(n, device=device)
    graph = replayed(lambda: (w.mul_(2.0), x * 2.0, tt.zeros(n, device=device).copy_(x)), device)
    version = x.version
    for y in graph.replay():
        loss = (w * y).sum()
        graph.replay()
        with pytest.raises(tt.GradError, match="overwritten by a replay"):
            loss.backward()
    assert x.version == version  # only read


@pytest.mark.parametrize("device", DEVICES)
def test_states_of_generators_that_a_graph_cannot_tell_are_refused(device: str) -> None:
    def twins() -> tuple[tt.Tensor, tt.Tensor]:
        return tt.rand(3, generator=a, device=device), tt.rand(3, generator=b, device=device)

    def again() -> tt.Tensor:
        state = a.get_state()
        x = tt.rand(3, generator=a, device=device)
        a.set_state(state)  # each call draws the same numbers; replays would go on
        return x

    a, b = tt.Generator(5), tt.Generator(5)
    with pytest.raises(DeviceError, match="same state as another generator"):
        tt.capture(twins, device=device, warmup=0)
    with pytest.raises(DeviceError, match="set to another state"):
        tt.capture(again, device=device, warmup=0)
    assert a.get_state() == b.get_state() == {"seed": 5, "offset": 0}


def test_a_token_of_a_llama_is_replayed_without_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """RoPE, RMS norm, shared keys and SwiGLU: after the first replay no NumPy code of these ops runs."""
    config = GPTConfig(
        vocab_size=11, block_size=8, n_layer=2, n_head=4, n_kv_head=2, n_embd=32, bias=False,
        position="rope", norm="rms_norm", activation="swiglu",
    )  # fmt: skip
    model, idx = GPT(config).eval(), tt.tensor([[3]])
    cache, eager = KVCache(config, 1), KVCache(config, 1)
    with tt.no_grad():
        wanted = [model(idx, eager).numpy().copy() for _ in range(4)]
    graph = replayed(lambda: model(idx, cache))
    found = [graph.replay().numpy().copy()]
    for name in ("join", "roll", "add_norm", "cached_self_attention"):
        monkeypatch.setattr(registry[name], "cpu", None)
        monkeypatch.setattr(registry[name], "host", None)
    found += [graph.replay().numpy().copy() for _ in range(3)]
    np.testing.assert_array_equal(found, wanted)
