"""The cases of `ops`: the rows of the op table that are timed, with inputs of n elements.

A test runs all of them at a small size and checks that each op of the engine has a case, or a reason in
NOT_TIMED.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial, reduce
from math import prod
from typing import Any

import numpy as np

import tinytensor as tt
from tinytensor.dispatch.views import ViewOp
from tinytensor.op import registry
from tinytensor.op_table import FAMILIES, Row
from tinytensor.op_table.row import as_tuple

__all__ = ["LAYOUTS", "NOT_TIMED", "QUICK", "OpCase", "catalogue", "drawn", "is_square", "laid_out"]

Array = np.ndarray[Any, Any]
Call = Callable[..., Any]

VIEW = "moves no data: its cost is that of the engine, which `dispatch` measures"
HISTORY = "the history of a write or of parts: its gradients are other ops"
NOT_TIMED = {
    **dict.fromkeys(["alias", "diagonal", "expand", "flip", "index", "permute", "reshape", "unfold"], VIEW),
    **dict.fromkeys(["spread", "view_of_samples", "windows"], VIEW),
    **dict.fromkeys(["assign", "split"], HISTORY),
    "quantize": "packs weights once",
    "transfer": "copies between devices: the column of CUDA with copies has them",
}
QUICK = (
    *("add", "exp", "sum of rows", "softmax", "layer norm", "gelu", "matmul"),
    *("x.T.contiguous()", "clone"),
)
VIEWS_ELSEWHERE = {"real", "imag", "positive"}  # in NumPy and PyTorch
# One call of NumPy where the table has several, or has names that CuPy lacks.
NUMPY: dict[str, Call] = {
    "cast to float64": lambda np, x: x.astype("float64"),
    "cumulative product": lambda np, x: np.cumprod(x, axis=1),
    "cumulative sum": lambda np, x: np.cumsum(x, axis=1),
    "gather": lambda np, x, i: np.take_along_axis(x, i, axis=1),
    "linear": lambda np, x, w, b: np.matmul(x, w) + b,
    "masked fill": lambda np, x, m: np.where(m, 2.0, x),
    "norm of rows": lambda np, x: np.linalg.norm(x, axis=1),
    "x.T.contiguous()": lambda np, x: getattr(np, "ascontiguousarray", np.array)(x.T),  # JAX has one layout
}


@dataclass(frozen=True)
class OpCase:
    """One call of an op, or its gradients.

    Attributes:
        name: name of the case; that of gradients ends with ", backward".
        row: the row of the op table.
        most: elements of the largest problem.
    """

    name: str
    row: Row
    most: int

    @property
    def backward(self) -> bool:
        """Whether to time the gradients of all floating inputs, on an existing graph, instead of the call."""
        return self.name.endswith(", backward")

    @property
    def layouts(self) -> bool:
        """Whether square inputs are also tested in other layouts."""
        alone = self.backward or self.row.random or self.row.writes or is_factored(self.row)
        return not alone and any(is_square(x) for x in self.inputs(256))

    def inputs(self, n: int) -> list[Array]:
        """Inputs of which the largest has about n elements, in the main dtype of the row."""
        axes = [text.partition("<")[0].split() for text in (self.row.large or "").split(",")]
        chosen = max([[a for a in one if not a.isdigit()] for one in axes], key=len)
        given = max([prod(int(a) for a in one if a.isdigit()) for one in axes if set(chosen) <= set(one)])
        length = max(4, int((n / given) ** (1 / len(chosen)) + 1e-9))
        return drawn(self.row.enlarged(lambda letter: length), self.row.main_dtype())

    def ours(self) -> Call:
        return self._result(self.row.within(tt), tt.clone)

    def numpy(self, module: Any) -> Call | None:
        """The call in a module like NumPy (CuPy, jax.numpy); None if it is not a single call there."""
        row = self.row
        if self.backward or row.random or self.name in VIEWS_ELSEWHERE:
            return None
        if self.name in NUMPY:
            return partial(NUMPY[self.name], module)
        function = getattr(row.numpy, "func", row.numpy)  # of a partial
        if path := _path_in_numpy(function):
            return partial(_within(module, path), **getattr(row.numpy, "keywords", {}))
        same = row.numpy is None or (row.expression is None and _within(np, row.function) is not None)
        return self._result(row.within(module), np.copy) if same else None

    @property
    def in_torch(self) -> bool:
        return bool(self.row.torch) and self.name not in VIEWS_ELSEWHERE

    def torch(self, module: Any) -> Call | None:
        return self._result(self.row.within_torch(module), lambda x: x.clone()) if self.in_torch else None

    def _result(self, function: Call, copy: Call) -> Call:
        """A function with one result: what it returns, or has written."""
        row = self.row
        if not row.writes:
            return function
        if self.backward:
            return lambda *xs: as_tuple(row.on_copies(function, xs, copy))[0]

        def writing(*xs: Any) -> Any:
            y = function(*xs)
            return xs[row.writes[0]] if y is None else y

        return writing


def _within(module: Any, path: str) -> Any:
    """What a module has under a path of names; None if nothing."""
    return reduce(lambda found, name: getattr(found, name, None), path.split("."), module)


def _path_in_numpy(function: Call | None) -> str:
    """The path of a function of NumPy, "linalg.norm"; "" for other functions."""
    path = f"{getattr(function, '__module__', '')}.{getattr(function, '__name__', '')}".removeprefix("numpy.")
    return path if function is not None and _within(np, path) is function else ""


def is_square(x: Array) -> bool:
    return x.ndim == 2 and x.shape[0] == x.shape[1]


def is_factored(row: Row) -> bool:
    """Whether it is a factorization, or solves equations: more work than reading, of whole matrices."""
    return row.large is not None and row.large.startswith("r r")


def drawn(row: Row, dtype: str) -> list[Array]:
    """The inputs of a row as NumPy arrays of their dtypes."""
    return [v.astype(x.dtype(dtype)) for v, x in zip(row.sample(dtype), row.inputs, strict=True)]


def _cases() -> Iterator[OpCase]:
    for family, rows in FAMILIES.items():
        named = {row.function for row in rows if row.timed}
        for row in rows:
            names = row.timed
            if names is None:  # ops of which the table does not say
                op = registry.get(row.name)
                wanted = row.large and op and row.function not in named and not issubclass(op, ViewOp)
                backward = [f"{row.name}, backward"] if f"{row.name}_backward" in registry else []
                names = (row.name, *backward) if wanted else ()
            slow = family.startswith(("matmul.", "reductions.sorting"))
            most = 1 << 18 if is_factored(row) else 1 << 20 if slow else 1 << 22
            yield from [OpCase(name, row, most) for name in as_tuple(names)]


@cache
def catalogue() -> dict[str, OpCase]:
    return {case.name: case for case in _cases()}


# name → function that creates a square array of a library in this layout from a NumPy array
LAYOUTS: dict[str, Callable[[Array, Callable[[Array], Any], Any], Any]] = {
    "contiguous": lambda x, made, lib: made(x),
    "transposed": lambda x, made, lib: made(np.ascontiguousarray(x.T)).T,
    "sliced": lambda x, made, lib: made(np.repeat(x, 2, axis=1))[:, ::2],
    "broadcast": lambda x, made, lib: lib.broadcast_to(made(x[:1].copy()), x.shape),
}


def laid_out(case: OpCase, n: int, layout: str, made: Callable[[Array], Any], lib: Any) -> list[Any]:
    """Inputs of a case as arrays of a library: square ones in the layout, others contiguous.

    Args:
        case, n: case and number of elements.
        layout: a key of LAYOUTS.
        made: converts a NumPy array to the library.
        lib: the library, for its `broadcast_to`.
    """
    return [LAYOUTS[layout if is_square(x) else "contiguous"](x, made, lib) for x in case.inputs(n)]
