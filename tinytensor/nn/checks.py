"""Validation of numeric layer arguments."""

from __future__ import annotations

import operator
from numbers import Real

import tinytensor.api as tt

__all__ = ["check_share", "check_size"]


def check_size(layer: str, name: str, value: int, least: int = 1) -> int:
    """Return the value if it is an integer of at least `least`, otherwise raise ArgumentError."""
    try:
        size = operator.index(value)
    except TypeError:
        size = least - 1
    if size < least:
        raise tt.ArgumentError(
            f"{layer}: {name} is {value!r}",
            why=f"it is an integer, at least {least}",
            fix=f"{layer}(..., {name}={max(least, 1)})",
        )
    return size


def check_share(layer: str, name: str, value: object) -> float:
    """Return the value if 0 <= value <= 1, otherwise raise ArgumentError."""
    if not isinstance(value, Real) or not 0.0 <= float(value) <= 1.0:
        raise tt.ArgumentError(
            f"{layer}: {name} is {value!r}", why="a probability lies in [0, 1]", fix=f"{layer}({name}=0.1)"
        )
    return float(value)
