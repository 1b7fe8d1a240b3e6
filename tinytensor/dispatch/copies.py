"""Copy log: every op that materializes a copy reports it here, with the reason. Independent of arrays.

`listener` is None unless `lab.trace_copies` is active, so logging then costs one variable access.
With `tt.config.strict_layout`, a copy that is needed only because of a layout raises ShapeError.
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
    """Report a copy, made or about to be made, to the listener.

    Args:
        op: name of the op; "" for the innermost running op.
        kind: one of KINDS.
        nbytes: size of the copy.
        why: the reason.
    """
    heard = listener  # read once: another thread may reset it meanwhile
    if heard is not None:
        heard(op or _running(), kind, nbytes, why)


def hidden(
    op: str, operand: str, shape: Sequence[int], strides: Sequence[int], nbytes: int, need: str, fix: str = ""
) -> None:
    """Report a copy that an op makes only because of the layout of an operand.

    Args:
        op: name of the op; "" for the innermost running op.
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
            f"{op or _running()}: {operand} of shape {tuple(shape)} has strides {tuple(strides)}",
            why=f"{need}, and tt.config.strict_layout forbids a hidden copy",
            fix=fix or "pass x.contiguous(), or switch strict_layout off",
        )
    if listener is not None:
        note(op, "layout", nbytes, f"{need}: {operand} is {describe(shape, strides)}")


def hidden_in(array: Any, need: str, op: str = "") -> None:
    """`hidden` for a NumPy array, whose strides are in bytes."""
    if config.strict_layout or listener is not None:
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


_CODE = {"cpu", "host", "host_bf16", "cuda", "many"}


def _running() -> str:
    """Name of the innermost op on the call stack, by qualified function names; "" if there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner, _, method = frame.f_code.co_qualname.rpartition(".")
        if method in _CODE and (name := snake_case(owner)) in registry:
            return name
        frame = frame.f_back
    return ""
