"""The border between users and ops: something that is no tensor, where one is needed, gets a message of ours.

Ops read `x.layout` and `x.storage` without asking first, since asking costs time on the road of every call.
Where the public name of a function is exported, the AttributeError of a list or an array becomes a DTypeError
that says what to do. Methods need no border: `self` is a tensor.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from .errors import DTypeError
from .tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])

_ASKED = frozenset(
    {"layout", "storage", "detach", "dtype", "shape", "_base", "_edge", "_requires", "is_floating"}
)


def guarded(function: F) -> F:
    """The same function, with a clear error for an argument that is not a tensor."""

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except AttributeError as error:
            if error.name not in _ASKED or isinstance(error.obj, Tensor):
                raise
            raise DTypeError(
                f"{function.__name__}: an operand of type {type(error.obj).__name__}",
                why="it works on tensors; lists, numbers and arrays are not made tensors behind your back",
                fix="make it a tensor first: tt.asarray(x)",
            ) from None

    return checked  # type: ignore[return-value]  # wraps() keeps the signature
