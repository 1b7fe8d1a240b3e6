"""Generated loops of captured elementwise steps: bits of NumPy, what is left out, what stays apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinytensor as tt
from tinytensor.op import registry
from tinytensor.runtime.cpu import fused
from tinytensor.runtime.cpu import graph as host_graph
from tinytensor.runtime.cpu.fused import formula_of, fuse
from tinytensor.runtime.cpu.library import NATIVE

WITH_FORMULA = [op for op in registry.values() if op.formula]
QUESTIONS = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "isfinite", "isnan"}


@pytest.fixture(autouse=True)
def loops_from_the_second_replay(monkeypatch):
    monkeypatch.setattr(host_graph, "LOOPS_FROM", 2)


def replays_equal(fn, inputs, capfd=None):
    """Capture fn; compare three replays on new numbers, the last two by loops, with calls, bit for bit."""
    rng = np.random.default_rng(0)
    with tt.no_grad():
        graph = tt.capture(fn, device="cpu", warmup=0)
        for _ in range(3):
            for x in inputs:
                x.copy_(tt.tensor(rng.standard_normal(x.shape).astype(x.numpy().dtype)))
            before = [x.clone() for x in inputs]
            expected = [t.numpy().copy() for t in fn()]
            for x, old in zip(inputs, before, strict=True):
                x.copy_(old)
            found = [t.numpy() for t in graph.replay()]
            for a, b in zip(found, expected, strict=True):
                assert a.tobytes() == b.tobytes()
    return graph


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_formula_has_the_bits_of_numpy(dtype):
    assert len(WITH_FORMULA) >= 20
    formulas = []
    for op in WITH_FORMULA:
        kinds = [np.dtype(dtype)] * len(op.inputs)
        if op.name == "where":
            kinds[0] = np.dtype(bool)
        result = np.dtype(bool) if op.name in QUESTIONS else np.dtype(dtype)
        ufunc = op.ufunc
        formulas.append(fused._example((op.formula, ufunc, (result, *kinds))))
    exact = fused._exact_ones(formulas)
    assert [op.name for op, right in zip(WITH_FORMULA, exact, strict=True) if not right] == []


def test_a_wrong_formula_is_noticed():
    a = np.ones(3, np.float32)
    wrong = formula_of("{0} + {1} * 1.0000001f", np.add, a.copy(), [a, a], None, "wrong")
    zeros = formula_of("{0} > 0 ? {0} : -{0}", np.abs, a.copy(), [a], None, "zeros")  # -0.0 for 0.0
    assert fuse([wrong]) == fuse([zeros]) == {}


def test_loops_begin_with_the_names_of_their_ops():
    x, y = tt.ones(8), tt.ones(3)
    graph = tt.capture(lambda: ((x * 2.0 - x).relu(), y.sqrt()), device="cpu", warmup=0)
    lines = graph.source.splitlines()
    assert [line for line in lines if line.startswith("//")] == ["// multiply, subtract, relu", "// sqrt"]
    assert all(
        [lines[i + 1].startswith("static void") for i, line in enumerate(lines) if line.startswith("//")]
    )
    assert tt.capture(lambda: x.exp(), device="cpu", warmup=0).source == ""


def test_layouts_and_broadcasting():
    x, y = tt.ones(6, 5), tt.ones(6, 5, dtype=tt.float64)
    row, column, one = tt.ones(5), tt.ones(6, 1), tt.ones(())
    block = tt.ones(4, 6, 10)

    def step():
        a = x * row + column
        b = (a - one).relu() * 0.5
        c = x.T * 2.0 - column.T
        d = y * y - 1.0
        e = tt.where(x > row, x, column) / 3.0
        f = block[:, ::2, 5:0:-1].transpose(0, 2) + tt.sqrt(block[:, 1::2, 5:].transpose(0, 2).abs())
        return a, b, c, d, e, f

    replays_equal(step, [x, y, row, column, one, block])


def test_in_place_steps_and_overlapping_memory():
    x, y = tt.ones(40), tt.ones(40)

    def step():
        y[1:] = y[:-1] + 0.5  # a view of the result of a step
        x[1:] += x[:-1]  # left to NumPy, which buffers
        x[:] = x.flip(0) * 2.0
        y.mul_(x).sub_(0.25)
        z = y - x
        y.add_(z)
        return x, y, z

    replays_equal(step, [x, y])


def test_a_gradient_step_writes_only_what_lives_on():
    w = tt.ones(50)
    graph = replays_equal(lambda: (w.sub_((w * 2.0 - 1.0) * 0.1),), [w])
    assert sum(" = v" in line and "[" in line.split("=")[0] for line in graph.source.splitlines()) == 1


def test_a_result_is_written_if_anything_may_read_it():
    x, kept = tt.ones(8), []

    def step():
        a = x + 1.0
        b = a * 2.0
        kept.append(b * 3.0)  # the function keeps it
        c = a.sum() + b  # a sum reads it, by no loop
        return (c,)

    with tt.no_grad():
        graph = tt.capture(step, device="cpu", warmup=0)
    for i in range(4):
        x.copy_(float(i))
        assert graph.replay()[0].tolist() == [8 * (i + 1.0) + 2 * (i + 1.0)] * 8
        assert kept[0].tolist() == [6 * (i + 1.0)] * 8


def test_large_arrays_are_shared_by_threads():
    x, row = tt.ones(300, 257), tt.ones(257)
    before = tt.get_num_threads()
    try:
        for threads in (1, 3):
            tt.set_num_threads(threads)
            replays_equal(lambda: (x * 3.0 + x, (x - row).relu()), [x, row])
    finally:
        tt.set_num_threads(before)


def test_empty_arrays_numbers_and_other_dtypes_are_left_to_numpy():
    nothing, counts, flags = tt.ones(0, 3), tt.arange(4), tt.arange(4) > 1
    half = tt.ones(4, dtype=tt.bfloat16)

    def step():
        return nothing + 1.0, counts * 2 + 1, (flags == flags) & flags, (half * 2.0).astype(tt.float32)

    with tt.no_grad():
        graph = tt.capture(step, device="cpu", warmup=0)
    for _ in range(3):
        found = graph.replay()
    assert [t.tolist() for t in found] == [[], [1, 3, 5, 7], [False, False, True, True], [2.0] * 4]
    assert graph.source == ""


def test_without_a_compiler_replays_stay_as_they_are(monkeypatch):
    from tinytensor.errors import KernelError
    from tinytensor.runtime.cpu import chain

    def none(*_):
        raise KernelError("no compiler", why="none", fix="none")

    monkeypatch.setattr(chain, "fuse", none)
    x = tt.ones(5)
    replays_equal(lambda: (x * 2.0 + 1.0,), [x])


STEPS = [
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: a / b,
    lambda a, b: tt.maximum(a, b),
    lambda a, b: tt.where(a < b, a, b),
    lambda a, b: a.relu(),
    lambda a, b: -a,
    lambda a, b: a * 0.5,
    lambda a, b: a.square(),
    lambda a, b: tt.sqrt(a),
    lambda a, b: a.sum() + b,
    lambda a, b: a.mul_(b),
    lambda a, b: a.exp(),
]


def bits(x):
    """The bits of all numbers; nan has no sign."""
    array = x.numpy()
    return np.where(np.isnan(array), np.float32(np.nan), array).tobytes()


@settings(max_examples=12)
@given(st.lists(st.tuples(*[st.integers(0, 99)] * 3), min_size=1, max_size=12), st.integers(0, 3))
def test_programs_have_the_bits_of_calls(program, shape):
    """Random programs over values that live on or not; each is compiled."""
    sizes = [(7,), (3, 5), (), (2, 3, 4)][shape]
    x, y = tt.ones(*sizes), tt.ones(*sizes)

    def step():
        values = [x, y]
        for op, i, j in program:
            values.append(STEPS[op % len(STEPS)](values[i % len(values)], values[j % len(values)]))
        return values[-1]

    rng = np.random.default_rng(len(program))
    with tt.no_grad():
        graph = tt.capture(lambda: (x + 0.0, step())[1], device="cpu", warmup=0)
        for _ in range(3):
            start = [rng.standard_normal(sizes).astype(np.float32) for _ in range(2)]
            outcomes = []
            for run in (step, graph.replay):
                x.copy_(tt.tensor(start[0]))
                y.copy_(tt.tensor(start[1]))
                outcomes.append([bits(run()), bits(x), bits(y)])
            assert outcomes[0] == outcomes[1]


def test_the_loops_are_compiled_without_contraction():
    assert (NATIVE / "loops.cpp").exists()
    a, b = np.float32(1 + 2**-12), np.float32(-(1 + 2**-11))
    x, y = tt.full((4,), float(a)), tt.full((4,), float(b))
    graph = replays_equal(lambda: (x * x + y,), [])
    assert graph.replay()[0].tolist() == [0.0] * 4  # a fused multiply-add would give 2**-24
