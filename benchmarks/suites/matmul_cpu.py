"""Matrix products of a GPT training step on the CPU: tinytensor's kernels, NumPy's BLAS and PyTorch.

Every product of a step (attention with full score matrices), with the transposes that occur in training, into
preallocated memory. Each result is checked against float64 before it is timed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np

from benchmarks.contest.contest import Plan, Report, Result
from benchmarks.contest.contestants import BenchmarkError, Case, Process, Suite, installed, together
from benchmarks.suites.train import SHAPES, VARIANTS

OURS, NUMPY, TORCH = "tinytensor", "NumPy", "PyTorch"
EPS = {"float32": 2.0**-23, "bfloat16": 2.0**-7}
NAN = 0x7FC0  # of bfloat16
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Work:
    """One product shape of a step.

    Attributes:
        name: layer and pass.
        rows, inner, columns: (rows, inner) @ (inner, columns).
        ta, tb: whether an operand is transposed in memory.
        matrices: batch size; 1: no batch axis.
        count: occurrences per step.
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
        """Floating-point operations per call."""
        return 2 * self.rows * self.inner * self.columns * self.matrices

    def __str__(self) -> str:
        batch = f"{self.matrices} x " if self.matrices > 1 else ""
        layout = ("T" if self.ta else "N") + ("T" if self.tb else "N")
        return f"{self.name}: {batch}{self.rows} x {self.inner} x {self.columns} {layout}"


def layer(name: str, rows: int, inner: int, columns: int, count: int, tied: bool = False) -> list[Work]:
    """The three products of a linear layer with weight (inner, columns), or its transpose if tied."""
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
    """Arrays of a product, allocated on first use: all of L's together need a gigabyte.

    bfloat16 values are stored as their bits, in uint16.
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
        """Operand in its memory layout."""
        return self._draw(self.work.rows, self.work.inner, self.work.ta, 1)

    @cached_property
    def b(self) -> Array:
        """Operand in its memory layout."""
        return self._draw(self.work.inner, self.work.columns, self.work.tb, 2)

    @cached_property
    def y(self) -> Array:
        """Result buffer, initialized to nan."""
        shape = (*self._batch, self.work.rows, self.work.columns)
        return (
            np.full(shape, np.nan, np.float32) if self.dtype == "float32" else np.full(shape, NAN, np.uint16)
        )

    def check(self) -> list[float]:
        """Sample of the result's elements. BenchmarkError unless y @ v equals a @ (b @ v) for a random vector
        v in float64, which detects a single wrong element.
        """
        work = self.work
        a, b = turned(self.a, work.ta), turned(self.b, work.tb)
        v = np.random.default_rng(3).standard_normal((work.columns, 1))
        bound = 64 * EPS[self.dtype] * sqrt(work.inner) * sqrt(work.columns)
        error = np.abs(_by_vector(self.y, v) - _by_vector(a, _by_vector(b, v))).max(initial=0.0)
        if not error <= bound:
            raise BenchmarkError(f"{work}: the result is off by {error:.2e}, allowed is {bound:.2e}")
        sample = np.random.default_rng(4).integers(0, self.y.size, 64)
        return [float(x) for x in wide(self.y.reshape(-1)[sample]) / sqrt(work.inner)]


def turned(x: Array, t: bool) -> Array:
    """Swap the last two axes if t is true."""
    return x.swapaxes(-1, -2) if t else x


def as_bits(x: Array) -> Array:
    """float32 values truncated to bfloat16 bits: rounding does not matter here."""
    return (x.view(np.uint32) >> 16).astype(np.uint16)


def wide(x: Array) -> Array:
    """Exact conversion to float64."""
    if x.dtype == np.uint16:
        x = (x.astype(np.uint32) << 16).view(np.float32)
    return x.astype(np.float64)


def _by_vector(matrix: Array, v: Array) -> Array:
    """matrix @ v in float64, by blocks of rows: a copy of L's largest matrix would take 300 MB."""
    made = np.empty((*matrix.shape[:-1], 1))
    for begin in range(0, matrix.shape[-2], 1024):
        rows = slice(begin, begin + 1024)
        made[..., rows, :] = wide(matrix[..., rows, :]) @ v
    return made


def _suite(shape: str, dtype: str, multiply: Callable[[Operands], Any]) -> Suite:
    """Suite with a case per product, computed by `multiply`."""

    def case(x: Operands) -> Case:
        def check() -> list[float]:
            multiply(x)
            return x.check()

        return Case(lambda: multiply(x), check)

    return {str(work): case(Operands(work, dtype)) for work in products(shape)}


def ours(shape: str, dtype: str) -> Suite:
    """tinytensor's kernels."""
    from tinytensor.ops.matmul.matmul import kernels

    def multiply(x: Operands) -> None:
        arguments = (x.y, x.a, x.b, x.work.ta, x.work.tb)
        done = (
            kernels.matmul(*arguments, False, True) if dtype == "float32" else kernels.matmul_bf16(*arguments)
        )
        if not done:
            raise BenchmarkError("matmul_cpu: C++ kernels are not available; see the log for the reason")

    return _suite(shape, dtype, multiply)


def numpy(shape: str, dtype: str) -> Suite:
    """NumPy's BLAS, which has no bfloat16."""
    assert dtype == "float32"
    return _suite(shape, dtype, lambda x: np.matmul(turned(x.a, x.work.ta), turned(x.b, x.work.tb), out=x.y))


def torch(shape: str, dtype: str) -> Suite:
    """PyTorch, with MKL, oneDNN or the library it was built with."""
    import torch as t

    def tensor(x: Array) -> Any:
        return t.from_numpy(x) if dtype == "float32" else t.from_numpy(x.view(np.int16)).view(t.bfloat16)

    def multiply(x: Operands) -> None:
        a, b = tensor(x.a), tensor(x.b)
        t.matmul(a.mT if x.work.ta else a, b.mT if x.work.tb else b, out=tensor(x.y))

    return _suite(shape, dtype, multiply)


# ---- the contest -------------------------------------------------------------------------------------------


def run(
    rounds: Plan,
    *,
    shapes: Sequence[str] = tuple(SHAPES),
    variants: Sequence[str] = tuple(VARIANTS),
    dtype: str = "float32",
    alone: bool = False,
    only: str = "",
) -> Report:
    """Measure all products, in interleaved rounds per product."""
    report = Report("matmul-cpu", NUMPY if dtype == "float32" else TORCH)
    if dtype not in EPS:
        raise BenchmarkError(f"matmul_cpu: dtype {dtype!r} is none of {', '.join(EPS)}")
    suites = {OURS: "ours"} | ({NUMPY: "numpy"} if dtype == "float32" else {})
    suites |= {} if alone or not installed("torch") else {TORCH: "torch"}
    agreeing = replace(rounds, rtol=1e-4 + 2 * EPS[dtype], atol=1e-5)
    for variant in variants:
        for shape in shapes:
            arguments = {"shape": shape, "dtype": dtype}
            processes = {
                name: Process(f"{__name__}:{suite}", arguments, **VARIANTS[variant])
                for name, suite in suites.items()
            }
            works = [work for work in products(shape) if only in work.name]
            with together(processes) as everyone:
                for work in works:
                    report.compete(everyone, agreeing, cases=[str(work)], label=f"{dtype}, {variant}, {{}}")
            if works:
                report.findings[f"{shape}, {dtype}, {variant}"] = totals(report.results[-len(works) :], works)
    return report


def totals(results: Sequence[Result], works: Sequence[Work]) -> dict[str, Any]:
    """Milliseconds of all products of a step, and our speedups."""
    names = list(results[0].rounds[0])
    took = {
        name: sum(r.times(name).median * w.count for r, w in zip(results, works, strict=True))
        for name in names
    }
    found: dict[str, Any] = {f"{name} ms": round(seconds * 1e3, 2) for name, seconds in took.items()}
    gigaflop = sum(w.flops * w.count for w in works) / 1e9
    found |= {f"{name} GFLOP/s": round(gigaflop / seconds, 1) for name, seconds in took.items()}
    return found | {f"{OURS} : {name}": round(took[name] / took[OURS], 3) for name in names if name != OURS}
