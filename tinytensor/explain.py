"""How a tensor tells what it is: `x.explain()`, and what a notebook shows.

The lab does the work, and is imported when it is first asked: a program that trains never pays for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinytensor.lab import Explanation
    from tinytensor.tensor import Tensor


def _lab() -> Any:
    return import_module(".lab.explanation", __package__)


def explain(x: Tensor, *, values: bool = True) -> Explanation:
    """How the tensor lies in memory: strides and buffer, who else reads it, which cache lines it touches.

    Args:
        x: any shape, dtype and device.
        values: read what is shown of the elements; from a device, this copies a few hundred numbers and waits
            for it. With False, positions stand in their place.

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
    """What Jupyter shows: the first and the last elements and cells of the buffer, as HTML."""
    return str(_lab().tensor_fragment(x))


class ExplainMethods:
    """What Tensor inherits from this module."""

    __slots__ = ()

    explain = explain
    _repr_html_ = in_notebook
