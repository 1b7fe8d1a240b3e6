"""Copies: every op that materializes one reports it to the observers, with the reason. Independent of arrays.

With `tt.config.strict_layout`, a copy that is needed only because of a layout raises ShapeError.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tinytensor.config import config
from tinytensor.errors import ShapeError
from tinytensor.events import fire, observers

__all__ = ["KINDS", "describe", "hidden", "hidden_in", "note", "run_as"]

KINDS = {
    "asked": "the program asks for it: clone, contiguous, astype to the same dtype, tensor of an array",
    "layout": "an op cannot read the strides as they are",
    "dtype": "elements are written in another dtype: astype, promotion, autocast, 16-bit floats",
    "device": "elements go to another device",
    "index": "index tensors or masks pick elements: no strides lead to them",
    "join": "parts are written into one tensor: concat, stack, repeat, roll, pad",
    "memory": "others see the same memory: in-place ops, masks, gradients that are kept",
}

T = TypeVar("T")


class _Running(threading.local):
    op = ""


_running = _Running()


def run_as(op: str, code: Callable[..., T], *args: Any) -> T:
    """Call the code of an op; copies that it makes are reported by this name."""
    if not (observers or config.strict_layout):
        return code(*args)
    outer, _running.op = _running.op, op
    try:
        return code(*args)
    finally:
        _running.op = outer


def note(op: str, kind: str, nbytes: int, why: str) -> None:
    """Report a copy, made or about to be made, to the observers.

    Args:
        op: name of the op; "" for the op whose code runs.
        kind: one of KINDS.
        nbytes: size of the copy.
        why: the reason.
    """
    if observers:
        fire("copy", op or _running.op, kind, nbytes, why)


def hidden(
    op: str, operand: str, shape: Sequence[int], strides: Sequence[int], nbytes: int, need: str, fix: str = ""
) -> None:
    """Report a copy that an op makes only because of the layout of an operand.

    Args:
        op: name of the op; "" for the op whose code runs.
        operand: description of the operand.
        shape, strides: of the operand, in elements.
        nbytes: size of the copy.
        need: why the op cannot read the layout directly.
        fix: the call that avoids the copy.

    Raises:
        ShapeError: `tt.config.strict_layout` is on.
    """
    if config.strict_layout:
        raise ShapeError(
            f"{op or _running.op}: {operand} of shape {tuple(shape)} has strides {tuple(strides)}",
            why=f"{need}, and tt.config.strict_layout forbids a hidden copy",
            fix=fix or "pass x.contiguous(), or switch strict_layout off",
        )
    if observers:
        note(op, "layout", nbytes, f"{need}: {operand} is {describe(shape, strides)}")


def hidden_in(array: Any, need: str, op: str = "") -> None:
    """`hidden` for a NumPy array, whose strides are in bytes."""
    if config.strict_layout or observers:
        steps = [s // array.itemsize for s in array.strides]
        hidden(op, "an operand", array.shape, steps, array.nbytes, need)


def describe(shape: Sequence[int], strides: Sequence[int]) -> str:
    """Description of a non-contiguous layout.

    Args:
        shape, strides: in elements.

    Example:
        >>> describe((2, 3), (1, 2))
        'transposed: shape (2, 3), strides (1, 2)'
    """
    steps = [s for n, s in zip(shape, strides, strict=True) if n != 1]
    if 0 in steps:
        word = "repeated"
    elif any([s < 0 for s in steps]):
        word = "backwards"
    elif steps != sorted(steps, reverse=True):
        word = "transposed"
    else:
        word = "with gaps"
    return f"{word}: shape {tuple(shape)}, strides {tuple(strides)}"
