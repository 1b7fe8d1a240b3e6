"""How fast are the matrix products of a GPT's training step on the CPU: our kernels, NumPy's BLAS, PyTorch's?

Every product of a step (attention by full squares, as its plain formula has it), with the transposes that
training has, into memory that is there already. Each result is checked against float64 before it is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np

from benchmarks.contest.contest import Plan, Report, Result, number, ratio_text, value_text
from benchmarks.contest.contestants import BenchmarkError, Case, Process, Suite, has_torch
from benchmarks.suites.train import SHAPES, VARIANTS

OURS, NUMPY, TORCH = "tinytensor", "NumPy", "PyTorch"
SAID = ("cpu", "blas", "libraries", "date")  # of the machine, above the table
EPS = {"float32": 2.0**-23, "bfloat16": 2.0**-7}
NAN = 0x7FC0  # of bfloat16
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Work:
    """One kind of product in a step.

    Attributes:
        name: of the layer and the pass.
        rows, inner, columns: (rows, inner) @ (inner, columns).
        ta, tb: whether an operand lies transposed in memory.
        matrices: of a batch; 1: no batch axis.
        count: how often a step has it.
    """

    name: str
    rows: int
    inner: int
    columns: int
    ta: bool = False
    tb: bool = False
    matrices: int = 1
    count: int = 1

    @property
    def flops(self) -> int:
        """Operations of one call."""
        return 2 * self.rows * self.inner * self.columns * self.matrices

    def __str__(self) -> str:
        batch = f"{self.matrices} x " if self.matrices > 1 else ""
        layout = ("T" if self.ta else "N") + ("T" if self.tb else "N")
        return f"{self.name}: {batch}{self.rows} x {self.inner} x {self.columns} {layout}"


def layer(name: str, rows: int, inner: int, columns: int, count: int, tied: bool = False) -> list[Work]:
    """The three products of a linear layer with weight (inner, columns), or, if it is tied, its transpose."""
    to_weight = (columns, rows, inner) if tied else (inner, rows, columns)
    return [
        Work(f"{name} forward", rows, inner, columns, tb=tied, count=count),
        Work(f"{name} dx", rows, columns, inner, tb=not tied, count=count),
        Work(f"{name} dw", *to_weight, ta=True, count=count),
    ]


def products(shape: str) -> list[Work]:
    """All products of one step."""
    sizes, batch = SHAPES[shape]
    n, heads, wide, context, vocabulary = (
        sizes[key] for key in ("n_layer", "n_head", "n_embd", "block_size", "vocab_size")
    )
    tokens, head = batch * context, wide // heads
    squares = {"matrices": batch * heads, "count": n}
    return [
        *layer(f"{shape} qkv", tokens, wide, 3 * wide, n),
        *layer(f"{shape} out", tokens, wide, wide, n),
        *layer(f"{shape} up", tokens, wide, 4 * wide, n),
        *layer(f"{shape} down", tokens, 4 * wide, wide, n),
        *layer(f"{shape} head", tokens, wide, vocabulary, 1, tied=True),
        Work(f"{shape} scores", context, head, context, tb=True, **squares),
        Work(f"{shape} values", context, context, head, **squares),
        Work(f"{shape} dscores", context, head, context, tb=True, **squares),
        Work(f"{shape} dq", context, context, head, **squares),
        Work(f"{shape} dk", context, context, head, ta=True, **squares),
        Work(f"{shape} dv", context, context, head, ta=True, **squares),
    ]


# ---- contestants -------------------------------------------------------------------------------------------


class Operands:
    """The arrays of a product, made when they are first asked for: those of L need a gigabyte together.

    Numbers of bfloat16 are kept as their bits, in uint16.
    """

    def __init__(self, work: Work, dtype: str = "float32") -> None:
        self.work, self.dtype = work, dtype
        self._batch = (work.matrices,) if work.matrices > 1 else ()

    def _draw(self, rows: int, columns: int, lies_transposed: bool, seed: int) -> Array:
        shape = (columns, rows) if lies_transposed else (rows, columns)
        drawn = np.random.default_rng(seed).standard_normal((*self._batch, *shape), dtype=np.float32)
        return drawn if self.dtype == "float32" else as_bits(drawn)

    @cached_property
    def a(self) -> Array:
        """As it lies in memory."""
        return self._draw(self.work.rows, self.work.inner, self.work.ta, 1)

    @cached_property
    def b(self) -> Array:
        """As it lies in memory."""
        return self._draw(self.work.inner, self.work.columns, self.work.tb, 2)

    @cached_property
    def y(self) -> Array:
        """Where the result goes: nan so far."""
        shape = (*self._batch, self.work.rows, self.work.columns)
        return (
            np.full(shape, np.nan, np.float32) if self.dtype == "float32" else np.full(shape, NAN, np.uint16)
        )

    def check(self) -> list[float]:
        """Some numbers of the result. BenchmarkError unless y times a random vector is a times (b times it),
        in float64: a single wrong element would show.
        """
        work = self.work
        a, b = turned(self.a, work.ta), turned(self.b, work.tb)
        v = np.random.default_rng(3).standard_normal((work.columns, 1))
        bound = 64 * EPS[self.dtype] * sqrt(work.inner) * sqrt(work.columns)
        error = np.abs(_by_vector(self.y, v) - _by_vector(a, _by_vector(b, v))).max(initial=0.0)
        if not error <= bound:
            raise BenchmarkError(f"{work}: the result is off by {error:.2e}, allowed are {bound:.2e}")
        sample = np.random.default_rng(4).integers(0, self.y.size, 64)
        return [float(x) for x in wide(self.y.reshape(-1)[sample]) / sqrt(work.inner)]


def turned(x: Array, t: bool) -> Array:
    """With the last two axes swapped, if t says so."""
    return x.swapaxes(-1, -2) if t else x


def as_bits(x: Array) -> Array:
    """float32 numbers as the bits of bfloat16, cut off: the value does not matter here."""
    return (x.view(np.uint32) >> 16).astype(np.uint16)


def wide(x: Array) -> Array:
    """In float64, exactly."""
    if x.dtype == np.uint16:
        x = (x.astype(np.uint32) << 16).view(np.float32)
    return x.astype(np.float64)


def _by_vector(matrix: Array, v: Array) -> Array:
    """matrix @ v in float64, some rows at a time: a copy of L's largest matrix would take 300 MB."""
    made = np.empty((*matrix.shape[:-1], 1))
    for begin in range(0, matrix.shape[-2], 1024):
        rows = slice(begin, begin + 1024)
        made[..., rows, :] = wide(matrix[..., rows, :]) @ v
    return made


def _suite(shape: str, dtype: str, multiply: Callable[[Operands], Any]) -> Suite:
    """A case for each product, which `multiply` computes."""

    def case(x: Operands) -> Case:
        def check() -> list[float]:
            multiply(x)
            return x.check()

        return Case(lambda: multiply(x), check)

    return {str(work): case(Operands(work, dtype)) for work in products(shape)}


def ours(shape: str, dtype: str) -> Suite:
    """Our kernels."""
    from tinytensor.ops.matmul.matmul import kernels

    def multiply(x: Operands) -> None:
        arguments = (x.y, x.a, x.b, x.work.ta, x.work.tb)
        done = (
            kernels.matmul(*arguments, False, True) if dtype == "float32" else kernels.matmul_bf16(*arguments)
        )
        if not done:
            raise BenchmarkError("matmul_cpu: there are no host kernels; the log says why")

    return _suite(shape, dtype, multiply)


def numpy(shape: str, dtype: str) -> Suite:
    """NumPy's BLAS, which has no bfloat16."""
    assert dtype == "float32"
    return _suite(shape, dtype, lambda x: np.matmul(turned(x.a, x.work.ta), turned(x.b, x.work.tb), out=x.y))


def torch(shape: str, dtype: str) -> Suite:
    """PyTorch, which multiplies by MKL and oneDNN or what it was built with."""
    import torch as t

    def tensor(x: Array) -> Any:
        return t.from_numpy(x) if dtype == "float32" else t.from_numpy(x.view(np.int16)).view(t.bfloat16)

    def multiply(x: Operands) -> None:
        a, b = tensor(x.a), tensor(x.b)
        t.matmul(a.mT if x.work.ta else a, b.mT if x.work.tb else b, out=tensor(x.y))

    return _suite(shape, dtype, multiply)


# ---- the contest -------------------------------------------------------------------------------------------


class ProductReport(Report):
    """A report whose table has GFLOP/s."""

    def table(self) -> str:
        """GFLOP/s of each product and how many times as fast ours is: medians of the rounds, quartiles."""
        names = list(self.results[0].rounds[0]) if self.results else []
        rivals = [name for name in names if name != OURS]
        rows = [["GFLOP/s", *names, *(f"{OURS} : {name}" for name in rivals), "clean"]]
        flops = {str(work): work.flops for shape in SHAPES for work in products(shape)}
        for r in self.results:
            speed = [number(flops[r.case.split(", ", 2)[2]] / r.times(n).median / 1e9) for n in names]
            ratios = [ratio_text(vars(r.ratio(OURS, name))) for name in rivals]
            clean = f"{len(r.clean())}/{len(r.rounds)}" + (" noisy" if r.noisy else "")
            rows.append([r.case, *speed, *ratios, clean])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(c.ljust(width) for c, width in zip(row, widths, strict=True)) for row in rows]
        head = [
            f"{self.name}: {self.machine[key]}" if key == "cpu" else str(self.machine[key]) for key in SAID
        ]
        found = [f"{key}: {value_text(value)}" for key, value in self.findings.items()]
        return "\n".join([", ".join(head), "", *(line.rstrip() for line in lines), "", *found])


def run(
    rounds: Plan,
    *,
    shapes: Sequence[str] = tuple(SHAPES),
    variants: Sequence[str] = tuple(VARIANTS),
    dtype: str = "float32",
    alone: bool = False,
    only: str = "",
) -> ProductReport:
    """Measure all products, one after the other: contestants take turns at each.

    Args:
        rounds: rounds and windows.
        shapes: keys of SHAPES.
        variants: keys of VARIANTS.
        dtype: of operands and results; "bfloat16" has sums in float32, and NumPy does not take part.
        alone: without PyTorch, also where it is installed.
        only: products whose name contains it.
    """
    report = ProductReport("matmul-cpu", NUMPY if dtype == "float32" else TORCH)
    if dtype not in EPS:
        raise BenchmarkError(f"matmul_cpu: dtype {dtype!r} is none of {', '.join(EPS)}")
    suites = {OURS: "ours"} | ({NUMPY: "numpy"} if dtype == "float32" else {})
    suites |= {} if alone or not has_torch() else {TORCH: "torch"}
    agreeing = replace(rounds, rtol=1e-4 + 2 * EPS[dtype], atol=1e-5)
    for variant in variants:
        for shape in shapes:
            arguments = {"shape": shape, "dtype": dtype}
            with ExitStack() as stack:
                everyone = {
                    name: stack.enter_context(
                        Process(f"benchmarks.suites.matmul_cpu:{suite}", arguments, **VARIANTS[variant])
                    )
                    for name, suite in suites.items()
                }
                works = [work for work in products(shape) if only in work.name]
                for work in works:
                    report.compete(everyone, agreeing, cases=[str(work)], label=f"{dtype}, {variant}, {{}}")
            if works:
                report.findings[f"{shape}, {dtype}, {variant}"] = totals(report.results[-len(works) :], works)
    return report


def totals(results: Sequence[Result], works: Sequence[Work]) -> dict[str, Any]:
    """Milliseconds that all products of a step take, and how many times as fast ours are."""
    names = list(results[0].rounds[0])
    took = {
        name: sum(r.times(name).median * w.count for r, w in zip(results, works, strict=True))
        for name in names
    }
    found: dict[str, Any] = {f"{name} ms": round(seconds * 1e3, 2) for name, seconds in took.items()}
    return found | {f"{OURS} : {name}": round(took[name] / took[OURS], 3) for name in names if name != OURS}
