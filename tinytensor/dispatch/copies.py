"""Copies: whoever writes elements out once more says so here, and why. Knows layouts, no arrays.

`listener` is None unless `lab.trace_copies` is open: a copy then costs one more look at a variable, and what
copies nothing costs nothing. A copy that only a layout asks for is refused by `tt.config.strict_layout`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from tinytensor.config import config
from tinytensor.errors import ShapeError
from tinytensor.op import registry, snake_case

__all__ = ["KINDS", "describe", "hidden", "hidden_in", "listener", "note"]

KINDS = {
    "asked": "the program asks for it: clone, contiguous, astype to the same dtype, tensor of an array",
    "layout": "an op cannot read the strides as they are",
    "dtype": "elements are written in another dtype: astype, promotion, autocast, 16-bit floats",
    "device": "elements go to another device",
    "index": "index tensors or masks pick elements: no strides lead to them",
    "join": "parts are written into one tensor: concat, stack, repeat, roll, pad",
    "memory": "others see the same memory: in-place ops, masks, gradients that are kept",
}

Listener = Callable[[str, str, int, str], None]  # op, kind, bytes, why
listener: Listener | None = None


def note(op: str, kind: str, nbytes: int, why: str) -> None:
    """Elements were, or are about to be, written out once more.

    Args:
        op: who does it; "" for the innermost op whose code is running.
        kind: one of KINDS.
        nbytes: of the copy.
        why: for the log.
    """
    heard = listener  # another thread may close it meanwhile
    if heard is not None:
        heard(op or _running(), kind, nbytes, why)


def hidden(
    op: str, operand: str, shape: Sequence[int], strides: Sequence[int], nbytes: int, need: str, fix: str = ""
) -> None:
    """An op is about to copy an operand only because of its layout.

    Args:
        op: who does it; "" for the innermost op whose code is running.
        operand: what is copied, in words.
        shape, strides: of the operand, in elements.
        nbytes: of the copy.
        need: why it cannot be read as it lies.
        fix: what to call instead.

    Raises:
        ShapeError: `tt.config.strict_layout` is on.
    """
    if config.strict_layout:
        raise ShapeError(
            f"{op or _running()}: {operand} of shape {tuple(shape)} has strides {tuple(strides)}",
            why=f"{need}, and tt.config.strict_layout forbids a hidden copy",
            fix=fix or "pass x.contiguous(), or switch strict_layout off",
        )
    if listener is not None:
        note(op, "layout", nbytes, f"{need}: {operand} is {describe(shape, strides)}")


def hidden_in(array: Any, need: str, op: str = "") -> None:
    """The same for a NumPy array, whose strides count bytes."""
    if config.strict_layout or listener is not None:
        steps = [s // array.itemsize for s in array.strides]
        hidden(op, "an operand", array.shape, steps, array.nbytes, need)


def describe(shape: Sequence[int], strides: Sequence[int]) -> str:
    """How elements lie that do not lie in C order.

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


_CODE = {"cpu", "host", "host_bf16", "cuda", "many"}


def _running() -> str:
    """The innermost op whose own code is on the stack, by the qualified names of functions; "" without."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner, _, method = frame.f_code.co_qualname.rpartition(".")
        if method in _CODE and (name := snake_case(owner)) in registry:
            return name
        frame = frame.f_back
    return ""
