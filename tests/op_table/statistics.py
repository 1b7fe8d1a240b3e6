"""Rows of tinytensor/ops/reductions/statistics.py."""

from typing import Any

import numpy as np

import tinytensor as tt
from tests.op_table.row import Input, Row, away_from, floats


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """By definition: float64 holds the exponentials of what is drawn here."""
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def lengths(shape: tuple[int, ...]) -> Input:
    """Floats whose absolute values are all different, and none of them 0."""

    def draw(rng: np.random.Generator, s: tuple[int, ...], _: str) -> Any:
        n = int(np.prod(s))
        return ((rng.permutation(n) + 1) * 0.25 * rng.choice([-1, 1], n)).reshape(s)

    return Input(shape, "float", draw, repeats=False)


def vectors(p: float, **more: Any) -> Row:
    """The p-norms of rows."""
    return Row(
        f"vector_norm:{p}",
        lambda x: tt.vector_norm(x, axis=1, ord=p),
        lambda x: np.linalg.vector_norm(x, axis=1, ord=p),
        (away_from(0, (3, 4)),),
        torch=lambda torch, x: torch.linalg.vector_norm(x, p, 1),
        **more,
    )


def matrices(p: Any, op: str, **more: Any) -> Row:
    """The p-norms of a batch of matrices."""
    return Row(
        f"matrix_norm:{p}",
        lambda x: tt.matrix_norm(x, ord=p),
        lambda x: np.linalg.matrix_norm(x, ord=p),
        (lengths((2, 3, 4)),),
        ops=("vector_norm", op),
        torch=lambda torch, x: torch.linalg.matrix_norm(x, p),
        **more,
    )


INF = float("inf")
ROWS = [
    Row(
        "var",
        tt.var,
        np.var,
        (floats((3, 4)),),
        torch=lambda torch, x: x.var(correction=0),
        also=(((),), ((1, 1),)),
    ),
    Row(
        "var:axis",
        lambda x: tt.var(x, axis=1, correction=1),
        lambda x: np.var(x, axis=1, ddof=1),
        (floats((2, 4, 3)),),
        torch=lambda torch, x: x.var(1),
        also=(((0, 3),), ((200, 300),), ((1, 30000),)),
    ),
    Row(
        "var:first",
        lambda x: tt.var(x, axis=0, keepdims=True),
        lambda x: np.var(x, axis=0, keepdims=True),
        (floats((4, 3)),),
        torch=lambda torch, x: x.var(0, correction=0, keepdim=True),
        also=(((300, 200),),),
    ),
    Row(
        "std",
        tt.std,
        np.std,
        (floats((3, 4)),),
        ops=("std", "divide_or_zero"),
        torch=lambda torch, x: x.std(correction=0),
    ),
    Row(
        "std:axis",
        lambda x: tt.std(x, axis=(0, 2), correction=1.5, keepdims=True),
        lambda x: np.std(x, axis=(0, 2), ddof=1.5, keepdims=True),
        (floats((2, 3, 4)),),
    ),
    Row(
        "logsumexp",
        tt.logsumexp,
        logsumexp,
        (floats((3, 4)),),
        ops=("logsumexp",),
        torch=lambda torch, x: x.logsumexp((0, 1)),
        also=(((),), ((0,),), ((200, 300),)),
    ),
    Row(
        "logsumexp:axis",
        lambda x: tt.logsumexp(x, axis=1),
        lambda x: logsumexp(x, 1),
        (floats((2, 4, 3)),),
        torch=lambda torch, x: x.logsumexp(1),
        also=(((0, 3),), ((2, 0),), ((200, 300),)),
    ),
    Row(
        "logsumexp:keepdims",
        lambda x: tt.logsumexp(x, axis=0, keepdims=True),
        lambda x: logsumexp(x, 0, True),
        (floats((4, 3)),),
        torch=lambda torch, x: x.logsumexp(0, keepdim=True),
    ),
    Row(
        "vector_norm",
        tt.vector_norm,
        np.linalg.vector_norm,
        (floats((3, 4)),),
        ops=("vector_norm", "divide_or_zero"),
        torch="torch.linalg.vector_norm",
        also=(((),), ((0,),), ((200, 300),)),
    ),
    Row(
        "norm",
        lambda x: tt.norm(x, -1, True),
        lambda x: np.linalg.norm(x, axis=-1, keepdims=True),
        (floats((3, 4)),),
        ops=("vector_norm",),
        torch=lambda torch, x: x.norm(dim=-1, keepdim=True),
    ),
    vectors(1),
    vectors(3),
    vectors(2.5),
    vectors(0, ops=("count_nonzero",), grad=False),
    Row(
        "vector_norm:inf",
        lambda x: tt.vector_norm(x, axis=1, ord=INF),
        lambda x: np.linalg.vector_norm(x, axis=1, ord=INF),
        (lengths((3, 4)),),
        ops=("max", "abs"),
    ),
    Row(
        "vector_norm:-inf",
        lambda x: tt.vector_norm(x, axis=1, ord=-INF),
        lambda x: np.linalg.vector_norm(x, axis=1, ord=-INF),
        (lengths((3, 4)),),
        ops=("min", "abs"),
    ),
    matrices("fro", "divide_or_zero"),
    matrices(1, "max"),
    matrices(-1, "min"),
    matrices(INF, "max"),
    matrices(-INF, "min"),
]
