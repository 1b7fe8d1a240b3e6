"""The border between users and ops: something that is no tensor, where one is needed, gets a message of ours.

Ops read `x.layout` and `x.storage` without asking first, since asking costs time on the road of every call.
Where the public name of a function is exported, the AttributeError of a list or an array becomes a DTypeError
that says what to do, and so does the TypeError for a keyword of PyTorch such as `dim`. Of the methods, those
that take an axis pass the border, too; the others need none: `self` is a tensor.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeGuard, TypeVar

from .errors import DTypeError
from .pytorch_names import other_keyword
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
        except TypeError:
            if kwargs and (found := other_keyword(function, kwargs)) is not None:
                raise found from None
            raise

    return checked  # type: ignore[return-value]  # wraps() keeps the signature


def takes_axis(function: object) -> TypeGuard[Callable[..., Any]]:
    """Whether a method has arguments for which PyTorch has other names."""
    code = getattr(function, "__code__", None)
    return code is not None and not _AXES.isdisjoint(
        code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    )


_AXES = frozenset({"axis", "axis1", "keepdims"})
