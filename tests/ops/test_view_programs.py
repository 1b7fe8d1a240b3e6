"""Random programs of views and in-place writes against NumPy's views: values, strides, and who shares memory.

Views may walk backwards. Each variable also has an array of `places`, a view of a counter: which places it
shows says whether it overlaps itself (then writing must raise) and with whom it shares memory.
"""

from itertools import combinations
from random import Random
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests import FULL
from tests.helpers.layouts import read
from tests.helpers.view_programs import BACKWARD_VIEWS, VIEWS, WRITES, Statement, base_shape, draw

Array = np.ndarray[Any, Any]
PROGRAMS = 20_000 if FULL else 1_000
CHUNK = 250
KINDS = VIEWS * 2 + BACKWARD_VIEWS * 3 + WRITES + ("fresh",)


def view_of_array(s: Statement, a: Array) -> list[Array]:
    """What a view statement makes of a NumPy array: views, except where reshape must copy."""
    match s.kind, s.args:
        case (("index" | "index_back"), (key,)):
            return [np.asarray(a[(*key, ...)])]
        case "permute", (axes,):
            return [a.transpose(axes)]
        case "reshape", (shape,):
            return [a.reshape(shape)]
        case "expand", (shape,):
            return [np.broadcast_to(a, shape)]
        case "diagonal", args:
            return [a.diagonal(*args)]
        case "unfold", (axis, size, step):
            windows = np.lib.stride_tricks.sliding_window_view(a, size, axis)
            return [windows[(slice(None),) * axis + (slice(None, None, step),)]]
        case "unsqueeze", (axis,):
            return [np.expand_dims(a, axis)]
        case "squeeze", ():
            return [a.squeeze()]
        case "unbind", (axis,):
            return [a[(slice(None),) * axis + (i, ...)] for i in range(a.shape[axis])]
        case "split", (axis,):
            return np.split(a, [1], axis)
        case "flip", (axes,):
            return [np.flip(a, axes)]
    raise AssertionError(s)


def writeable(view: Array) -> Array:
    """The same view; NumPy marks some of its views read-only."""
    if not view.size:
        return np.empty(view.shape, view.dtype)
    owner: Any = view
    while owner.base is not None:
        owner = owner.base
    return np.ndarray(view.shape, view.dtype, owner, view.ctypes.data - owner.ctypes.data, view.strides)


def view_of_tensor(s: Statement, x: tt.Tensor) -> list[tt.Tensor]:
    """The same, of a tensor."""
    match s.kind, s.args:
        case (("index" | "index_back"), (key,)):
            return [x[key]]
        case "permute", (axes,):
            return [x.permute(axes)]
        case "reshape", (shape,):
            return [x.reshape(shape)]
        case "expand", (shape,):
            return [x.expand(shape)]
        case "unbind", (axis,):
            return list(x.unbind(axis))
        case "split", (axis,):
            return list(x.split([1, x.shape[axis] - 1], axis))
        case kind, args:
            return [getattr(x, kind)(*args)]
    raise AssertionError(s)


def write(kind: str, x: Any, key: Any, operand: Any) -> None:
    """What a writing statement does to a tensor or an array."""
    if kind in ("set", "set_slice"):
        x[key] = operand
    elif kind == "copy_other" and isinstance(x, tt.Tensor):
        x.copy_(operand)
    elif kind == "copy_other":
        x[...] = operand
    elif kind.startswith("add"):
        x += operand
    elif kind.startswith("subtract"):
        x -= operand
    else:
        x *= operand


def step(variables: list[tt.Tensor], s: Statement) -> None:
    """Run a statement on the variables of a program."""
    if s.kind in WRITES:
        operand = variables[s.other] if s.other >= 0 else s.args[-1]
        write(s.kind, variables[s.on], s.args[0] if s.args else (), operand)
    else:
        variables += view_of_tensor(s, variables[s.on])


class Program:
    """Variables as tensors, as NumPy values, and as places in memory."""

    def __init__(self, seed: int) -> None:
        self.rnd = Random(seed)
        self.log: list[str] = []
        self.tensors: list[tt.Tensor] = []
        self.values: list[Array] = []
        self.places: list[Array] = []
        self.used = 0
        self.writes: dict[int, int] = {}  # by id of the storage
        shape = base_shape(self.rnd)
        shape = (*shape, 0) if seed % 20 == 0 else shape
        self.add_fresh(np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float64))

    def add_fresh(self, values: Any) -> None:
        """A variable on memory of its own."""
        self.tensors.append(tt.tensor(values, dtype="float64"))
        self.add_model(np.array(values, order="C"))

    def add_model(self, values: Array, places: Array | None = None) -> None:
        if places is None:
            places = np.arange(self.used, self.used + values.size).reshape(values.shape)
            self.used += values.size
        self.values.append(values)
        self.places.append(places)

    def step(self) -> None:
        """Run one random statement on all three, and compare."""
        s = draw(self.rnd, KINDS, [t.shape for t in self.tensors])
        if s is None:
            return
        self.log.append(str(s))
        if s.kind == "fresh":
            self.add_fresh(np.multiply(self.values[s.on], 2.0))
        elif s.kind in WRITES:
            self.write(s)
        else:
            self.view(s)
        self.compare()

    def view(self, s: Statement) -> None:
        made = view_of_tensor(s, self.tensors[s.on])
        values, places = self.values[s.on], self.places[s.on]
        for x, v, p in zip(made, view_of_array(s, values), view_of_array(s, places), strict=True):
            if v.size and not np.shares_memory(v, values):  # reshape had to copy
                assert x.storage is not self.tensors[s.on].storage, "a view where NumPy copies"
                self.add_model(np.array(v, order="C"))
            else:
                self.add_model(writeable(v), p)
            self.tensors.append(x)

    def write(self, s: Statement) -> None:
        x, a = self.tensors[s.on], self.values[s.on]
        operand = (self.tensors[s.other], self.values[s.other]) if s.other >= 0 else s.args[-1:] * 2
        key = s.args[0] if s.kind in ("set", "set_slice") else ()
        places = self.places[s.on] if s.kind != "set_slice" else self.places[s.on][(*key, ...)]
        if s.kind == "set":
            places = self.places[s.on][key]
        if np.unique(places).size < places.size:
            with pytest.raises(tt.GradError, match="overlaps itself"):
                write(s.kind, x, key, operand[0])
            return
        version = x.version
        write(s.kind, x, key, operand[0])
        assert x.version == version + 1, "one write is one version"
        write(s.kind, a, key, operand[1])

    def compare(self) -> None:
        for x, a in zip(self.tensors, self.values, strict=True):
            assert x.shape == a.shape
            assert x.is_contiguous() == a.flags.c_contiguous
            np.testing.assert_array_equal(read(x), a)

    def finish(self) -> None:
        """Strides where an axis has more than one element, and sharing for every pair."""
        for x, a in zip(self.tensors, self.values, strict=True):
            if a.size:
                steps = [(n, s * 8, t) for n, s, t in zip(a.shape, x.strides, a.strides, strict=True)]
                assert all(ours == theirs for n, ours, theirs in steps if n > 1), (x.strides, a.strides)
        for (x, p), (y, q) in combinations(zip(self.tensors, self.places, strict=True), 2):
            assert x.shares_memory(y) == bool(np.intersect1d(p, q).size)


@pytest.mark.parametrize("start", range(0, PROGRAMS, CHUNK))
def test_programs_of_views_and_writes(start: int) -> None:
    for seed in range(start, start + CHUNK):
        program = Program(seed)
        try:
            for _ in range(program.rnd.randint(4, 14)):
                program.step()
            program.finish()
        except Exception as error:
            error.add_note(f"seed {seed}, base {program.tensors[0].shape}:\n  " + "\n  ".join(program.log))
            raise


def test_programs_use_every_kind_of_statement() -> None:
    seen: set[str] = set()
    for seed in range(200):
        program = Program(seed)
        for _ in range(10):
            program.step()
        seen |= {line.partition("(")[0] for line in program.log}
    assert seen == set(KINDS)
