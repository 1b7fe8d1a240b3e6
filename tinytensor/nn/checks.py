"""Checks of the numbers that layers are made with."""

from __future__ import annotations

import operator
from numbers import Real

import tinytensor.api as tt

__all__ = ["check_share", "check_size"]


def check_size(layer: str, name: str, value: int, least: int = 1) -> int:
    """ArgumentError unless the value is an integer of at least `least`; the integer."""
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
    """ArgumentError unless 0 <= value <= 1; the value."""
    if not isinstance(value, Real) or not 0.0 <= float(value) <= 1.0:
        raise tt.ArgumentError(
            f"{layer}: {name} is {value!r}", why="a probability lies in [0, 1]", fix=f"{layer}({name}=0.1)"
        )
    return float(value)
