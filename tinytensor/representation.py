"""What `print(tensor)` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .device import cpu
from .dispatch import values
from .errors import GradError

if TYPE_CHECKING:
    from .tensor import Tensor


def represent(t: Tensor) -> str:
    """The elements (the first and last of long axes), then what is not the default."""
    with np.printoptions(threshold=50, edgeitems=3, precision=4, suppress=True):
        body = np.array2string(values(t), separator=", ", prefix="tensor(")
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


def _place_in_graph(t: Tensor) -> str:
    try:
        return "requires_grad=True" if t.node is None else f"node={t.node.name}"
    except GradError:  # a view that can no longer be differentiated can still be looked at
        return "node=invalid"
