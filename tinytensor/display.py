"""String, HTML and memory-diagram representations of tensors: `print(x)`, `x.explain()`, notebooks.

Diagrams come from `lab`, which is imported on first use, so that training programs do not load it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytensor.device import cpu
from tinytensor.dispatch.record import requires
from tinytensor.dispatch.transfer import values
from tinytensor.errors import GradError
from tinytensor.layout import Layout
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.tensor import Tensor, wrap
from tinytensor.transforms.gradients import node_of

if TYPE_CHECKING:
    from tinytensor.lab.explain.explanation import Explanation


_SHOWN = 50  # tensors with at most this many elements are printed in full


def represent(t: Tensor) -> str:
    """String representation: the elements (both ends of long axes) and non-default attributes."""
    cut = 0 if t.layout.size > _SHOWN else _SHOWN
    with np.printoptions(threshold=cut, edgeitems=3, precision=4, suppress=True):
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
    """The elements to print; for a large tensor only the first and last four of each long axis, and no others
    are read: an axis of length n is viewed as (2, 4), with stride n - 4 between the two groups.
    """
    layout = t.layout
    if layout.size <= _SHOWN or len(layout.shape) > 32:
        return values(t)
    shape: list[int] = []
    strides: list[int] = []
    for n, step in zip(layout.shape, layout.strides, strict=True):
        shape += [2, 4] if n > 8 else [n]
        strides += [(n - 4) * step, step] if n > 8 else [step]
    ends = Layout.as_strided(shape, strides, layout.offset)
    return values(wrap(None, ends, t.storage)).reshape([min(n, 8) for n in layout.shape])


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

    Example:
        >>> step = tt.arange(6).reshape(2, 3).T.explain().steps[-1]
        >>> step.formula(["i", "j"]), step.place(step.elements()[-1])
        ('0 + i*1 + j*3', '[2, 1]: 0 + 2*1 + 1*3 = 5')
    """
    explanation: Explanation = _lab().explain(x, values=values)
    return explanation


def in_notebook(x: Tensor) -> str:
    """HTML representation for Jupyter: the first and last elements and cells of the buffer."""
    return str(_lab().tensor_fragment(x))
