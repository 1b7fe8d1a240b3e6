"""Evaluates expressions such as `arange(12).reshape(3, 4).T[1:, ::2]` from an allowlist of calls.

The text is parsed with Python's grammar but not evaluated as Python. Everything but the calls, attributes and
indices listed below is an error, and so is a large allocation.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import tinytensor as tt
from tinytensor.dtypes import BY_NAME, as_dtype
from tinytensor.errors import ArgumentError, TinyTensorError, nearest
from tinytensor.shapes import as_int

MOST_ELEMENTS = 1 << 20  # in one buffer: 16 MB of complex128
MOST_LETTERS, MOST_STEPS = 1000, 32


def _of_shape(*shape: Any) -> int:
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    return prod([as_int(size, "explain") for size in sizes])


def _of_range(start: Any, stop: Any = None, step: Any = 1) -> Any:
    low, high = (0, start) if stop is None else (start, stop)
    return -((low - high) // step) if step else 0


# Number of elements that a call allocates.
MAKERS: dict[str, Callable[..., Any]] = {
    "arange": _of_range,
    "empty": _of_shape,
    "eye": lambda n_rows, n_cols=None, *, k=0: _of_shape(n_rows, n_rows if n_cols is None else n_cols),
    "full": lambda shape, fill_value: _of_shape(shape),
    "linspace": lambda start, stop, num, *, endpoint=True: _of_shape(num),
    "ones": _of_shape,
    "rand": _of_shape,
    "randn": _of_shape,
    "tensor": lambda data: 0,  # a literal of the expression, which is short
    "zeros": _of_shape,
}
PROPERTIES = ("T", "mT")
# NumPy and PyTorch names of these views.
ALSO: dict[str, Callable[..., tt.Tensor]] = {"flatten": lambda x: x.reshape(-1), "swapaxes": tt.transpose}
COPIES = ("astype", "clone", "contiguous")
METHODS = (
    *("as_strided", "broadcast_to", "detach", "diagonal", "expand", "flip", "moveaxis", "permute", "reshape"),
    *("squeeze", "transpose", "unfold", "unsqueeze", "view"),
    *COPIES,
    *ALSO,
)
WORDS = (
    *("axes", "axis", "axis1", "axis2", "copy", "data", "destination", "dtype", "endpoint"),
    *("fill_value", "k", "n_cols", "n_rows", "num", "offset", "shape", "size", "source"),
    *("start", "step", "stop", "strides"),
)


def run(text: str, seed: int = 0) -> list[tuple[str, tt.Tensor]]:
    """Evaluate an expression call by call: one of MAKERS, then METHODS, PROPERTIES and indices; `seed`: of
    rand and randn. Returns source text and result of each call.

    Raises:
        ArgumentError: the expression is not supported, too long or too large.
        TinyTensorError: raised by the calls.

    Example:
        >>> [(call, t.strides) for call, t in run("zeros(2, 3).T[1:]")]
        [('zeros(2, 3)', (3, 1)), ('.T', (1, 3)), ('[1:]', (1, 3))]
    """
    steps: list[tuple[str, tt.Tensor]] = []
    try:
        before = ""
        for link in _chain(_parse(text)):
            written = ast.unparse(link)
            call, before = written[len(before) :], written
            try:
                x = _apply(link, steps[-1][1]) if steps else _make(link, seed)
            except TinyTensorError:
                raise
            except (
                ArithmeticError,
                AttributeError,
                LookupError,
                MemoryError,
                TypeError,
                ValueError,
            ) as error:
                raise _refused(f"{call} does not work", str(error), "check its arguments") from None
            steps.append((call if steps else call.removeprefix("tt."), x))
    except RecursionError:
        raise _refused("the expression", "its brackets nest too deeply") from None
    return steps


# ---- reading -----------------------------------------------------------------------------------------------


def _parse(text: str) -> ast.expr:
    if len(text) > MOST_LETTERS:
        raise _refused(f"an expression of {len(text)} characters", f"at most {MOST_LETTERS} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated syntax
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError) as error:
        why = error.msg if isinstance(error, SyntaxError) else str(error) or "it nests too deeply"
        raise _refused(f"{text!r} is no expression", why) from None


def _chain(node: ast.expr) -> list[ast.expr]:
    """The calls of an expression, innermost first: that one creates the tensor."""
    chain = [node]
    while not _is_maker(node):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            node = node.func.value
        elif isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        elif isinstance(node, ast.BinOp | ast.Compare):
            raise _refused(
                f"{ast.unparse(node)!r} is arithmetic",
                "it makes new numbers in memory of their own; explain shows how one buffer is read",
                "leave it out: layouts do not depend on the numbers",
            )
        else:
            raise _unknown(node)
        chain.append(node)
    if len(chain) > MOST_STEPS:
        raise _refused(f"{len(chain)} calls in a row", f"at most {MOST_STEPS} are shown")
    return chain[::-1]


def _is_maker(node: ast.expr) -> bool:
    """Whether the node is a creation call: `zeros(3)` or `tt.zeros(3)`."""
    return isinstance(node, ast.Call) and (isinstance(node.func, ast.Name) or _in_module(node.func))


def _in_module(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tt"


def _arguments(call: ast.Call) -> tuple[list[Any], dict[str, Any]]:
    words: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg not in WORDS:
            raise _no_such(keyword.arg or "**", "an argument", WORDS)
        words[keyword.arg] = literal(keyword.value)
    return [literal(argument) for argument in call.args], words


def literal(node: ast.expr) -> Any:
    """A number, None, a dtype, or a tuple or list of these."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool | int | float | complex | None):
            return node.value
        if isinstance(node.value, str):
            return as_dtype(node.value, "explain")
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = literal(node.operand)
        if isinstance(value, int | float | complex) and not isinstance(value, bool):
            return -value
    elif isinstance(node, ast.Tuple | ast.List):
        items = [literal(item) for item in node.elts]
        return tuple(items) if isinstance(node, ast.Tuple) else items
    elif isinstance(node, ast.Name) and node.id in BY_NAME:
        return BY_NAME[node.id]
    elif isinstance(node, ast.Name) and node.id in ("inf", "nan"):
        return float(node.id)
    elif isinstance(node, ast.Attribute) and _in_module(node) and node.attr in BY_NAME:
        return BY_NAME[node.attr]
    raise _unknown(node)


def _key(node: ast.expr) -> Any:
    """An index: integers, slices, None and `...`."""
    if isinstance(node, ast.Tuple):
        return tuple([_key(part) for part in node.elts])
    if isinstance(node, ast.Slice):
        bounds = (node.lower, node.upper, node.step)
        return slice(*[None if bound is None else literal(bound) for bound in bounds])
    if isinstance(node, ast.Constant) and node.value is Ellipsis:
        return Ellipsis
    if isinstance(node, ast.List):
        raise _refused(
            f"the index [{ast.unparse(node)}]",
            "a list of indices picks and copies; explain shows views of one buffer",
            "use a slice, for example [0:4:2]",
        )
    value = literal(node)
    if value is None or type(value) is int:
        return value
    raise _unknown(node)


# ---- running -----------------------------------------------------------------------------------------------


def _make(node: Any, seed: int) -> tt.Tensor:
    name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
    if name not in MAKERS:
        raise _no_such(name, "a function that makes a tensor", MAKERS)
    positional, words = _arguments(node)
    sizes = {word: value for word, value in words.items() if word != "dtype"}
    _check_size(name, MAKERS[name](*positional, **sizes))
    if name in ("rand", "randn"):
        words["generator"] = tt.Generator(seed)  # reproducible
    return getattr(tt, name)(*positional, **words)  # type: ignore[no-any-return]


def _apply(node: Any, x: tt.Tensor) -> tt.Tensor:
    if isinstance(node, ast.Subscript):
        return x[_key(node.slice)]
    if isinstance(node, ast.Attribute):
        if node.attr not in PROPERTIES:
            raise _no_such(node.attr, "a property", PROPERTIES)
        return x.T if node.attr == "T" else x.mT
    name = node.func.attr
    if name not in METHODS:
        raise _no_such(name, "a method", METHODS)
    positional, words = _arguments(node)
    if name in COPIES:
        _check_size(name, x.size)
    elif name == "reshape" and x.size > MOST_ELEMENTS:
        words["copy"] = False
    elif name in ALSO:
        if name == "flatten" and not x.is_contiguous():
            _check_size(name, x.size)
        return ALSO[name](x, *positional, **words)
    return getattr(x, name)(*positional, **words)  # type: ignore[no-any-return]


def _check_size(name: str, size: Any) -> None:
    if not size <= MOST_ELEMENTS:  # also rejects nan
        raise _refused(
            f"{name} would make {size} elements", f"{MOST_ELEMENTS} are the most here", "use smaller sizes"
        )


# ---- errors ------------------------------------------------------------------------------------------------


def _unknown(node: ast.expr) -> ArgumentError:
    return _refused(
        f"{ast.unparse(node)!r} is not understood",
        f"an expression begins with a call of {', '.join(MAKERS)}, methods and indices follow; arguments are "
        "numbers, None, dtypes, and tuples of these",
    )


def _no_such(name: str, what: str, known: Iterable[str]) -> ArgumentError:
    names = list(known)
    near = nearest(name, names)
    fix = f"did you mean {near}?" if near else "use one of these"
    return _refused(f"{name!r} is not {what}", f"known are {', '.join(names)}", fix)


def _refused(
    what: str, why: str, fix: str = 'for example "arange(12).reshape(3, 4).T[1:, ::2]"'
) -> ArgumentError:
    return ArgumentError(f"explain: {what}", why=why, fix=fix)
