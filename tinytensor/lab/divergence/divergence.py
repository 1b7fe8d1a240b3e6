"""Compares a program on two devices or dtypes and reports the first wrong op.

Use: `print(lab.divergence(step, "cpu", "emulated"))`.

Outputs of two runs drift apart by rounding alone, and under cancellation by much more than an eps. So each op
is compared with its own NumPy reference on its own inputs, within a rounding tolerance (`tolerance.py`). The
drift between the runs is reported next to it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from types import FrameType
from typing import Any

import numpy as np

from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.dispatch.transfer import values
from tinytensor.dtypes import BY_NAME, DType
from tinytensor.errors import ArgumentError
from tinytensor.events import OfThread, observing
from tinytensor.lab.context import Context
from tinytensor.lab.divergence.reference import (
    Arrays,
    Reference,
    copied,
    each_parameter,
    reference_of,
    rounded,
)
from tinytensor.lab.divergence.tolerance import STEPS, Difference, compare, move
from tinytensor.lab.report import Report, Shown, Table, check_counts
from tinytensor.op import Op, flops_of
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.runtime.user_lines import caller_frame
from tinytensor.tensor import is_tensor


@dataclass(slots=True)
class Step:
    """One op of one run.

    Attributes:
        side: the run, as the argument passed to the program.
        node: in a backward pass, the op whose gradient is computed.
        line: file:line of the user's code; for gradients, of the forward op.
        ins, outs: shapes; None for absent arguments.
        worst: largest deviation from its NumPy reference; None if the reference itself ran.
        drift: largest difference from the same op of the other run, relative to its largest element; None
            if the runs have different numbers of this op.
    """

    number: int
    side: str
    op: str
    device: str
    backward: bool
    node: str
    module: str
    line: str
    ins: tuple[tuple[int, ...] | None, ...]
    outs: tuple[tuple[int, ...] | None, ...]
    dtype: str
    worst: Difference | None
    drift: float | None = None

    @property
    def is_wrong(self) -> bool:
        """Whether a result differs by more than rounding."""
        return self.worst is not None and self.worst.count > 0

    def __str__(self) -> str:
        shapes = " ".join(["×".join(map(str, s)) or "()" for s in self.ins if s is not None])
        where = (
            f"backward of {self.node}, " * bool(self.node) + (self.module and f"{self.module}, ") + self.line
        )
        text = f"{self.op} on {self.device} ({where}): {self.dtype}, inputs {shapes or 'none'}"
        if self.worst is None:
            return text
        w = self.worst
        return (
            f"{text}\n  {w.output}{list(w.index)} is {w.actual:.9g}, its NumPy code gives {w.expected:.9g}: "
            f"difference {w.size:.3g}, rounding explains {w.bound:.3g}; {w.count:,} elements beyond"
        )


@dataclass
class Divergence(Shown):
    """Result of comparing two runs of one program, each the ops in execution order.

    Attributes:
        results: largest relative difference of the tensors that the program returned; None if it returned
            none, infinity where the runs returned different shapes.
    """

    sides: tuple[str, str]
    runs: tuple[list[Step], list[Step]] = field(repr=False)
    results: float | None

    @property
    def wrong(self) -> list[Step]:
        """All ops that differ from their NumPy reference by more than rounding, the earliest first."""
        return sorted([s for run in self.runs for s in run if s.is_wrong], key=lambda s: s.number)

    @property
    def first(self) -> Step | None:
        """The first wrong op, or None."""
        return next(iter(self.wrong), None)

    def report(self) -> Report:
        """The first wrong op, and the ops that drift most, for `lab.page`."""
        a, b = self.sides
        ran, also = map(len, self.runs)
        lines = [f"{ran} op{'' if ran == 1 else 's'} on {a}, {also} on {b}"]
        if self.results is not None:
            lines[0] += f"; results differ by {self.results:.2g} of the largest number"
        first = self.first
        if first is None:
            lines.append("no op differs from its NumPy code by more than rounding")
        else:
            lines.append(f"first wrong op, number {first.number} on {first.side}: {first}")
            if len(self.wrong) > 1:
                lines.append(f"{len(self.wrong)} ops are wrong in all: {_counted(self.wrong)}")
        return Report(f"Ops on {a} and on {b}", ("\n".join(lines), self.table()))

    def table(self, rows: int = 12) -> Table:
        """Table of the `rows` ops with the largest drift between the runs, in execution order."""
        check_counts("table", rows=rows)
        drifted = sorted([s for s in self.runs[1] if s.drift is not None], key=lambda s: -(s.drift or 0.0))
        shown = sorted(drifted[:rows], key=lambda s: s.number)
        lines = [
            (
                s.op,
                f"{s.drift:.2g}",
                "–" if s.worst is None else f"{s.worst.excess:.2g}",
                f"{s.module} {s.line}".strip(),
            )
            for s in shown
        ]
        return Table(("op", "drift", "own / rounding", "where"), "lrrl", lines)


def _counted(steps: list[Step]) -> str:
    count = Counter(s.op for s in steps)
    return ", ".join([f"{op} {n} times" if n > 1 else op for op, n in count.items()])


class _Run(OfThread):
    """Compares the ops of this thread in one run; `other`: the results of the previous run. With `rounds`,
    a reference is rounded to the dtype of the result; otherwise a value that overflows it is a difference.
    """

    def __init__(self, side: str, rounds: bool, other: dict[tuple[str, int], Arrays] | None) -> None:
        super().__init__()
        self.side, self.rounds, self.other = side, rounds, other
        self.steps: list[Step] = []
        self.kept: dict[tuple[str, int], Arrays] = {}
        self.context = Context()
        self._count: Counter[str] = Counter()
        self._inside = False  # an op: those that it calls belong to it

    def results(self, fn: Callable[[Any], Any], given: Any, caller_frame: FrameType | None) -> Arrays:
        """Run the program on this side; returns its results."""
        with observing(self), self.context.listening(caller_frame):
            return _arrays(fn(given))

    def op(self, name: str, device: Any, operands: Any, op: Any, run: Callable[[], Any]) -> Any:
        """Run the op and compare it; a step of several parameters with those of each."""
        if self._inside or op is None or not self.is_ours:
            return run()
        self._inside = True
        try:
            calls = each_parameter(*operands) if name == "adamw" else [operands]
            given = [[copied(x) for x in xs] for xs in calls]
            outs = run()
            for xs, ins in zip(calls, given, strict=True):
                self._compare(op, str(device), xs, ins, [] if name == "adamw" else outs)
            return outs
        finally:
            self._inside = False

    def _compare(self, op: Op, device: str, xs: Sequence[Any], ins: Arrays, made: Sequence[Any]) -> None:
        written = [x if name in op.writes else None for name, x in zip(op.inputs, xs, strict=False)]
        dtypes = [None if t is None else t.dtype for t in (*made, *written)]
        outs: Arrays = [copied(t) for t in (*made, *written)]
        reference = reference_of(op, xs, made, outs)
        place = self.context.place()
        file, line = place.lines[-1] if place.lines else ("?", 0)
        step = Step(
            number=len(self.steps),
            side=self.side,
            op=op.name,
            device=device,
            backward=place.backward,
            node=place.node,
            module="/".join(place.path),
            line=f"{os.path.basename(file)}:{line}",
            ins=tuple(map(_shape, ins)),
            outs=tuple(map(_shape, outs)),
            dtype=next((d.name for d in dtypes if d is not None), ""),
            worst=None if reference is None else judge(op, reference, ins, outs, dtypes, self.rounds),
        )
        self.steps.append(step)
        key = op.name, self._count[op.name]
        self._count[op.name] += 1
        if self.other is None:
            self.kept[key] = outs
        elif key in self.other:
            step.drift = drift(self.other.pop(key), outs)


def judge(
    op: Op, reference: Reference, ins: Arrays, outs: Arrays, dtypes: Sequence[DType | None], rounds: bool
) -> Difference | None:
    """Element of an op's results that exceeds its rounding tolerance the most."""
    again: list[Arrays] = []

    def moved(k: int) -> list[Array]:
        if not again:
            rng = np.random.default_rng(0)
            again.extend([list(reference([move(x, rng) for x in ins])) for _ in range(STEPS)])
        return [y for others in again if (y := others[k]) is not None]

    is_elementwise = op.name == "copy" or isinstance(op, Elementwise)
    work = flops_of(op, [_shape(y) for y in outs], [_shape(x) for x in ins])
    most = max([x.size for x in ins if x is not None], default=1)
    found = []
    names = [*op.outputs, *op.inputs]
    for k, (name, y, wanted, dtype) in enumerate(zip(names, outs, reference(ins), dtypes, strict=False)):
        if y is None or wanted is None or dtype is None:
            continue
        terms = 1.0 if is_elementwise else max(work or 0.0, most) / max(y.size, 1)
        wanted = rounded(wanted, dtype) if rounds else wanted
        found.append(compare(name, y, wanted, dtype, terms, partial(moved, k), is_elementwise))
    return max(found, key=lambda d: (d.count > 0, d.excess), default=None)


def _shape(x: Array | None) -> tuple[int, ...] | None:
    return None if x is None else x.shape


def drift(before: Arrays, now: Arrays) -> float | None:
    """Largest difference between the results of two runs, relative to the largest element."""
    found = []
    for x, y in zip(before, now, strict=False):
        if x is None or y is None or x.shape != y.shape or not prod(x.shape):
            continue
        with np.errstate(all="ignore"):
            a, b = (v.astype(np.complex128 if v.dtype.kind == "c" else np.float64) for v in (x, y))
            size = float(np.abs(a[np.isfinite(a)]).max(initial=0.0))
            apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
            most = float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max())
        found.append(most / size if size else (0.0 if most == 0.0 else float("inf")))
    return max(found, default=None)


def divergence(fn: Callable[[Any], Any], a: Any, b: Any) -> Divergence:
    """Run a program on two devices or in two dtypes and find the first op whose result is wrong.

    Each op of both runs is compared with its NumPy reference on its actual inputs, so errors do not
    accumulate. A result may differ by

        eps(dtype) |y|                           16-bit floats only: y is rounded once at the end
      + 8 sqrt(terms) eps (|y| + change / eps)   eps of float32, or of float64

    where `terms` is the number of summands per element, since rounding errors of random signs grow with its
    square root, and `change` is the change of y if every input changes by one ulp: it is measured, since
    under cancellation an ulp of the inputs is not an ulp of y. Integers and bools must be equal; NaN and
    infinities must be at the same positions. Between two dtypes, a value that overflows its dtype is also
    wrong.

    Args:
        fn: called with a, then with b; creates tensors there, computes, and may call backward and step
            optimizers. Both calls must do the same, for example seed their random numbers.
        a, b: devices such as "cpu" and "emulated", or dtypes such as tt.float32 and "bfloat16".

    Memory: the results of all ops of the first run.
    Accuracy: an error smaller than the bound is not detected; in sums that is about sqrt(terms) ulps of the
        largest term.
    Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, sections 1.5 and 2.8.

    Example:
        >>> from tinytensor import lab
        >>> def program(device):
        ...     x = tt.arange(12, dtype=tt.float32, device=device).reshape(3, 4)
        ...     return tt.softmax(x * 0.1) @ x.T
        >>> d = lab.divergence(program, "cpu", "emulated")
        >>> d.first is None, d.results < 1e-6
        (True, True)
    """
    sides = str(a), str(b)
    if sides[0] == sides[1]:
        raise ArgumentError(
            f"divergence: both runs are on {a}",
            why="there would be nothing to compare",
            fix='divergence(fn, "cpu", "emulated"), or divergence(fn, tt.float32, tt.bfloat16)',
        )
    rounds = sides[0] not in BY_NAME  # for devices; between dtypes an overflow is reported
    here = caller_frame()
    first = _Run(sides[0], rounds, None)
    result_a = first.results(fn, a, here)
    second = _Run(sides[1], rounds, first.kept)
    result_b = second.results(fn, b, here)
    first.kept.clear()
    counts = [Counter(step.op for step in run.steps) for run in (first, second)]
    for step in second.steps:
        if counts[0][step.op] != counts[1][step.op]:  # the ops cannot be matched
            step.drift = None
    if not (first.steps or second.steps or result_a):
        raise ArgumentError(
            "divergence: the program computes nothing",
            why="no op ran on this thread in either call, and no tensor was returned",
            fix="compute inside of fn, and return the result",
        )
    alike = [_shape(y) for y in result_a] == [_shape(y) for y in result_b]
    results = drift(result_a, result_b) if alike else float("inf")
    return Divergence(sides, (first.steps, second.steps), results)


def _arrays(result: Any) -> Arrays:
    """Tensors among the results, as host arrays."""
    several = result if isinstance(result, tuple | list) else [result]
    return [np.array(values(y)) for y in several if is_tensor(y)]
