"""Puzzle: a text, shapes, a reference and limits; and its problem, which the judge runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from tinytensor.dtypes import DType, as_dtype
from tinytensor.op_table.row import rounded
from tinytensor.puzzles import references
from tinytensor.puzzles.problem import TOLERANCES, Array, Case, Limits, Problem, least_bytes
from tinytensor.puzzles.program import evaluate, read

START = Path(__file__).parent / "start"
Draw = Callable[[np.random.Generator, tuple[int, ...], Mapping[str, int]], Any]
_TENSOR = re.compile(r"\s*(?:(\w+) )?(\w+)\[([^\]]*)\]\s*")


@dataclass(frozen=True)
class Tensor:
    """A tensor of a signature: its dtype, "" for the dtype under test, and an expression of its shape."""

    name: str
    dtype: str
    axes: tuple[str, ...]


def tensors_of(text: str) -> tuple[Tensor, ...]:
    """Tensors of one side of a signature.

    Example:
        >>> [t.name for t in tensors_of("x[m, n], int32 index[m]")]
        ['x', 'index']
    """
    found = []
    if not text.strip():
        return ()
    for part in re.split(r",(?![^\[]*\])", text):
        match = _TENSOR.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is no tensor such as `int32 x[m, n]`")
        axes = tuple(axis.strip() for axis in match[3].split(",") if axis.strip())
        found.append(Tensor(match[2], match[1] or "", axes))
    return tuple(found)


@dataclass(frozen=True)
class Puzzle:
    """One puzzle about kernels; its start file is `start/NN_name.cu`.

    Attributes:
        name, title: of the file, and for people.
        text: what to do, and what can be learned from it.
        signature: outputs <- inputs, with shapes: "y[m] <- x[m, n], int32 i[m]". Tensors without a dtype
            have the one under test. A name on both sides is overwritten. In "x[...]" a case is the shape.
        reference: the outputs as a NumPy expression of the inputs, numbers and sizes; floats are float64.
        sizes: names of the sizes, "m n"; "" if a case is a shape.
        cases: values of the sizes, for results.
        measured: for the cost.
        picture: see picture.py.
        hints: two.
        limits: of the cost.
        needs: words that the kernels must use.
        fixed: whether the launch is that of the start file.
        dtypes: under test; with several, kernels are templates.
        draw: how inputs are drawn, by name; default: floats in [-1, 1), integers in [-100, 100).
        numbers: scalars by name.
        floor: the least bytes, an expression of the sizes; "": each input read, each output written once.
        tolerance: factor on the tolerance.
    """

    name: str
    title: str
    text: str
    signature: str
    reference: str
    _: KW_ONLY
    sizes: str
    cases: tuple[tuple[int, ...], ...]
    measured: tuple[int, ...] = ()
    picture: str
    hints: tuple[str, str]
    limits: Limits = field(default_factory=Limits)
    needs: tuple[str, ...] = ()
    fixed: bool = False
    dtypes: tuple[str, ...] = ("float32",)
    draw: Mapping[str, Draw] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    floor: str = ""
    tolerance: float = 1.0

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Tensors on the left of the signature."""
        return tensors_of(self.signature.partition("<-")[0])

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Tensors on the right of the signature."""
        return tensors_of(self.signature.partition("<-")[2])

    def case(self, dtype: DType, values: tuple[int, ...], seed: int) -> Case:
        """Inputs of these sizes, drawn from a seed, and what the reference makes of them."""
        sizes = dict(zip(self.sizes.split(), values, strict=bool(self.sizes)))
        rng = np.random.default_rng([crc32(f"{self.name} {values}".encode()), seed])
        shapes = {
            t.name: values if t.axes == ("...",) else tuple(evaluate(axis, sizes)[0] for axis in t.axes)
            for t in (*self.outputs, *self.inputs)
        }
        inputs = {t.name: self._drawn(t, dtype, shapes[t.name], sizes, rng) for t in self.inputs}
        results = self.results({name: drawn for name, (drawn, _) in inputs.items()}, sizes)
        outputs = {
            t.name: (np.broadcast_to(y, shapes[t.name]), as_dtype(t.dtype or dtype))
            for t, y in zip(self.outputs, results, strict=True)
        }
        floor = evaluate(self.floor, sizes)[0] if self.floor else least_bytes(inputs, outputs)
        return Case(dtype, sizes, self.numbers, inputs, outputs, floor)

    def results(self, arrays: Mapping[str, Array], sizes: Mapping[str, int]) -> tuple[Array, ...]:
        """Results of the reference for inputs."""
        copies = {name: values.copy() for name, values in arrays.items()}
        with np.errstate(all="ignore"):
            found = eval(self.reference, {"np": np, **vars(references), **copies, **self.numbers, **sizes})
        return found if isinstance(found, tuple) else (found,)

    def _drawn(
        self,
        tensor: Tensor,
        dtype: DType,
        shape: tuple[int, ...],
        sizes: Mapping[str, int],
        rng: np.random.Generator,
    ) -> tuple[Array, DType]:
        dtype = as_dtype(tensor.dtype or dtype)
        if tensor.name in self.draw:
            values = np.asarray(self.draw[tensor.name](rng, shape, sizes))
        elif dtype.name in TOLERANCES:
            values = rng.uniform(-1, 1, shape)
        else:
            values = rng.integers(-100, 100, shape)
        return rounded(values, dtype.name), dtype

    def _cases(self, dtype: DType, seed: int) -> Iterator[Case]:
        return (self.case(dtype, values, seed) for values in self.cases)

    def problem(self, number: int) -> Problem:
        """The problem that the judge runs; `number` is the puzzle's position in the catalogue."""
        start = read(self.start(number))
        return Problem(
            title=f"puzzle {number}, {self.title}",
            outputs=tuple(t.name for t in self.outputs),
            inputs=tuple(t.name for t in self.inputs),
            dtypes=self.dtypes,
            cases=self._cases,
            measured=lambda dtype, seed: self.case(dtype, self.measured, seed),
            limits=self.limits,
            needs=self.needs + (("template",) if len(self.dtypes) > 1 else ()),
            launches=tuple((step.grid, step.block) for step in start.steps) if self.fixed else None,
            tolerance=self.tolerance,
        )

    def file_name(self, number: int) -> str:
        """Name of the learner's file."""
        return f"{number:02d}_{self.name}.cu"

    def start(self, number: int) -> Path:
        """Path of the file that the learner begins with."""
        return START / self.file_name(number)

    def start_text(self, number: int) -> str:
        """The file that the learner begins with."""
        return self.start(number).read_text(encoding="utf-8")
