"""The border between users and ops: wrong arguments get messages of ours, worked out after the call failed.

Ops read `x.layout` and `x.storage` and pass options on to NumPy without asking first, since asking costs time
in every call. Where the public name of a function is exported, an error that is not of ours is looked into:
a keyword of PyTorch such as `dim`, an argument that is not what the signature says, no memory. Any other
error passes as it is. Of the methods, those with options pass the border, too; the others need none: `self`
is a tensor.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, TypeGuard, TypeVar

from tinytensor.argument_errors import other_keyword
from tinytensor.arguments import misfit
from tinytensor.errors import NumberRangeError, TinyTensorError
from tinytensor.runtime.cpu.memory import out_of_memory

F = TypeVar("F", bound=Callable[..., Any])


def guarded(function: F) -> F:
    """The same function, with a clear error for an argument that is not what the signature says."""

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TinyTensorError:
            raise
        except Exception as error:
            found = _explained(function, args, kwargs, error)
            if found is None:
                raise
            raise found from None

    return checked  # type: ignore[return-value]  # wraps() keeps the signature


def _explained(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], error: Exception
) -> TinyTensorError | None:
    """What was wrong with a call that raised an error not of ours; None if this cannot be said."""
    found: TinyTensorError | None = None
    if isinstance(error, TypeError) and kwargs:
        found = other_keyword(function, kwargs)
    found = found or misfit(function, args, kwargs)
    if found is None and isinstance(error, MemoryError):
        return out_of_memory(function.__name__)
    if found is None and isinstance(error, OverflowError):
        return NumberRangeError(
            f"{function.__name__}: a number is too large",
            why=f"Python or NumPy said: {error}",
            fix="give a smaller number",
        )
    return found


def has_options(function: object, behind: int = 0) -> TypeGuard[FunctionType]:
    """Whether a function has parameters, behind so many, that do not take just anything, or for
    which PyTorch has other names.
    """
    if not isinstance(function, FunctionType):
        return False
    code = function.__code__
    names = code.co_varnames[behind : code.co_argcount + code.co_kwonlyargcount]
    kinds = {str(function.__annotations__.get(name)) for name in names}
    return not _AXES.isdisjoint(names) or not kinds <= _FREE


_AXES = frozenset({"axis", "axis1", "keepdims"})
# What is taken as it comes: by operators, by the cheapest methods, and where tensors are made.
_FREE = frozenset({"Any", "bool", "bool | None", "Operand", "Operand | None", "Generator | None", "None"})
