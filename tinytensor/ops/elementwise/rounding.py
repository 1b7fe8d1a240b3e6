"""ceil, floor, trunc and round. Integers are unchanged; the gradient is 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinytensor.dispatch.elementwise import NUMERIC, REAL_NUMERIC
from tinytensor.ops.elementwise.declaration import elementwise
from tinytensor.runtime.cpu.arrays import Array
from tinytensor.tensor import Tensor

__all__ = ["ceil", "floor", "round", "trunc"]


def _of_floats(ufunc: np.ufunc) -> Callable[..., Any]:
    def rounded(x: Array, out: Any = None, order: Any = "K") -> Any:
        return (ufunc if x.dtype.kind in "fc" else np.positive)(x, out=out, order=order)

    return rounded


@elementwise(_of_floats(np.ceil), "ceil(x)", integer="x", flat=True, accepts=REAL_NUMERIC, flops=0)
def ceil(x: Tensor) -> Tensor:
    """Round up.

    >>> tt.ceil(tt.tensor([-1.5, 1.5, 2.5])).tolist()
    [-1.0, 2.0, 3.0]
    """


@elementwise(_of_floats(np.floor), "floor(x)", integer="x", flat=True, accepts=REAL_NUMERIC, flops=0)
def floor(x: Tensor) -> Tensor:
    """Round down.

    >>> tt.floor(tt.tensor([-1.5, 1.5, 2.5])).tolist()
    [-2.0, 1.0, 2.0]
    """


@elementwise(_of_floats(np.trunc), "trunc(x)", integer="x", flat=True, accepts=REAL_NUMERIC, flops=0)
def trunc(x: Tensor) -> Tensor:
    """Round towards 0.

    >>> tt.trunc(tt.tensor([-1.5, 1.5, 2.5])).tolist()
    [-1.0, 1.0, 2.0]
    """


@elementwise(_of_floats(np.rint), "rint(x)", integer="x", flat=True, accepts=NUMERIC, flops=0)
def round(x: Tensor) -> Tensor:
    """Round to the nearest integer, ties to even; both parts of complex numbers; `round(x)`.

    >>> tt.round(tt.tensor([-1.5, 1.5, 2.5])).tolist()
    [-2.0, 2.0, 2.0]
    """
