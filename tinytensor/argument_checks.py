"""The border between users and ops: wrong arguments get messages of ours, worked out after the call failed.

Ops read `x.layout` and `x.storage` and pass options on to NumPy without asking first, since asking costs time
in every call. Where the public name of a function is exported, an error that is not of ours is looked into:
a keyword of PyTorch such as `dim`, an argument that is not what the signature says, no memory. Any other
error passes as it is. Of the methods, those with options pass the border, too; the others need none: `self`
is a tensor.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, TypeGuard, TypeVar

import numpy as np

from tinytensor.argument_errors import other_keyword
from tinytensor.errors import DTypeError, NumberRangeError, TinyTensorError
from tinytensor.runtime.cpu.memory import out_of_memory
from tinytensor.tensor import is_tensor

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


_SHORT = {
    "AxisLike": "int | Sequence[int] | None",
    "Numbers": "int | Sequence[int]",
    "Operand": "Tensor | complex",
}


_WORDS = {
    "int": "an integer",
    "float": "a number",
    "complex": "a number",
    "bool": "True or False",
    "str": "a string",
    "None": "None",
    "Tensor": "a tensor",
    "Sequence[int]": "a sequence of integers",
    "Sequence[Tensor]": "a sequence of tensors",
    "tuple[float, float]": "two numbers",
}


def misfit(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> TinyTensorError | None:
    """The error for the first argument that is not what the annotation of its parameter says."""
    signature = inspect.signature(function)
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return None  # too many, too few, or unknown: Python's message names them
    for name, value in given.items():
        parameter = signature.parameters[name]
        several = parameter.kind is parameter.VAR_POSITIONAL
        for x in value if several else (value,):
            if parameter.kind is not parameter.VAR_KEYWORD and not _fits(x, str(parameter.annotation)):
                return _wrong(function.__name__, name, x, str(parameter.annotation))
    return None


def _fits(value: Any, annotation: str) -> bool:
    return any([_is(value, kind) for kind in _alternatives(annotation)])


def _alternatives(annotation: str) -> list[str]:
    """The kinds between the outer bars, names of several kinds written out."""
    kinds, depth = [""], 0
    for letter in annotation:
        depth += (letter == "[") - (letter == "]")
        if letter == "|" and depth == 0:
            kinds.append("")
        else:
            kinds[-1] += letter
    found: list[str] = []
    for kind in kinds:
        name = kind.strip()
        found += _alternatives(_SHORT[name]) if name in _SHORT else [name]
    return found


def _is(value: Any, kind: str) -> bool:
    """Whether a value is of one kind; any value is of a kind that has no rule here."""
    outer, _, inner = kind.removesuffix("]").partition("[")
    match outer:
        case "None":
            return value is None
        case "Tensor":
            return is_tensor(value)
        case "str":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in (0, 1))
        case "int":
            return _converts(operator.index, value)
        case "float":
            return not isinstance(value, str | bytes | bytearray) and _converts(float, value)
        case "complex":
            return isinstance(value, int | float | complex | np.generic)
        case "Sequence":
            if isinstance(value, list | tuple):
                return all([_fits(x, inner) for x in value])
            return _converts(iter, value) and not is_tensor(value) and not isinstance(value, str | bytes)
        case "tuple":
            kinds = inner.split(", ")
            if not isinstance(value, list | tuple) or len(value) != len(kinds):
                return False
            return all([_fits(x, k) for x, k in zip(value, kinds, strict=True)])
    return True


def _converts(convert: Callable[[Any], Any], value: Any) -> bool:
    try:
        convert(value)
    except OverflowError:
        return True  # a number, too large
    except Exception:
        return False
    return True


def _wrong(what: str, name: str, value: Any, annotation: str) -> DTypeError:
    kinds = _alternatives(annotation)
    if "Tensor" in kinds:
        return DTypeError(
            f"{what}: an operand of type {type(value).__name__}",
            why=f"{name} is a tensor; lists, numbers and arrays are not made tensors behind your back",
            fix="make it a tensor first: tt.asarray(x)",
        )
    words = " or ".join(dict.fromkeys([_WORDS.get(kind, kind) for kind in kinds]))
    return DTypeError(
        f"{what}: {name} is {_described(value)}",
        why=f"it is {words}",
        fix=f"pass {words} as {name}",
    )


def _described(value: Any) -> str:
    """A short value as it is written, or the type, and of tensors and arrays the shape."""
    kind = type(value).__name__
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"a {kind} of shape {shape}"
    text = repr(value) if isinstance(value, (str, bool, int, float, tuple, list, dict)) else ""
    return text if 0 < len(text) <= 40 else f"of type {kind}"
