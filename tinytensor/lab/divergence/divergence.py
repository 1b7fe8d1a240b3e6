"""Where do two devices, or two dtypes, part? The same program runs on both, and the first op that is wrong is
named: `print(lab.divergence(step, "cpu", "emulated"))`.

Outputs of two runs drift apart by rounding alone, and where terms cancel by much more than an eps. So no op
is blamed for what it was given: each is held against what its own NumPy code gives for its own inputs, and
may differ by what rounding explains (`rounding.py`). How far the runs have drifted apart is told beside it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import numpy as np

from tinytensor.dispatch.transfer import values
from tinytensor.dtypes import BY_NAME
from tinytensor.errors import ArgumentError
from tinytensor.flops import flops_of
from tinytensor.lab.divergence.op_capture import Seen, watching
from tinytensor.lab.divergence.reference import Arrays, rounded
from tinytensor.lab.divergence.tolerance import STEPS, Difference, compare, move
from tinytensor.lab.html import preformatted
from tinytensor.lab.patching import opener
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.tensor import is_tensor

__all__ = ["Divergence", "Step", "divergence"]


@dataclass(slots=True)
class Step:
    """One op of one run.

    Attributes:
        number: in the run, from 0 on.
        side: the run: what the program was given.
        op, device: what ran where.
        backward: whether in a backward pass.
        node: there, the op whose gradient it is part of.
        module: the modules around it, such as GPT/h.0/attn.
        line: file:line of the user's code; of a gradient that of its forward.
        ins, outs: shapes; None for what was not there.
        dtype: of its first result.
        worst: where its results are furthest from those of its NumPy code; None where that is what ran.
        drift: largest difference to the same op of the other run, as a share of its largest number; None
            where the runs have not equally many of it.
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
class Divergence:
    """What two runs of one program showed.

    Attributes:
        sides: what the program was given.
        runs: the ops of each run, in their order.
        results: largest relative difference of the tensors that the program returned; None if there are none,
            infinity where the runs returned different shapes.
    """

    sides: tuple[str, str]
    runs: tuple[list[Step], list[Step]] = field(repr=False)
    results: float | None

    @property
    def wrong(self) -> list[Step]:
        """All ops that differ from their NumPy code by more than rounding, the earliest first."""
        return sorted([s for run in self.runs for s in run if s.is_wrong], key=lambda s: s.number)

    @property
    def first(self) -> Step | None:
        """The first of them; None if there is none."""
        return next(iter(self.wrong), None)

    def __str__(self) -> str:
        a, b = self.sides
        ran, also = map(len, self.runs)
        counts = f"{ran} op{'' if ran == 1 else 's'} on {a}, {also} on {b}"
        results = (
            "" if self.results is None else f"; results differ by {self.results:.2g} of the largest number"
        )
        lines = [f"{counts}{results}"]
        first = self.first
        if first is None:
            lines.append("no op differs from its NumPy code by more than rounding")
        else:
            lines.append(f"first wrong op, number {first.number} on {first.side}: {first}")
            if len(self.wrong) > 1:
                lines.append(f"{len(self.wrong)} ops are wrong in all: {_counted(self.wrong)}")
        return "\n".join([*lines, "", self.table()])

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return preformatted(str(self))

    def table(self, rows: int = 12) -> str:
        """The ops with the largest drift between the runs, in their order.

        Args:
            rows: how many.

        Returns:
            Lines of text.

        Raises:
            ArgumentError: rows is below 1.
        """
        if rows < 1:
            raise ArgumentError(
                f"table: rows is {rows}", why="it is a count", fix="for example table(rows=10)"
            )
        drifted = [s for s in self.runs[1] if s.drift is not None]
        shown = sorted(sorted(drifted, key=lambda s: -(s.drift or 0.0))[:rows], key=lambda s: s.number)
        lines = [f"{'op':<28} {'drift':>9} {'own / rounding':>15}  where"]
        for s in shown:
            own = "–" if s.worst is None else f"{s.worst.excess:.2g}"
            where = f"{s.module} {s.line}".strip()
            lines.append(f"{s.op:<28} {s.drift or 0.0:>9.2g} {own:>15}  {where}")
        return "\n".join(lines)


def _counted(steps: list[Step]) -> str:
    count = Counter(s.op for s in steps)
    return ", ".join([f"{op} {n} times" if n > 1 else op for op, n in count.items()])


class _Run:
    """Collects the steps of one run; `other` are results of the run before."""

    def __init__(self, side: str, rounds: bool, other: dict[tuple[str, int], Arrays] | None) -> None:
        self.side, self.rounds, self.other = side, rounds, other
        self.steps: list[Step] = []
        self.kept: dict[tuple[str, int], Arrays] = {}
        self._count: Counter[str] = Counter()

    def see(self, seen: Seen) -> None:
        """Called behind each op."""
        key = seen.op, self._count[seen.op]
        self._count[seen.op] += 1
        place = seen.place
        file, line = place.lines[-1] if place.lines else ("?", 0)
        step = Step(
            number=len(self.steps),
            side=self.side,
            op=seen.op,
            device=seen.device,
            backward=place.backward,
            node=place.node,
            module="/".join(place.path),
            line=f"{os.path.basename(file)}:{line}",
            ins=tuple([None if x is None else x.shape for x in seen.ins]),
            outs=tuple([None if y is None else y.shape for y in seen.outs]),
            dtype=next((d.name for d in seen.dtypes if d is not None), ""),
            worst=judge(seen, self.rounds),
        )
        self.steps.append(step)
        if self.other is None:
            self.kept[key] = seen.outs
        elif key in self.other:
            step.drift = drift(self.other.pop(key), seen.outs)


def judge(seen: Seen, rounds: bool) -> Difference | None:
    """The place where the results of an op are furthest beyond what rounding explains.

    Args:
        seen: the op.
        rounds: round what the NumPy code gives to the dtype of the result; else a number that is too large
            for it counts as a difference.
    """
    spec = seen.spec
    if spec is None:
        return None
    expected = spec(seen.ins)
    again: list[Arrays] = []

    def moved(k: int) -> list[Array]:
        if not again:
            rng = np.random.default_rng(0)
            again.extend([list(spec([move(x, rng) for x in seen.ins])) for _ in range(STEPS)])
        return [y for others in again if (y := others[k]) is not None]

    work = flops_of(seen.op, [_shape(y) for y in seen.outs], [_shape(x) for x in seen.ins], seen.params)
    most = max([x.size for x in seen.ins if x is not None], default=1)
    found = []
    for k, (name, y, wanted, dtype) in enumerate(
        zip(seen.names, seen.outs, expected, seen.dtypes, strict=False)
    ):
        if y is None or wanted is None or dtype is None:
            continue
        terms = 1.0 if seen.elementwise else max(work or 0.0, most) / max(y.size, 1)
        reference = rounded(wanted, dtype) if rounds else wanted
        found.append(compare(name, y, reference, dtype, terms, partial(moved, k), seen.elementwise))
    return max(found, key=lambda d: (d.count > 0, d.excess), default=None)


def _shape(x: Array | None) -> tuple[int, ...] | None:
    return None if x is None else x.shape


def drift(before: Arrays, now: Arrays) -> float | None:
    """Largest difference of two runs' results, as a share of the largest number."""
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
    """Run a program on two devices, or in two dtypes, and name the first op whose result is wrong.

    Each op of both runs is compared with its NumPy code on the very inputs that it had, so nothing adds up.
    A result may differ by

        eps(dtype) |y|                           16-bit floats only: y is rounded once at the end
      + 8 sqrt(terms) eps (|y| + change / eps)   eps of float32, or of float64

    where `terms` is the number of terms that are added up for one element, since rounding errors of random
    signs grow with the root, and `change` is how far y moves if every input moves by one unit of its last
    place: measured, for where large terms cancel, these units are not those of y. Integers and bools must be
    equal; NaN and infinities must stand in the same places. Between two dtypes a number that is too large for
    its dtype counts as wrong, too.

    Args:
        fn: called with a, then with b; builds tensors of any shapes there, computes, and may call backward
            and step optimizers. Both calls must do the same: draw from a seed of their own, for example.
        a, b: devices such as "cpu" and "emulated", or dtypes such as tt.float32 and "bfloat16".

    Returns:
        What was found; print it, or look at `first`.

    Raises:
        ArgumentError: a and b are the same, or the program computes nothing.

    Memory: the results of all ops of the first run.
    Accuracy: an error smaller than the bound is not seen; in sums that is about sqrt(terms) units of the
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
    rounds = sides[0] not in BY_NAME  # on devices; between dtypes what is too large for one is seen
    here = opener()
    first = _Run(sides[0], rounds, None)
    with watching(first.see, here):
        result_a = _arrays(fn(a))
    second = _Run(sides[1], rounds, first.kept)
    with watching(second.see, here):
        result_b = _arrays(fn(b))
    first.kept.clear()
    counts = [Counter(step.op for step in run.steps) for run in (first, second)]
    for step in second.steps:
        if counts[0][step.op] != counts[1][step.op]:  # who knows which belongs to which
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
    """The tensors among the results, on the host."""
    several = result if isinstance(result, tuple | list) else [result]
    return [np.array(values(y)) for y in several if is_tensor(y)]
