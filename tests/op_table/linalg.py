"""Rows of tinytensor/ops/linalg: results that do not depend on the signs that LAPACK chooses.

Most functions have the same name and arguments in NumPy and PyTorch.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import tinytensor as tt
from tests.op_table.row import COMPLEX, Input, Row, Shape, floats, numbers

WIDE = ("float64", "float32")
SPECTRUM = 30.0  # factor on the tolerance: derivatives of vectors divide by gaps between values


def matrix(shape: Shape) -> Input:
    """Matrices whose singular values are apart from 0 and from each other."""

    def draw(rng: np.random.Generator, s: Shape, _: str) -> Any:
        return rng.uniform(-0.4, 0.4, s) + np.eye(*s[-2:]) * np.arange(1.0, s[-1] + 1)

    return Input(shape, "float", draw, repeats=False)


def vectors(shape: Shape) -> Input:
    """Floats in (-2, 2); rows are not repeated, where that would make a singular matrix."""
    return Input(shape, "float", lambda rng, s, _: rng.uniform(-2, 2, s), repeats=False)


def by_sign(v: Any, sign: Any) -> Any:
    """Columns whose first elements are positive: independent of the signs that LAPACK chooses."""
    return v * sign(v[..., :1, :])


def row(
    name: str,
    call: Callable[..., Any],
    reference: Callable[..., Any],
    *inputs: Input,
    ops: tuple[str, ...] | None = None,
    **more: Any,
) -> Row:
    """A row of a function of `tt.linalg`."""
    function = name.partition(":")[0]
    more = {"dtypes": WIDE, "tol": 4.0, **more}
    return Row(f"linalg.{name}", call, reference, inputs, ops=(function,) if ops is None else ops, **more)


def simple(name: str, *inputs: Input, options: dict[str, Any] | None = None, **more: Any) -> Row:
    """A row of a function that NumPy and PyTorch call by the same name."""
    function, given = name.partition(":")[0], options or {}

    def call(*xs: Any) -> Any:
        return getattr(tt.linalg, function)(*xs, **given)

    def reference(*xs: Any) -> Any:
        return getattr(np.linalg, function)(*xs, **given)

    def torch(torch: Any, *xs: Any) -> Any:
        return getattr(torch.linalg, function)(*xs, **given)

    return row(name, call, reference, *inputs, **{"torch": torch, **more})


def complexes(name: str, *shapes: Shape, **more: Any) -> Row:
    """A row of values alone for complex numbers."""
    inputs = [replace(numbers(s, -1, 1), repeats=False) for s in shapes]
    return simple(f"{name}:complex", *inputs, dtypes=COMPLEX, grad=False, **more)


def of_factors(name: str, call: Callable[[Any, Any], Any], *inputs: Input, **more: Any) -> Row:
    """A row of a call that gets the module `linalg` and the function sign of each library."""
    return row(
        name,
        lambda *xs: call(tt.linalg, tt.sign, *xs),
        lambda *xs: call(np.linalg, np.sign, *xs),
        *inputs,
        torch=lambda torch, *xs: call(torch.linalg, torch.sign, *xs),
        **more,
    )


def eigh(linalg: Any, sign: Any, x: Any) -> Any:
    w, v = linalg.eigh(x + x.mT)
    return w, by_sign(v, sign)


def qr(mode: str) -> Callable[..., Any]:
    return lambda linalg, sign, x: tuple(linalg.qr(x, mode=mode))


def svd(full: bool) -> Callable[..., Any]:
    def call(linalg: Any, sign: Any, x: Any) -> Any:
        u, s, vh = linalg.svd(x, full_matrices=full)
        k = s.shape[-1]
        u, vh = u[..., :k], vh[..., :k, :]
        signs = sign(u[..., :1, :])  # of each pair
        return u * signs, s, vh * signs.mT

    return call


EMPTY = (((0, 0),), ((0, 3, 3),), ((1, 1),), ((2, 3, 1, 1),))
FLAT = (((0, 3),), ((3, 0),), ((0, 3, 2),), ((1, 1),), ((2, 0, 3),))
SOLVED = (((0, 0), (0, 2)), ((0, 3, 3), (3, 1)), ((1, 1), (5, 1, 2)), ((3, 3), (3, 0)))

ROWS = [
    # equations
    simple("solve", matrix((3, 3)), vectors((3, 2)), also=SOLVED),
    simple("solve:vector", matrix((3, 3)), vectors((3,)), also=(((1, 1), (1,)), ((0, 0), (0,)))),
    simple("solve:broadcast", matrix((2, 1, 3, 3)), vectors((4, 3, 2))),
    complexes("solve", (3, 3), (3, 2)),
    simple("inv", matrix((3, 3)), also=EMPTY),
    simple("inv:batch", matrix((2, 2, 3, 3))),
    complexes("inv", (3, 3)),
    simple("pinv", matrix((3, 3)), also=(((0, 3),), ((3, 0),), ((0, 3, 2),), ((1, 1),))),
    simple("pinv:tall", matrix((2, 4, 3))),
    simple("pinv:broad", matrix((2, 4))),
    simple("pinv:rtol", matrix((4, 4)), options={"rtol": 0.01}, torch=None),
    complexes("pinv", (4, 2)),
    # determinants
    simple("det", matrix((3, 3)), also=EMPTY),
    simple("det:batch", matrix((2, 1, 3, 3))),
    simple("slogdet", matrix((2, 3, 3)), also=EMPTY),
    complexes("det", (3, 3)),
    complexes("slogdet", (3, 3)),
    # triangular factors
    of_factors("cholesky", lambda linalg, _, x: linalg.cholesky(x @ x.mT), matrix((3, 3)), also=EMPTY),
    of_factors("cholesky:upper", lambda linalg, _, x: linalg.cholesky(x @ x.mT, upper=True),
               matrix((2, 3, 3)), ops=("cholesky",), contiguous=False),
    of_factors("qr", qr("reduced"), matrix((4, 3)), also=FLAT),
    of_factors("qr:square", qr("complete"), matrix((2, 3, 3))),
    of_factors("qr:broad", qr("reduced"), matrix((2, 2, 4)), ops=("qr", "matmul")),
    of_factors("qr:complete", qr("complete"), matrix((4, 2)), grad=False),
    complexes("qr", (3, 5), ops=("qr", "matmul")),
    # eigenvalues and singular values
    of_factors("eigh", eigh, matrix((3, 3)), tol=SPECTRUM, also=EMPTY),
    of_factors("eigh:batch", eigh, matrix((2, 1, 4, 4)), tol=SPECTRUM),
    of_factors("eigvalsh", lambda linalg, _, x: linalg.eigvalsh(x + x.mT), matrix((2, 3, 3)), ops=("eigh",),
               tol=SPECTRUM, also=EMPTY),
    of_factors("svd", svd(True), matrix((3, 3)), tol=SPECTRUM, also=FLAT[1:4]),
    of_factors("svd:tall", svd(True), matrix((2, 4, 3)), tol=SPECTRUM, contiguous=False),
    of_factors("svd:broad", svd(False), matrix((2, 4)), tol=SPECTRUM),
    simple("svdvals", matrix((2, 3, 4)), ops=("svd",), tol=SPECTRUM, also=FLAT),
    complexes("svdvals", (2, 3, 4), ops=("svd",)),
    simple("matrix_rank", matrix((2, 3, 4)), ops=("svd", "count_nonzero"), grad=False,
           also=(((0, 3, 2),), ((1, 1),))),
    # norms
    simple("vector_norm", floats((3, 4)), options={"ord": 3}, torch=None),
    simple("vector_norm:axis", floats((3, 4)), options={"axis": 1, "keepdims": True}, torch=None),
    complexes("vector_norm", (3, 4), ops=("vector_norm", "abs")),
    simple("matrix_norm", floats((2, 3, 4)), ops=("vector_norm",)),
    simple("matrix_norm:nuc", matrix((2, 3, 4)), options={"ord": "nuc"}, ops=("svd", "sum"), tol=SPECTRUM),
    simple("matrix_norm:2", matrix((3, 4)), options={"ord": 2, "keepdims": True}, ops=("svd", "max"),
           tol=SPECTRUM, torch=lambda torch, x: torch.linalg.matrix_norm(x, ord=2, keepdim=True)),
    simple("matrix_norm:-2", matrix((3, 4)), options={"ord": -2}, ops=("svd", "min"), tol=SPECTRUM),
    # products and diagonals
    simple("cross", floats((2, 4, 3)), floats((2, 1, 3)), ops=("multiply", "roll", "subtract"),
           also=(((0, 3), (3,)),)),
    simple("cross:axis", floats((3, 4)), floats((3, 4)), options={"axis": 0}, ops=("roll",),
           torch=lambda torch, x, y: torch.linalg.cross(x, y, dim=0)),
    of_factors("matrix_power", lambda linalg, _, x: linalg.matrix_power(x, 5), matrix((2, 3, 3)),
               ops=("matmul",), tol=100.0, also=EMPTY),
    of_factors("matrix_power:inverse", lambda linalg, _, x: linalg.matrix_power(x, -2), matrix((3, 3)),
               ops=("inv", "matmul"), tol=20.0),
    of_factors("matrix_power:0", lambda linalg, _, x: linalg.matrix_power(x, 0), matrix((2, 3, 3)),
               ops=("copy",), grad=False),
    simple("diagonal", floats((2, 3, 4)), options={"offset": 1}, contiguous=False),
    simple("trace", floats((2, 3, 4)), options={"offset": -1}, ops=("diagonal", "sum"), torch=None),
    simple("matmul", floats((2, 3, 4)), floats((4, 2))),
    simple("matrix_transpose", floats((2, 3, 4)), ops=("permute",), torch=None, contiguous=False),
    simple("outer", floats((3,)), floats((4,)), ops=("multiply",), torch=None),
    simple("tensordot", floats((3, 4)), floats((4, 2)), options={"axes": 1}, ops=("matmul",), torch=None),
    simple("vecdot", floats((3, 4)), floats((4,)), ops=("matmul",)),
]  # fmt: skip
