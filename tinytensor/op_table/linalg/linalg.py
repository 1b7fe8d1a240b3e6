"""Rows of tinytensor/ops/linalg: results that do not depend on the signs that LAPACK chooses.

Most functions have the same name and arguments in NumPy and PyTorch.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from tinytensor.op_table.row import COMPLEX, Call, Input, Row, Shape, both, floats, numbers

WIDE = ("float64", "float32")
SPECTRUM = 30.0  # factor on the tolerance: derivatives of vectors divide by gaps between values


def matrix(shape: Shape) -> Input:
    """Matrices whose singular values are apart from 0 and from each other."""

    def draw(rng: np.random.Generator, s: Shape, _: str) -> Any:
        return rng.uniform(-0.4, 0.4, s) + np.eye(s[-2], s[-1]) * np.arange(1.0, s[-1] + 1)

    return Input(shape, "float", draw, repeats=False)


def vectors(shape: Shape) -> Input:
    """Floats in (-2, 2); rows are not repeated, where that would make a singular matrix."""
    return Input(shape, "float", lambda rng, s, _: rng.uniform(-2, 2, s), repeats=False)


def definite(shape: Shape) -> Input:
    """Symmetric matrices with positive eigenvalues that lie apart: gradients divide by their differences."""

    def draw(rng: np.random.Generator, s: Shape, _: str) -> Any:
        x = rng.uniform(-0.1, 0.1, s)
        return (x + x.mT) / 2 + np.diag(np.arange(s[-1], 2.0 * s[-1]))

    return Input(shape, "float", draw, repeats=False)


def by_sign(v: Any, sign: Any) -> Any:
    """Columns whose first elements are positive: independent of the signs that LAPACK chooses."""
    return v * sign(v[..., :1, :])


def row(name: str, expression: Call, *inputs: Input, **more: Any) -> Row:
    """A row of a call that is the same in tinytensor, NumPy and PyTorch."""
    defaults = {"torch": True, "ops": (name.partition(":")[0],), "dtypes": WIDE, "tol": 4.0, "large": ""}
    return Row(f"linalg.{name}", inputs, expression, **{**defaults, **more})


def simple(name: str, *inputs: Input, options: dict[str, Any] | None = None, **more: Any) -> Row:
    """A row of a function of `linalg`."""
    function, given = name.partition(":")[0], options or {}
    return row(name, lambda xp, *xs: getattr(xp.linalg, function)(*xs, **given), *inputs, **more)


def complexes(name: str, *shapes: Shape, **more: Any) -> Row:
    """A row of values alone for complex numbers."""
    inputs = [replace(numbers(s, -1, 1), repeats=False) for s in shapes]
    return simple(f"{name}:complex", *inputs, dtypes=COMPLEX, grad=False, **more)


def timed(name: str, expression: Call) -> Row:
    """A row of values of definite matrices, for the benchmarks."""
    return row(f"{name}:definite", expression, definite((3, 3)), grad=False, large="r r", timed=both(name))


def eigh(xp: Any, x: Any) -> Any:
    w, v = xp.linalg.eigh(x + x.mT)
    return w, by_sign(v, xp.sign)


def qr(mode: str) -> Call:
    return lambda xp, x: tuple(xp.linalg.qr(x, mode=mode))


def svd(full: bool) -> Call:
    def call(xp: Any, x: Any) -> Any:
        u, s, vh = xp.linalg.svd(x, full_matrices=full)
        k = s.shape[-1]
        u, vh = u[..., :k], vh[..., :k, :]
        signs = xp.sign(u[..., :1, :])  # of each pair
        return u * signs, s, vh * signs.mT

    return call


EMPTY = (((0, 0),), ((0, 3, 3),), ((1, 1),), ((2, 3, 1, 1),))
FLAT = (((0, 3),), ((3, 0),), ((0, 3, 2),), ((1, 1),), ((2, 0, 3),))
SOLVED = (((0, 0), (0, 2)), ((0, 3, 3), (3, 1)), ((1, 1), (5, 1, 2)), ((3, 3), (3, 0)))

ROWS = [
    # equations
    simple("solve", matrix((3, 3)), vectors((3, 2)), also=SOLVED),
    simple("solve:definite", definite((3, 3)), vectors((3, 3)), large="r r, r r", timed=both("solve")),
    simple("solve:vector", matrix((3, 3)), vectors((3,)), also=(((1, 1), (1,)), ((0, 0), (0,)))),
    simple("solve:broadcast", matrix((2, 1, 3, 3)), vectors((4, 3, 2))),
    complexes("solve", (3, 3), (3, 2)),
    simple("inv", matrix((3, 3)), also=EMPTY),
    timed("inv", lambda xp, x: xp.linalg.inv(x)),
    simple("inv:batch", matrix((2, 2, 3, 3))),
    complexes("inv", (3, 3)),
    simple("pinv", matrix((3, 3)), also=(((0, 3),), ((3, 0),), ((0, 3, 2),), ((1, 1),))),
    timed("pinv", lambda xp, x: xp.linalg.pinv(x)),
    simple("pinv:tall", matrix((2, 4, 3))),
    simple("pinv:broad", matrix((2, 4))),
    simple("pinv:rtol", matrix((4, 4)), options={"rtol": 0.01}, torch=False),
    complexes("pinv", (4, 2)),
    # determinants
    simple("det", matrix((3, 3)), also=EMPTY),
    simple("det:batch", matrix((2, 1, 3, 3)), large="n 3 3", timed=both("det")),
    simple("slogdet", matrix((2, 3, 3)), also=EMPTY),
    timed("slogdet", lambda xp, x: xp.linalg.slogdet(x)[1]),
    complexes("det", (3, 3)),
    complexes("slogdet", (3, 3)),
    # triangular factors
    row("cholesky", lambda xp, x: xp.linalg.cholesky(x @ x.mT), matrix((3, 3)), also=EMPTY),
    timed("cholesky", lambda xp, x: xp.linalg.cholesky(x)),
    row("cholesky:upper", lambda xp, x: xp.linalg.cholesky(x @ x.mT, upper=True),
        matrix((2, 3, 3)), ops=("cholesky",), contiguous=False),
    row("qr", qr("reduced"), matrix((4, 3)), also=FLAT),
    timed("qr", lambda xp, x: abs(xp.linalg.qr(x)[1])),
    row("qr:square", qr("complete"), matrix((2, 3, 3))),
    row("qr:broad", qr("reduced"), matrix((2, 2, 4)), ops=("qr", "matmul")),
    row("qr:complete", qr("complete"), matrix((4, 2)), grad=False),
    complexes("qr", (3, 5), ops=("qr", "matmul")),
    # eigenvalues and singular values
    row("eigh", eigh, matrix((3, 3)), tol=SPECTRUM, also=EMPTY),
    timed("eigh", lambda xp, x: xp.linalg.eigh(x)[0]),
    row("eigh:batch", eigh, matrix((2, 1, 4, 4)), tol=SPECTRUM),
    row("eigvalsh", lambda xp, x: xp.linalg.eigvalsh(x + x.mT), matrix((2, 3, 3)), ops=("eigh",),
        tol=SPECTRUM, also=EMPTY),
    row("svd", svd(True), matrix((3, 3)), tol=SPECTRUM, also=FLAT[1:4]),
    timed("svd", lambda xp, x: xp.linalg.svd(x)[1]),
    row("svd:tall", svd(True), matrix((2, 4, 3)), tol=SPECTRUM, contiguous=False),
    row("svd:broad", svd(False), matrix((2, 4)), tol=SPECTRUM),
    simple("svdvals", matrix((2, 3, 4)), ops=("svd",), tol=SPECTRUM, also=FLAT),
    complexes("svdvals", (2, 3, 4), ops=("svd",)),
    simple("matrix_rank", matrix((2, 3, 4)), ops=("svd", "count_nonzero"), grad=False,
        also=(((0, 3, 2),), ((1, 1),))),
    # norms
    simple("vector_norm", floats((3, 4)), options={"ord": 3}, torch=False),
    simple("vector_norm:axis", floats((3, 4)), options={"axis": 1, "keepdims": True}, torch=False),
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
    row("matrix_power", lambda xp, x: xp.linalg.matrix_power(x, 5), matrix((2, 3, 3)),
        ops=("matmul",), tol=100.0, also=EMPTY),
    row("matrix_power:inverse", lambda xp, x: xp.linalg.matrix_power(x, -2), matrix((3, 3)),
        ops=("inv", "matmul"), tol=20.0),
    row("matrix_power:0", lambda xp, x: xp.linalg.matrix_power(x, 0), matrix((2, 3, 3)),
        ops=("where",)),
    simple("diagonal", floats((2, 3, 4)), options={"offset": 1}, contiguous=False),
    simple("trace", floats((2, 3, 4)), options={"offset": -1}, ops=("diagonal", "sum"), torch=False),
    simple("matmul", floats((2, 3, 4)), floats((4, 2))),
    simple("matrix_transpose", floats((2, 3, 4)), ops=("permute",), torch=False, contiguous=False),
    simple("outer", floats((3,)), floats((4,)), ops=("multiply",), torch=False),
    simple("tensordot", floats((3, 4)), floats((4, 2)), options={"axes": 1}, ops=("matmul",), torch=False),
    simple("vecdot", floats((3, 4)), floats((4,)), ops=("matmul",)),
]  # fmt: skip
