"""String, HTML and memory-diagram representations of tensors: `print(x)`, `x.explain()`, notebooks.

Diagrams come from `lab`, which is imported on first use, so that training programs do not load it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytensor.device import cpu
from tinytensor.dispatch.record import requires
from tinytensor.dispatch.transfer import values
from tinytensor.errors import ArgumentError, GradError
from tinytensor.layout import Layout
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.shapes import as_int
from tinytensor.tensor import Tensor, wrap
from tinytensor.transforms.gradients import node_of

__all__ = ["set_printoptions"]

if TYPE_CHECKING:
    from tinytensor.lab.explain.explanation import Explanation


@dataclass(slots=True)
class _Options:
    precision: int = 4
    threshold: int = 50  # tensors with at most this many elements are printed in full
    edgeitems: int = 3
    linewidth: int = 75
    sci_mode: bool = False


_shown = _Options()


def set_printoptions(
    precision: int | None = None,
    threshold: int | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed; options that are None stay as they are.

    Args:
        precision: digits behind the point; at first 4.
        threshold: elements of the largest tensor of which all are printed; at first 50.
        edgeitems: elements printed at both ends of the axes of larger tensors; at first 3.
        linewidth: characters in a line; at first 75.
        sci_mode: print every float with an exponent; at first False: none.

    Raises:
        ArgumentError: a number is negative.

    >>> tt.set_printoptions(precision=2)
    >>> tt.tensor([0.12345])
    tensor([0.12])
    >>> tt.set_printoptions(precision=4)
    """
    numbers = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    given = {name: as_int(n, "set_printoptions", name) for name, n in numbers.items() if n is not None}
    for name, n in given.items():
        if n < 0:
            raise ArgumentError(f"set_printoptions: {name} is {n}", why="it is a count", fix="0 or more")
    for name, n in given.items():
        setattr(_shown, name, n)
    _shown.sci_mode = _shown.sci_mode if sci_mode is None else bool(sci_mode)


def represent(t: Tensor) -> str:
    """String representation: the elements (both ends of long axes) and non-default attributes."""
    o = _shown
    cut = 0 if t.layout.size > o.threshold else t.layout.size
    form: Any = {"float_kind": lambda x: f"{x:.{o.precision}e}"} if o.sci_mode else None
    width = {"edgeitems": o.edgeitems, "precision": o.precision, "linewidth": o.linewidth}
    with np.printoptions(threshold=cut, suppress=True, formatter=form, **width):  # type: ignore[arg-type]
        body = np.array2string(_ends(t), separator=", ", prefix="tensor(")
    parts = [body]
    if t.layout.size == 0:
        parts.append(f"shape={t.shape}")
    if t.dtype.name not in ("float32", "int64", "bool"):
        parts.append(f"dtype={t.dtype}")
    if t.device is not cpu:
        parts.append(f"device='{t.device}'")
    if requires(t):
        parts.append(_place_in_graph(t))
    return f"tensor({', '.join(parts)})"


def _ends(t: Tensor) -> Array:
    """The elements to print; for a large tensor only the first and last k of each long axis, one more than
    are shown, and no others are read: an axis of length n is viewed as (2, k), n - k steps apart.
    """
    layout, k = t.layout, _shown.edgeitems + 1
    if layout.size <= _shown.threshold or len(layout.shape) > 32:
        return values(t)
    shape: list[int] = []
    strides: list[int] = []
    for n, step in zip(layout.shape, layout.strides, strict=True):
        shape += [2, k] if n > 2 * k else [n]
        strides += [(n - k) * step, step] if n > 2 * k else [step]
    ends = Layout.as_strided(shape, strides, layout.offset)
    return values(wrap(None, ends, t.storage)).reshape([min(n, 2 * k) for n in layout.shape])


def _place_in_graph(t: Tensor) -> str:
    try:
        return "requires_grad=True" if (node := node_of(t)) is None else f"node={node.name}"
    except GradError:  # a view that can no longer be differentiated can still be printed
        return "node=invalid"


def _lab() -> Any:
    return import_module("tinytensor.lab.explain.explanation")


def explain(x: Tensor, *, values: bool = True) -> Explanation:
    """Explanation of the memory layout: strides, buffer, tensors that share it, and cache lines touched.

    Args:
        x: any shape, dtype and device.
        values: show element values; from a device, this copies a few hundred elements and synchronizes. With
            False, positions are shown instead.

    Returns:
        An Explanation: print it, or write what its `svg()` and `html()` return.

    >>> step = tt.arange(6).reshape(2, 3).T.explain().steps[-1]
    >>> step.formula(["i", "j"]), step.place(step.elements()[-1])
    ('0 + i*1 + j*3', '[2, 1]: 0 + 2*1 + 1*3 = 5')
    """
    explanation: Explanation = _lab().explain(x, values=values)
    return explanation


def in_notebook(x: Tensor) -> str:
    """HTML representation for Jupyter: the first and last elements and cells of the buffer."""
    return str(_lab().tensor_fragment(x))
