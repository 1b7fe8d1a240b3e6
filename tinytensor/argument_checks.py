"""Arguments at the public API: PyTorch's keywords in our words, clear errors for wrong arguments.

Ops read `x.layout` and `x.storage` and pass options to NumPy without checks, since checks would slow down
every call. The wrapper of a public function renames PyTorch's keywords, such as `dim`, before the call, and
explains an argument that does not match the signature, or a lack of memory, after a call has failed. Others
propagate unchanged. Methods with options are wrapped, too; the others need no wrapper, since `self` is a
tensor.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any, TypeGuard, TypeVar

import numpy as np

from tinytensor.argument_errors import missing, translate_keywords
from tinytensor.errors import ArgumentError, DTypeError, NumberRangeError, TinyTensorError
from tinytensor.runtime.cpu.memory import out_of_memory
from tinytensor.tensor import is_tensor

F = TypeVar("F", bound=Callable[..., Any])


def with_argument_errors(function: F, name: str = "", module: str = "") -> F:
    """Wrap a function so that it understands PyTorch's keywords (`dim` is `axis`), and arguments that do not
    match its signature raise a clear error. A call in our words costs nothing more. Of a class, this wraps
    the constructor. `module` is where the result will be found, for pickle.
    """
    if isinstance(function, type):
        make = inspect.unwrap(function.__init__)  # type: ignore[misc]  # perhaps that of a wrapped base
        if isinstance(make, FunctionType):
            function.__init__ = with_argument_errors(make, function.__name__)  # type: ignore[misc]
        return function
    name = name or function.__name__
    code = inspect.unwrap(function).__code__
    known = frozenset(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            if kwargs and not known.issuperset(kwargs):
                kwargs = translate_keywords(function, name, len(args), kwargs)
            return function(*args, **kwargs)
        except TinyTensorError:
            raise
        except Exception as error:
            explained = _explained(function, name, args, kwargs, error)
            if explained is None:
                raise
            raise explained from None

    if module:
        checked.__module__, checked.__qualname__ = module, function.__name__
    return checked  # type: ignore[return-value]  # wraps() keeps the signature


def publish(names: dict[str, Any], elsewhere: Mapping[str, str], modules: Sequence[str] = ()) -> None:
    """Publish the names of a module: the last line of each public module calls it with `globals()`.

    It sets `__all__` if there is none (every name without an underscore, of modules those given), wraps the
    functions and classes in clear errors, and makes a missing name an error with the name to write.
    """
    module = names["__name__"]
    if "__all__" not in names:
        own = {name for name, thing in names.items() if name in modules or not isinstance(thing, ModuleType)}
        names["__all__"] = sorted([name for name in own - {"TYPE_CHECKING"} if name[0].isalpha()])
    names["__getattr__"] = functools.partial(missing, module, elsewhere)
    for name in names["__all__"]:
        if callable(thing := names[name]) and not hasattr(thing, "__wrapped__"):
            names[name] = with_argument_errors(thing, module=module)


def _explained(
    function: Callable[..., Any],
    name: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    error: Exception,
) -> TinyTensorError | None:
    """Clear error for a call that raised an exception of Python or NumPy; None if the cause is unknown."""
    found = argument_error(function, name, args, kwargs)
    if found is None and isinstance(error, MemoryError):
        return out_of_memory(name)
    if found is None and isinstance(error, OverflowError):
        return NumberRangeError(
            f"{name}: a number is too large",
            why=f"Python or NumPy raised: {error}",
            fix="give a smaller number",
        )
    return found


def has_options(function: object, behind: int = 0) -> TypeGuard[FunctionType]:
    """Whether a function has parameters, after the first `behind`, with checkable types or other names in
    PyTorch.
    """
    if not isinstance(function, FunctionType):
        return False
    code = function.__code__
    names = code.co_varnames[behind : code.co_argcount + code.co_kwonlyargcount]
    kinds = {str(function.__annotations__.get(name)) for name in names}
    return not _AXES.isdisjoint(names) or not kinds <= _FREE


_AXES = frozenset({"axis", "axis1", "keepdims"})
# Annotations that are not checked: of operators, of the cheapest methods, and of creation functions.
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


def argument_error(
    function: Callable[..., Any], what: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> TinyTensorError | None:
    """The error for the first argument that does not match the annotation of its parameter."""
    signature = inspect.signature(function)
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:  # unknown keyword, or too few arguments: Python's own message is clear
        return _too_many(what, signature, len(args))
    for name, value in given.items():
        parameter = signature.parameters[name]
        several = parameter.kind is parameter.VAR_POSITIONAL
        for x in value if several else (value,):
            if parameter.kind is not parameter.VAR_KEYWORD and not _fits(x, str(parameter.annotation)):
                return _wrong(what, name, x, str(parameter.annotation))
    return None


def _too_many(what: str, signature: inspect.Signature, count: int) -> ArgumentError | None:
    """The error for arguments by position that are to be named."""
    places, named, others = [], [], False
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            named.append(name)
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            places.append(name)
        else:
            others = True
    if others or not named or count <= len(places):
        return None
    return ArgumentError(
        f"{what}: arguments after {places[-1]} have no name",
        why=f"these are given by name: {', '.join(named)}",
        fix=f"{what}(..., {named[0]}=...)",
    )


def _fits(value: Any, annotation: str) -> bool:
    return any([_is(value, kind) for kind in _alternatives(annotation)])


def _alternatives(annotation: str) -> list[str]:
    """The alternatives of a union annotation, with aliases expanded."""
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
    """Whether a value matches one alternative; True for alternatives without a rule."""
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
        return True  # a number that is too large
    except Exception:
        return False
    return True


def _wrong(what: str, name: str, value: Any, annotation: str) -> DTypeError:
    kinds = _alternatives(annotation)
    if "Tensor" in kinds:
        return DTypeError(
            f"{what}: an operand of type {type(value).__name__}",
            why=f"{name} must be a tensor; lists, numbers and arrays are not converted implicitly",
            fix="make it a tensor first: tt.asarray(x)",
        )
    words = " or ".join(dict.fromkeys([_WORDS.get(kind, kind) for kind in kinds]))
    return DTypeError(
        f"{what}: {name} is {_described(value)}", why=f"it must be {words}", fix=f"pass {words} as {name}"
    )


def _described(value: Any) -> str:
    """Description of a value for messages: its repr if short, else its type, with the shape of arrays."""
    kind = type(value).__name__
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"a {kind} of shape {shape}"
    text = repr(value) if isinstance(value, (str, bool, int, float, tuple, list, dict)) else ""
    return text if 0 < len(text) <= 40 else f"of type {kind}"
