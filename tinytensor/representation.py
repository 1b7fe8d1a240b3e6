"""What `print(tensor)` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinytensor.device import cpu
from tinytensor.dispatch.transfer import values, wrap
from tinytensor.errors import GradError
from tinytensor.layout import Layout
from tinytensor.runtime.cpu.memory import Array

if TYPE_CHECKING:
    from tinytensor.tensor import Tensor

_SHOWN = 50  # elements: so many are shown in full


def represent(t: Tensor) -> str:
    """The elements (the first and last of long axes), then what is not the default."""
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
    if t.requires_grad:
        parts.append(_place_in_graph(t))
    return f"tensor({', '.join(parts)})"


def _ends(t: Tensor) -> Array:
    """The elements; of a tensor that is not shown in full the first and last four places of each long axis,
    and no others are read: an axis of n places is looked at as (2, 4), with n - 4 steps between the fours.
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
        return "requires_grad=True" if t.node is None else f"node={t.node.name}"
    except GradError:  # a view that can no longer be differentiated can still be looked at
        return "node=invalid"
