"""`lab.divergence` names the op where an error was planted, and none where there is none."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from tests.helpers import op_functions as ops
from tests.helpers.cupy_fixtures import cupy, lazy, needs_nvrtc, pretended  # noqa: F401 - fixtures
from tests.helpers.replaced import around
from tinytensor.commands.exercises import EXERCISES
from tinytensor.commands.exercises import run as run_exercise
from tinytensor.errors import ArgumentError
from tinytensor.lab.divergence.divergence import Divergence, divergence, drift
from tinytensor.lab.divergence.tolerance import compare, move
from tinytensor.op import registry


def step_of_a_gpt(device: str, dtype: tt.DType = tt.float32) -> list[tt.Tensor]:
    tt.manual_seed(3)
    config = GPTConfig(vocab_size=37, block_size=12, n_layer=2, n_head=2, n_embd=24, dropout=0.1)
    model = GPT(config).to(device).to(dtype)
    params = list(model.parameters())
    optimizer = tt.optim.AdamW(params, lr=1e-3)
    tokens = tt.arange(3 * 13, device=device).reshape(3, 13) * 7 % 37
    loss = ops.cross_entropy(model(tokens[:, :-1]).reshape(-1, 37), tokens[:, 1:].reshape(-1))
    loss.backward()
    tt.optim.clip_grad_norm_(params, 0.5)
    optimizer.step()
    return [loss, *params]


def plant(monkeypatch: pytest.MonkeyPatch, op: str, change: Callable[..., None]) -> None:
    """Let the kernels of an op be wrong: `change(right, launch, *views)` in their place."""
    around(monkeypatch, op, "cuda", change)


# ---- none --------------------------------------------------------------------------------------------------


def test_a_clean_step_of_a_gpt_has_no_wrong_op() -> None:
    found = divergence(step_of_a_gpt, "cpu", "emulated")
    assert found.first is None, str(found)
    assert found.results is not None
    assert found.results < 1e-2  # AdamW divides by small roots
    ops = {step.op for step in found.runs[1]}
    expected = {"linear", "causal_self_attention", "layer_norm_backward", "adamw", "dropout", "cross_entropy"}
    assert expected <= ops
    assert "no op differs" in str(found)


@pytest.mark.parametrize(
    "exercise",
    [pytest.param(n, marks=[pytest.mark.slow] if i % 3 else []) for i, n in enumerate(EXERCISES)],
)
def test_no_kernel_of_the_engine_is_blamed(exercise: str) -> None:
    """Every kernel, forward and backward, against its NumPy code: within the bound, without exception; in
    `make test` those of every third file.
    """

    def program(device: str) -> list[tt.Tensor]:
        found = [run_exercise(row, device, "float32") for row in EXERCISES[exercise]]
        return [x for results, grads in found for x in (*results, *grads)]

    found = divergence(program, "cpu", "emulated")
    assert found.first is None, str(found)


def test_masks_and_ignored_targets_are_compared() -> None:
    """A device packs the bits of a mask; what it keeps of a row whose target is ignored is never read."""

    def program(device: str) -> list[tt.Tensor]:
        x = (tt.arange(30, dtype=tt.float32, device=device).reshape(5, 6) * 0.1 - 1.0).requires_grad_()
        loss = ops.cross_entropy(x, tt.tensor([0, 3, -100, 5, -100], device=device))
        (x[x > 0.2].sum() + loss).backward()
        assert x.grad is not None
        return [loss, x.grad]

    found = divergence(program, "cpu", "emulated")
    assert found.first is None, str(found)
    assert {"compress", "compress_transpose", "cross_entropy"} <= {step.op for step in found.runs[1]}


def test_bfloat16_beside_float32_only_drifts() -> None:
    found = divergence(lambda dtype: step_of_a_gpt("cpu", dtype), tt.float32, tt.bfloat16)
    assert found.first is None, str(found)
    drifts = [step.drift for step in found.runs[1] if step.drift is not None and not step.backward]
    assert max(drifts) > 2.0**-9  # they differ by bfloat16's rounding


def small_program(device: str) -> list[tt.Tensor]:
    x = tt.arange(32, dtype=tt.float32, device=device).reshape(4, 8).requires_grad_()
    y = tt.softmax(ops.layer_norm(x, tt.ones(8, device=device), tt.zeros(8, device=device)) * 0.5, -1)
    (y @ y.T).sum().backward()
    assert x.grad is not None
    return [y, x.grad]


@needs_nvrtc
def test_the_roads_of_a_gpu_are_watched(lazy: str) -> None:  # noqa: F811 - a fixture: CuPy over the emulator
    found = divergence(small_program, "cpu", lazy)
    assert found.first is None, str(found)
    assert {"layer_norm_backward", "softmax_backward", "matmul"} <= {step.op for step in found.runs[1]}
    assert {step.device for step in found.runs[1]} == {"cuda"}


@pytest.mark.gpu
def test_a_gpu_computes_as_the_cpu_does() -> None:
    for program in (small_program, step_of_a_gpt):
        found = divergence(program, "cpu", "cuda")
        assert found.first is None, str(found)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3)])
def test_empty_tensors_and_those_without_axes(shape: tuple[int, ...]) -> None:
    def program(device: str) -> tt.Tensor:
        x = tt.ones(*shape, device=device, requires_grad=True)
        y = (tt.exp(x) * x).sum()
        y.backward()
        return y

    assert divergence(program, "cpu", "emulated").first is None


# ---- planted -----------------------------------------------------------------------------------------------


def named(found: Divergence) -> tuple[str, bool, str]:
    assert found.first is not None, str(found)
    return found.first.op, found.first.backward, found.first.side


def test_a_wrong_axis_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    right, first = registry["softmax"].cuda, registry["softmax"](axis=0)
    monkeypatch.setattr(registry["softmax"], "cuda", lambda op, *arguments: right(first, *arguments))

    def program(device: str) -> tt.Tensor:
        x = tt.arange(16, dtype=tt.float32, device=device).reshape(4, 4) / 10.0
        y = tt.tanh(x) + 1.0
        return tt.softmax(y, -1) @ y  # here

    found = divergence(program, "cpu", "emulated")
    assert named(found) == ("softmax", False, "emulated")
    first = found.first
    assert first is not None
    file, _, line = first.line.partition(":")
    assert file == "test_divergence.py"
    with open(__file__, encoding="utf-8") as source:
        assert source.readlines()[int(line) - 1].rstrip().endswith("# here")
    assert first.ins == ((4, 4),)
    assert first.worst is not None
    assert first.worst.size > 1e-3 > first.worst.bound
    assert "softmax on emulated" in str(found)
    assert found.wrong == [first]  # what follows computes rightly with what it got


def test_a_small_error_of_a_gradient_is_named_in_a_whole_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """One part in a thousand in one of the gradients of one layer's kind; 200 other ops are right."""

    def scaled(right: Any, launch: Any, dx: Any, dweight: Any, dbias: Any, *ins: Any) -> None:
        right(launch, dx, dweight, dbias, *ins)
        if dweight is not None:
            array = np.empty(dweight.shape, np.float32)
            launch.runtime.copy_out(array, dweight.ptr)
            launch.runtime.copy_in(dweight.ptr, array * np.float32(1.001))

    plant(monkeypatch, "layer_norm_backward", scaled)
    found = divergence(step_of_a_gpt, "cpu", "emulated")
    assert named(found) == ("layer_norm_backward", True, "emulated")
    first = found.first
    assert first is not None
    assert first.worst is not None
    assert first.worst.output == "dweight"
    assert first.worst.size / abs(first.worst.expected) == pytest.approx(1e-3, rel=0.05)
    assert first.node == "layer_norm"
    assert first.module.startswith("GPT/")
    assert {step.op for step in found.wrong} == {"layer_norm_backward"}


def test_hidden_results_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong cache for backward is the fault of forward, though its visible result is right."""

    def forgotten(right: Any, launch: Any, y: Any, mean: Any, rstd: Any, *ins: Any) -> None:
        right(launch, y, mean, rstd, *ins)
        if rstd is not None:
            launch.zero(rstd)

    plant(monkeypatch, "layer_norm", forgotten)

    def program(device: str) -> tt.Tensor:
        x = tt.arange(12, dtype=tt.float32, device=device).reshape(3, 4).requires_grad_()
        return ops.layer_norm(x, tt.ones(4, device=device), tt.zeros(4, device=device)).sum()

    found = divergence(program, "cpu", "emulated")
    assert named(found) == ("layer_norm", False, "emulated")
    assert found.first is not None
    assert found.first.worst is not None
    assert found.first.worst.output == "rstd"


def test_an_error_on_the_cpu_is_named_as_its(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(y: Any, x: Any) -> bool:
        registry["softmax"](axis=1).cpu(y, x)
        y *= np.float32(1.0001)
        return True

    around(monkeypatch, "softmax", "host", lambda right, *arrays: partial(wrong, *arrays))
    found = divergence(lambda device: tt.softmax(tt.ones(64, 64, device=device), -1), "cpu", "emulated")
    assert named(found)[::2] == ("softmax", "cpu")


def test_a_wrong_step_of_adamw_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinytensor.ops.optim import adamw

    right = adamw._step_on_device

    def wrong(launch: Any, params: Any, *rest: Any) -> None:
        right(launch, params, *rest)
        launch.runtime.memset(params[0].storage.buffer.ptr, 0, 4)

    monkeypatch.setattr(adamw, "_step_on_device", wrong)
    found = divergence(step_of_a_gpt, "cpu", "emulated")
    assert named(found) == ("adamw", False, "emulated")


@pytest.mark.parametrize(
    "dtypes", [(tt.float32, tt.float16), ("float32", "float16")], ids=["dtypes", "names"]
)
def test_float16_overflows_where_float32_does_not(dtypes: tuple[Any, Any]) -> None:
    def program(dtype: Any) -> tt.Tensor:
        x = tt.full((3,), 300.0).astype(dtype)
        y = x + 1.0
        return (y * y) * 0.001  # 90,601 is too large for float16

    found = divergence(program, *dtypes)
    assert named(found) == ("multiply", False, "float16")
    assert "inf" in str(found)


def test_integers_must_be_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    def off(right: Any, launch: Any, y: Any, x: Any) -> None:
        right(launch, y, x)
        launch.zero(y)

    plant(monkeypatch, "argmax", off)
    found = divergence(lambda d: tt.argmax(tt.arange(60, device=d).reshape(2, 30), axis=1), "cpu", "emulated")
    assert named(found) == ("argmax", False, "emulated")  # 29 and 0: without a warning of NumPy


# ---- the bound ---------------------------------------------------------------------------------------------


def worst(
    actual: Any, expected: Any, terms: float = 1.0, moved: Any = lambda: [], dtype: Any = tt.float32
) -> Any:
    y, z = np.asarray(actual, np.float32), np.asarray(expected, np.float32)
    return compare("y", y, z, dtype, terms, moved, elementwise=True)


def test_rounding_is_allowed_and_more_is_not() -> None:
    eps = np.finfo(np.float32).eps
    assert worst([1 + eps], [1.0]).count == 0
    assert worst([1 + 20 * eps], [1.0]).count == 1
    assert worst([1 + 20 * eps], [1.0], terms=100).count == 0
    assert worst([1 + 2.0**-8], [1.0], dtype=tt.bfloat16).count == 0
    assert worst([1 + 2.0**-6], [1.0], dtype=tt.bfloat16).count == 1


def test_no_numbers_must_stand_in_the_same_places() -> None:
    assert worst([np.nan, np.inf], [np.nan, np.inf]).count == 0
    for actual, expected in [(np.nan, 1.0), (1.0, np.nan), (np.inf, 1.0), (np.inf, -np.inf)]:
        found = worst([0.0, actual], [0.0, expected])
        assert (found.count, found.index) == (1, (1,))


def test_where_terms_cancel_their_size_counts() -> None:
    """1e6 + 0.01 - 1e6: its rounding is that of 1e6, and an op that loses it is not wrong."""
    x = np.array([1e6 + 0.0625, -1e6], np.float32)
    rng = np.random.default_rng(0)
    moved = [np.asarray(move(x, rng)).sum() for _ in range(3)]
    assert worst(0.0, 0.0625).count == 1
    assert worst(0.0, 0.0625, moved=lambda: moved).count == 0


def test_drift_is_a_share_of_the_largest_number() -> None:
    assert drift([np.array([1.0, 4.0])], [np.array([1.0, 5.0])]) == 0.25
    assert drift([np.zeros(2)], [np.zeros(2)]) == 0.0
    assert drift([np.zeros((0, 3))], [np.zeros((0, 3))]) is None


# ---- calls that make no sense, and order afterwards --------------------------------------------------------


def test_bad_calls() -> None:
    with pytest.raises(ArgumentError, match="both runs are on cpu"):
        divergence(lambda device: tt.ones(2), "cpu", "cpu")
    with pytest.raises(ArgumentError, match="computes nothing"):
        divergence(lambda device: None, "cpu", "emulated")


def test_a_captured_program_runs() -> None:
    """The ops of its warm-up are compared; a capture computes nothing to compare."""

    def program(device: str) -> tt.Tensor:
        x = tt.ones(50, 60, device=device) * 3.0
        with tt.no_grad():
            return tt.capture(lambda: tt.softmax(x, -1).sum(axis=0), device=device).replay()

    found = divergence(program, "cpu", "emulated")
    assert not found.wrong
    for run in found.runs:
        assert [step.op for step in run].count("softmax") >= 1


@pytest.mark.parametrize("sizes", [{"cpu": [3], "emulated": [4]}, {"cpu": [3], "emulated": [3, 3]}])
def test_results_that_do_not_correspond_are_infinitely_apart(sizes) -> None:
    d = divergence(lambda at: [tt.ones(n, device=at) * 2 for n in sizes[at]], "cpu", "emulated")
    assert d.results == float("inf")
    with pytest.raises(ArgumentError, match="rows is 0"):
        d.table(rows=0)
